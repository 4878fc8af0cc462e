package gateway

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"syscall"
	"time"

	"mailroam/gateway/relay"
	"mailroam/queue"
)

// plight is what is wrong, and what to do about it; fix is "" where that is the
// network's affair.
type plight struct{ what, fix string }

func (p plight) String() string {
	if p.fix == "" {
		return p.what
	}
	return p.what + "; " + p.fix
}

// explain puts a finding that went wrong in plain words. They are escaped.
func explain(u UpstreamURL, f relay.Finding, now time.Time) plight {
	p := words{u: u, f: f, now: now}.plight()
	return plight{queue.Printable(p.what, maxProbeText), p.fix}
}

type words struct {
	u   UpstreamURL
	f   relay.Finding
	now time.Time
}

func (w words) plight() plight {
	fault, ok := errors.AsType[*relay.Error](w.f.Err)
	if !ok {
		return plight{what: w.f.Err.Error()}
	}
	if errors.Is(fault, context.Canceled) {
		return plight{what: "not tried to its end"}
	}
	if fault.Sign() == relay.Web && fault.Stage > relay.Connect && isHTTP(fault) {
		return plight{what: "a web server answers there, not a mail server"}
	}
	switch fault.Stage {
	case relay.Resolve:
		return w.resolve(fault)
	case relay.Connect:
		return w.connect(fault)
	case relay.TLS, relay.StartTLS:
		return w.secure(fault)
	case relay.Greeting:
		return w.greeting(fault)
	case relay.Auth:
		return w.login(fault)
	}
	if fault.Err == nil {
		return plight{"it refuses our EHLO: " + fault.Reply.String(), "is hostname in the config a name that it may accept?"}
	}
	return w.other("while it is greeted", fault.Err)
}

func (w words) resolve(fault *relay.Error) plight {
	dns, _ := errors.AsType[*net.DNSError](fault.Err)
	switch {
	case dns != nil && dns.IsNotFound:
		return plight{"the name " + w.u.Host + " does not exist here", "is it spelt right, or known only in another network?"}
	case fault.Sign() == relay.DeadDNS:
		return plight{what: "the name " + w.u.Host + " cannot be looked up: no name server answers"}
	}
	return plight{what: fmt.Sprintf("the name %s cannot be looked up: %v", w.u.Host, fault.Err)}
}

func (w words) connect(fault *relay.Error) plight {
	what := fmt.Sprintf("the connection fails: %v", fault.Err)
	switch {
	case isTimeout(fault.Err):
		what = "no answer"
	case errors.Is(fault.Err, syscall.ECONNREFUSED):
		what = "the connection is refused"
	case errors.Is(fault.Err, syscall.ENETUNREACH):
		what = "no route leads there"
	case errors.Is(fault.Err, syscall.EHOSTUNREACH):
		what = "the host cannot be reached"
	}
	if fault.Sign() != relay.NoSign {
		return plight{what + ", and the name leads into private space", "a portal does that; or does it need a VPN?"}
	}
	return plight{what: what}
}

func (w words) secure(fault *relay.Error) plight {
	failed, _ := errors.AsType[*tls.CertificateVerificationError](fault.Err)
	_, wrongName := errors.AsType[x509.HostnameError](fault.Err)
	_, nobodys := errors.AsType[x509.UnknownAuthorityError](fault.Err)
	_, noTLS := errors.AsType[tls.RecordHeaderError](fault.Err)
	switch {
	case fault.Err == nil:
		return plight{what: "it refuses STARTTLS: " + fault.Reply.String()}
	case fault.Sign() == relay.WrongClock:
		c := failed.UnverifiedCertificates[0]
		return plight{
			fmt.Sprintf("its certificate is right but for the time: it is valid from %s to %s, and this machine's clock says %s", date(c.NotBefore), date(c.NotAfter), moment(w.now)),
			"set the clock, or tell whoever runs the server",
		}
	case wrongName:
		return plight{"wrong certificate: " + w.f.Text, "if this is no captive portal, correct the host in urls or add ?servername=NAME"}
	case nobodys:
		return plight{"wrong certificate, since nobody trusted here vouches for it: " + w.f.Text, "if this is no captive portal and the certificate is right, add ?ca=FILE with its authority"}
	case failed != nil:
		return plight{what: fmt.Sprintf("wrong certificate, %v: %s", failed.Err, w.f.Text)}
	case noTLS && w.u.Scheme == "smtps":
		return plight{"what answers there speaks no TLS", "if it wants STARTTLS, write smtp:// instead of smtps://"}
	case noTLS:
		return plight{what: "what answers there agrees to STARTTLS and speaks no TLS"}
	case fault.Sign() != relay.NoSign:
		return plight{fault.Err.Error(), "smtps:// cannot be stripped so; does the provider have it?"}
	}
	return w.other("while TLS is set up", fault.Err)
}

func (w words) greeting(fault *relay.Error) plight {
	switch {
	case fault.Err == nil:
		return plight{what: "it refuses us: " + fault.Reply.String()}
	case fault.Sign() != relay.NoSign:
		return plight{what: fmt.Sprintf("what answers there is no mail server: %v", fault.Err)}
	case isTimeout(fault.Err) && w.u.Scheme != "smtps":
		return plight{"it takes the connection and says nothing", "if it wants TLS from the start, write smtps://"}
	case isTimeout(fault.Err):
		return plight{what: "it takes the connection and says nothing"}
	}
	return w.other("without a greeting", fault.Err)
}

func (w words) login(fault *relay.Error) plight {
	switch {
	case errors.Is(fault, relay.ErrPassword):
		return plight{fmt.Sprint(fault.Err), "see where the config says that the password is"}
	case fault.Err == nil && fault.Reply.Code/100 == 5:
		return plight{"the login is refused: " + fault.Reply.String(), "correct username and password; some providers want an app password"}
	case fault.Err == nil:
		return plight{"the login cannot be checked now: " + fault.Reply.String(), "try again later"}
	}
	return w.other("during the login", fault.Err)
}

// other is for connections that end or stall, whatever was said before.
func (w words) other(when string, err error) plight {
	switch {
	case isTimeout(err):
		return plight{what: "it stalls " + when}
	case isLoss(err):
		return plight{what: "it hangs up " + when}
	}
	return plight{what: strings.ReplaceAll(err.Error(), "\n", " ")}
}

// isHTTP tells a web server from a name that leads into private space.
func isHTTP(fault *relay.Error) bool {
	bare := *fault
	bare.Endpoint = ""
	return bare.Sign() == relay.Web
}

func isTimeout(err error) bool {
	var e net.Error
	return errors.As(err, &e) && e.Timeout()
}

func isLoss(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE) ||
		errors.Is(err, net.ErrClosed)
}

func date(t time.Time) string   { return t.UTC().Format(time.DateOnly) }
func moment(t time.Time) string { return t.Format("2006-01-02 15:04 MST") }

// and lists words as people do.
func and(words []string) string {
	if len(words) < 2 {
		return strings.Join(words, "")
	}
	return strings.Join(words[:len(words)-1], ", ") + " and " + words[len(words)-1]
}
