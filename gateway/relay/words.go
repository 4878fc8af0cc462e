package relay

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"syscall"
	"time"
)

// Words says in plain words what went wrong: a clause without a full stop,
// with the host, port or address that it is about. it is how the server is
// called where that is clear without them; "" calls it by them. What a server
// wrote is in there as received, so it must be escaped before it is shown.
func (e *Error) Words(it string) string {
	if it == "" {
		it = e.where()
	}
	switch {
	case e.Err == nil:
		return e.Reply.String()
	case errors.Is(e.Err, ErrStopped), errors.Is(e.Err, ErrGivenUp), errors.Is(e.Err, ErrPassedOver), errors.Is(e.Err, ErrRoamed), errors.Is(e.Err, errNoEndpoint):
		return e.Err.Error()
	case errors.Is(e.Err, context.Canceled):
		return "not tried to its end"
	case e.Stage > Connect && speaksHTTP(e.Err):
		return it + " is a web server, not a mail server"
	}
	switch e.Stage {
	case Resolve:
		return e.lookupWords()
	case Connect:
		return connectWords(it, e.Err)
	case TLS, StartTLS:
		return tlsWords(it, e.Stage, e.Err)
	default:
		return sessionWords(it, e.Stage, e.Err)
	}
}

// Fault is what stands behind r, with where it happened as far as that is known.
func (r RcptResult) Fault() *Error {
	if e, ok := errors.AsType[*Error](r.Err); ok {
		return e
	}
	return &Error{Stage: r.Stage, Reply: r.Reply, Err: r.Err}
}

// Words says the same of a fault of any other client's connection.
func Words(err error) string {
	e := &Error{Stage: Connect, Err: err}
	_, dns := errors.AsType[*net.DNSError](err)
	_, unverified := errors.AsType[*tls.CertificateVerificationError](err)
	_, noTLS := errors.AsType[tls.RecordHeaderError](err)
	_, dial := errors.AsType[*net.OpError](err)
	switch {
	case dns:
		e.Stage = Resolve
	case unverified, noTLS:
		e.Stage = TLS
	case !dial && !isTimeout(err):
		return innermost(err)
	}
	return e.Words("")
}

// where is what is to be looked at: the address while nobody answered there, and
// then the endpoint.
func (e *Error) where() string {
	switch dial, _ := errors.AsType[*net.OpError](e.Err); {
	case e.Stage == Connect && e.Addr.IsValid():
		return e.Addr.String()
	case e.Stage == Connect && dial != nil && dial.Addr != nil:
		return dial.Addr.String()
	case e.Endpoint != "":
		return e.Endpoint
	}
	return "the server"
}

func (e *Error) lookupWords() string {
	dns, _ := errors.AsType[*net.DNSError](e.Err)
	name, _, _ := net.SplitHostPort(e.Endpoint)
	switch {
	case name != "":
	case dns != nil && dns.Name != "":
		name = dns.Name
	default:
		name = "the server's name"
	}
	switch {
	case errors.Is(e.Err, errNoAddress):
		return name + " has no address"
	case dns != nil && dns.IsNotFound:
		return name + " does not resolve: no such name"
	case ofLookup(e.Err) == DeadDNS:
		return name + " does not resolve: no name server answers"
	}
	return name + " does not resolve: " + innermost(e.Err)
}

func connectWords(it string, err error) string {
	switch {
	case isTimeout(err):
		return it + " does not answer"
	case errors.Is(err, syscall.ECONNREFUSED):
		return it + " refuses the connection"
	case noWay(err):
		return "no route leads to " + it
	case errors.Is(err, syscall.EHOSTUNREACH):
		return it + " cannot be reached"
	case errors.Is(err, syscall.EACCES), errors.Is(err, syscall.EPERM):
		return "this machine forbids the connection to " + it
	}
	return it + " cannot be reached: " + innermost(err)
}

func tlsWords(it string, at Stage, err error) string {
	if _, noTLS := errors.AsType[tls.RecordHeaderError](err); noTLS && at == StartTLS {
		return it + " agrees to STARTTLS and speaks no TLS"
	} else if noTLS {
		return it + " speaks no TLS"
	}
	failed, ok := errors.AsType[*tls.CertificateVerificationError](err)
	switch {
	case errors.Is(err, errNoStartTLS):
		return it + " does not offer STARTTLS, though it is required; somebody may be hiding it"
	case errors.Is(err, errInjected):
		return it + " sends octets in the clear after STARTTLS"
	case !ok && !isLoss(err):
		return "setting up TLS with " + it + " fails: " + innermost(err)
	case !ok:
		return sessionWords(it, at, err)
	case len(failed.UnverifiedCertificates) == 0:
		return it + " shows a certificate that is not valid: " + innermost(failed.Err)
	}
	c := failed.UnverifiedCertificates[0]
	_, name := errors.AsType[x509.HostnameError](err)
	_, nobodys := errors.AsType[x509.UnknownAuthorityError](err)
	switch {
	case errors.Is(err, ErrWrongTime):
		return fmt.Sprintf("%s shows a certificate that is right but for the time: it is valid from %s to %s",
			it, c.NotBefore.Format(time.DateOnly), c.NotAfter.Format(time.DateOnly))
	case name:
		return it + " shows a certificate for " + holder(c)
	case nobodys:
		return it + " shows a certificate that nobody trusted here vouches for"
	}
	return it + " shows a certificate that is not valid: " + innermost(failed.Err)
}

// when is the time of a connection's end or of a silence.
var when = map[Stage]string{
	TLS: "while TLS is set up", Greeting: "without a greeting", Hello: "while it is greeted", StartTLS: "while TLS is set up",
	Auth: "during the login", Mail: "at MAIL", Rcpt: "at RCPT", Data: "at DATA", Body: "during the message", Dot: "after the message, without an answer",
}

func sessionWords(it string, at Stage, err error) string {
	switch {
	case isTimeout(err) && at == Greeting:
		return it + " takes the connection and says nothing"
	case isTimeout(err):
		return it + " stalls " + when[at]
	case isLoss(err):
		return it + " hangs up " + when[at]
	case isNonsense(err) && at == Greeting:
		return it + " is no mail server: " + err.Error()
	case isNonsense(err):
		return it + " breaks the protocol: " + err.Error()
	}
	return innermost(err)
}

func isTimeout(err error) bool {
	timeout, ok := errors.AsType[net.Error](err)
	return ok && timeout.Timeout()
}

// innermost is the cause without what the libraries wrap around it.
func innermost(err error) string {
	if dns, ok := errors.AsType[*net.DNSError](err); ok {
		return dns.Err
	}
	if op, ok := errors.AsType[*net.OpError](err); ok {
		err = op.Err
	}
	if call, ok := errors.AsType[*os.SyscallError](err); ok {
		err = call.Err
	}
	text := strings.TrimPrefix(err.Error(), errHandshake.Error()+": ")
	for _, library := range []string{"remote error: ", "local error: ", "tls: ", "x509: "} {
		text = strings.TrimPrefix(text, library)
	}
	return strings.ReplaceAll(text, "\n", " ")
}
