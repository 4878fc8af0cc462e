package relay

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"syscall"
)

// Sign is what a fault looks like to someone who suspects the network rather
// than the upstream.
type Sign string

// The signs.
const (
	NoSign     Sign = ""
	DeadDNS    Sign = "dns"    // no name server answers; an NXDOMAIN is an answer
	Imposture  Sign = "portal" // somebody else answers: wrong certificate, STARTTLS gone, a foreign greeting
	Web        Sign = "web"    // a web server answers in clear, or the name leads into private space as it never did
	WrongClock Sign = "clock"  // the certificate is the right one, at another time
)

// Sign looks at a fault of set-up. Where the peer has proven who it is, and from
// AUTH on, it is the upstream who speaks, and there is none.
func (e *Error) Sign() Sign {
	switch {
	case e.Stage >= Auth, e.proven, errors.Is(e.Err, context.Canceled), errors.Is(e.Err, ErrGivenUp), errors.Is(e.Err, ErrRoamed):
		return NoSign
	case e.Stage == Resolve:
		return ofLookup(e.Err)
	case errors.Is(e.Err, ErrWrongTime):
		return WrongClock
	case speaksHTTP(e.Err):
		return Web
	}
	switch foreign, private := imposed(e), astray(e.Endpoint, e.Addr); {
	case foreign && private && e.moved:
		return Web
	case foreign, private && e.Stage == Connect && !noWay(e.Err):
		// Nobody there may also be a smart host behind a VPN that is not up, so
		// this alone is a weaker sign.
		return Imposture
	default:
		return NoSign
	}
}

// noWay: this machine itself knows no way there, so that nobody was asked.
func noWay(err error) bool { return errors.Is(err, syscall.ENETUNREACH) }

// ofLookup: an answer, be it that there is no such name, shows that the
// network's name servers work.
func ofLookup(err error) Sign {
	dns, ok := errors.AsType[*net.DNSError](err)
	switch {
	case ok && dns.IsNotFound:
		return NoSign
	case ok, isTimeout(err):
		return DeadDNS
	default:
		return NoSign
	}
}

// imposed says that whoever answered is not the upstream. An alert of TLS is no
// such proof: a server that is too old for us sends one too.
func imposed(e *Error) bool {
	_, unverified := errors.AsType[*tls.CertificateVerificationError](e.Err)
	_, noTLS := errors.AsType[tls.RecordHeaderError](e.Err)
	switch {
	case unverified, noTLS, errors.Is(e.Err, errNoStartTLS), errors.Is(e.Err, errInjected):
		return true
	case e.Err == nil:
		return e.Stage == StartTLS && e.Reply.Code/100 == 5 // it was offered
	default:
		return e.Stage == Greeting && isNonsense(e.Err)
	}
}

// speaksHTTP knows the first octets of a web server, which it sends to a TLS
// client hello too.
func speaksHTTP(err error) bool {
	var first []byte
	if e, ok := errors.AsType[*syntaxError](err); ok {
		first = e.line
	} else if e, ok := errors.AsType[tls.RecordHeaderError](err); ok {
		first = e.RecordHeader[:]
	}
	first = bytes.TrimLeft(first, " \t")
	return bytes.HasPrefix(first, []byte("HTTP/")) || bytes.HasPrefix(first, []byte("<"))
}

// astray says that a name of the Internet led to an address that is none of
// the Internet's, as it does where a portal answers all questions with itself.
func astray(endpoint string, addr netip.AddrPort) bool {
	host, _, err := net.SplitHostPort(endpoint)
	if _, literal := netip.ParseAddr(host); err != nil || literal == nil || isLocalName(host) {
		return false
	}
	return addr.IsValid() && !isPublic(addr.Addr())
}

// isPublic says that an address is one of the Internet's.
func isPublic(a netip.Addr) bool {
	a = a.Unmap()
	return a.IsValid() && !a.IsPrivate() && !a.IsLoopback() && !a.IsUnspecified() && !a.IsLinkLocalUnicast() && !sharedSpace.Contains(a)
}

var sharedSpace = netip.MustParsePrefix("100.64.0.0/10") // RFC 6598

// isLocalName knows names that may well lead into private space: those without
// a dot, and those under a name set aside for it (RFC 6761, 6762, 8375) or used
// as if it were.
func isLocalName(host string) bool {
	host = strings.ToLower(strings.TrimSuffix(host, "."))
	if !strings.Contains(host, ".") {
		return true
	}
	for _, top := range []string{".localhost", ".local", ".home.arpa", ".internal", ".intranet", ".lan", ".home", ".corp", ".private"} {
		if strings.HasSuffix(host, top) {
			return true
		}
	}
	return false
}

// ErrWrongTime says that the certificate would prove who answers, were it
// another time.
var ErrWrongTime = errors.New("the certificate is right but for the time")

// blameClock marks the error of a handshake that failed for the time alone.
// Go looks at the time of a certificate before all else, so that an expired one
// may be anybody's: only verifying it for a time when it was valid tells.
func (e Endpoint) blameClock(name string, err error) error {
	failed, ok := errors.AsType[*tls.CertificateVerificationError](err)
	invalid, ok2 := errors.AsType[x509.CertificateInvalidError](err)
	if !ok || !ok2 || invalid.Reason != x509.Expired || len(failed.UnverifiedCertificates) == 0 {
		return err
	}
	leaf := failed.UnverifiedCertificates[0]
	others := x509.NewCertPool()
	for _, c := range failed.UnverifiedCertificates[1:] {
		others.AddCert(c)
	}
	middle := leaf.NotBefore.Add(leaf.NotAfter.Sub(leaf.NotBefore) / 2)
	if _, wrong := leaf.Verify(x509.VerifyOptions{DNSName: name, Roots: e.Roots, Intermediates: others, CurrentTime: middle}); wrong != nil {
		return err
	}
	return fmt.Errorf("%w: %w", ErrWrongTime, err)
}
