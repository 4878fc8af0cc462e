package relay

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/netip"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestWords: people are told what happened where, without the words of libraries.
func TestWords(t *testing.T) {
	day := time.Date(2026, 1, 2, 0, 0, 0, 0, time.UTC)
	cert := &x509.Certificate{
		DNSNames: []string{"other.example.net"}, SerialNumber: big.NewInt(1), NotBefore: day, NotAfter: day.AddDate(1, 0, 0),
	}
	unverified := func(err error) error {
		return fmt.Errorf("%w: %w", errHandshake, &tls.CertificateVerificationError{UnverifiedCertificates: []*x509.Certificate{cert}, Err: err})
	}
	dial := func(err error) error {
		return &net.OpError{Op: "dial", Net: "tcp", Addr: &net.TCPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 587}, Err: err}
	}
	errno := func(e syscall.Errno) error { return dial(os.NewSyscallError("connect", e)) }
	for _, c := range []struct {
		at   Stage
		err  error
		want string
	}{
		{Resolve, &net.DNSError{Err: "no such host", Name: host, IsNotFound: true}, "mx.example does not resolve: no such name"},
		{Resolve, &net.DNSError{Err: "i/o timeout", Name: host, IsTimeout: true}, "mx.example does not resolve: no name server answers"},
		{Resolve, errTooLong, "mx.example does not resolve: no name server answers"},
		{Resolve, context.DeadlineExceeded, "mx.example does not resolve: no name server answers"},
		{Resolve, &net.DNSError{Err: "none", UnwrapErr: errNoAddress, IsNotFound: true}, "mx.example has no address"},
		{Connect, errno(syscall.ECONNREFUSED), "192.0.2.1:587 refuses the connection"},
		{Connect, errno(syscall.ENETUNREACH), "no route leads to 192.0.2.1:587"},
		{Connect, errno(syscall.EHOSTUNREACH), "192.0.2.1:587 cannot be reached"},
		{Connect, errno(syscall.EPERM), "this machine forbids the connection to 192.0.2.1:587"},
		{Connect, errno(syscall.ENETDOWN), "192.0.2.1:587 cannot be reached: network is down"},
		{Connect, dial(os.ErrDeadlineExceeded), "192.0.2.1:587 does not answer"},
		{Connect, context.DeadlineExceeded, "192.0.2.1:587 does not answer"},
		{TLS, unverified(x509.HostnameError{Certificate: cert, Host: host}), "mx.example:587 shows a certificate for other.example.net"},
		{TLS, unverified(x509.UnknownAuthorityError{Cert: cert}), "mx.example:587 shows a certificate that nobody trusted here vouches for"},
		{TLS, unverified(x509.CertificateInvalidError{Cert: cert, Reason: x509.Expired, Detail: "long ago"}), "mx.example:587 shows a certificate that is not valid: certificate has expired or is not yet valid: long ago"},
		{StartTLS, fmt.Errorf("%w: %w", ErrWrongTime, unverified(x509.CertificateInvalidError{Cert: cert})), "mx.example:587 shows a certificate that is right but for the time: it is valid from 2026-01-02 to 2027-01-02"},
		{TLS, fmt.Errorf("%w: %w", errHandshake, tls.RecordHeaderError{}), "mx.example:587 speaks no TLS"},
		{StartTLS, fmt.Errorf("%w: %w", errHandshake, tls.RecordHeaderError{}), "mx.example:587 agrees to STARTTLS and speaks no TLS"},
		{TLS, fmt.Errorf("%w: %w", errHandshake, tls.RecordHeaderError{RecordHeader: [5]byte([]byte("HTTP/"))}), "mx.example:587 is a web server, not a mail server"},
		{TLS, fmt.Errorf("%w: %w", errHandshake, &net.OpError{Op: "remote error", Err: tls.AlertError(40)}), "setting up TLS with mx.example:587 fails: handshake failure"},
		{TLS, fmt.Errorf("%w: %w", errHandshake, io.EOF), "mx.example:587 hangs up while TLS is set up"},
		{StartTLS, errNoStartTLS, "mx.example:587 does not offer STARTTLS, though it is required; somebody may be hiding it"},
		{Greeting, os.ErrDeadlineExceeded, "mx.example:587 takes the connection and says nothing"},
		{Greeting, errHungUp, "mx.example:587 hangs up without a greeting"},
		{Greeting, &syntaxError{[]byte("SSH-2.0")}, `mx.example:587 is no mail server: not an SMTP reply: "SSH-2.0"`},
		{Hello, errEarly, "mx.example:587 breaks the protocol: a reply came before its command"},
		{Auth, fmt.Errorf("%w: the keyring is locked", ErrPassword), "no password: the keyring is locked"},
		{Mail, dial(os.ErrDeadlineExceeded), "mx.example:587 stalls at MAIL"},
		{Body, dial(os.NewSyscallError("write", syscall.EPIPE)), "mx.example:587 hangs up during the message"},
		{Dot, errHungUp, "mx.example:587 hangs up after the message, without an answer"},
		{Hello, context.Canceled, "not tried to its end"},
		{Mail, ErrGivenUp, ErrGivenUp.Error()},
	} {
		e := &Error{Stage: c.at, Err: c.err, Endpoint: net.JoinHostPort(host, "587"), Addr: netip.MustParseAddrPort("192.0.2.1:587")}
		if got := e.Words(""); got != c.want {
			t.Errorf("%s, %v:\n got %s\nwant %s", c.at, c.err, got, c.want)
		}
		if got := e.Words("it"); c.at != Resolve && strings.Contains(got, "587") {
			t.Errorf("%s, %v: it is called %s", c.at, c.err, got)
		}
		// Without a place there is less to say, and no words of libraries either.
		bare := RcptResult{Stage: c.at, Err: c.err}.Fault().Words("")
		for _, word := range []string{"tcp", "i/o", "dial", "x509", "tls:", "deadline", "EOF", "lookup"} {
			if strings.Contains(bare, word) || strings.Contains(e.Words(""), word) {
				t.Errorf("%s, %v: %q is no word for people: %s", c.at, c.err, word, bare)
			}
		}
	}
	if got := Words(fmt.Errorf("post: %w", errno(syscall.ECONNREFUSED))); got != "192.0.2.1:587 refuses the connection" {
		t.Errorf("another client's fault: %s", got)
	}
	if got := Words(unverified(x509.UnknownAuthorityError{Cert: cert})); got != "the server shows a certificate that nobody trusted here vouches for" {
		t.Errorf("another client's fault: %s", got)
	}
	said := &Error{Stage: Greeting, Reply: Reply{Code: 554, Text: "no"}}
	if got := said.Words(""); got != "554 no" {
		t.Errorf("a reply: %s", got)
	}
	if got := (RcptResult{Stage: Mail, Err: fmt.Errorf("%w: stop", ErrStopped)}).Fault(); got.Stage != Mail || !errors.Is(got, ErrStopped) {
		t.Errorf("a fault without a place: %v", got)
	}
}
