package relay

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"syscall"
	"testing"
	"time"

	"mailroam/gateway/sink"
)

// TestSignOfSetUp plays real greetings and handshakes.
func TestSignOfSetUp(t *testing.T) {
	year := func(y int) time.Time { return time.Date(y, 1, 1, 0, 0, 0, 0, time.UTC) } // the bubble's is 2000
	valid := func(from, to int, names ...string) *sink.Identity {
		id, err := sink.NewIdentityValid(year(from), year(to), names...)
		if err != nil {
			t.Fatal(err)
		}
		return id
	}
	good, other := identity(t, host), identity(t, "portal.example")
	expired, future := valid(1998, 1999, host), valid(2001, 2002, host)
	expiredOther := valid(1998, 1999, "portal.example")
	old := good.Server.Clone()
	old.MinVersion, old.MaxVersion = tls.VersionTLS10, tls.VersionTLS11
	secure := func(c *tls.Config) func(*peer) {
		return func(p *peer) { p.secure(c); p.say(greeting); p.hear("EHLO"); p.say(plain) }
	}
	start := func(c *tls.Config) func(*peer) {
		return func(p *peer) {
			p.opening("250-mx\r\n250 STARTTLS\r\n")
			p.hear("STARTTLS")
			p.say("220 go\r\n")
			secure(c)(p)
		}
	}
	const page = "HTTP/1.1 302 Found\r\nLocation: http://10.0.0.1/login\r\n\r\n"
	for _, c := range []struct {
		name string
		mode Mode
		as   *x509.CertPool
		play func(*peer)
		at   Stage
		want Sign
	}{
		{"expired", Implicit, expired.Roots, secure(expired.Server), TLS, WrongClock},
		{"expired, STARTTLS", RequireStartTLS, expired.Roots, start(expired.Server), StartTLS, WrongClock},
		{"not yet valid", Implicit, future.Roots, secure(future.Server), TLS, WrongClock},
		{"expired, and of another name", Implicit, expiredOther.Roots, secure(expiredOther.Server), TLS, Imposture},
		{"expired, and of an unknown authority", Implicit, good.Roots, secure(expired.Server), TLS, Imposture},
		{"unknown authority", Implicit, other.Roots, secure(good.Server), TLS, Imposture},
		{"wrong name", Implicit, other.Roots, secure(other.Server), TLS, Imposture},
		{"wrong name, STARTTLS", RequireStartTLS, other.Roots, start(other.Server), StartTLS, Imposture},
		{"SMTP where TLS should be", Implicit, good.Roots, func(p *peer) { p.say(greeting) }, TLS, Imposture},
		{"SSH where TLS should be", Implicit, good.Roots, func(p *peer) { p.say("SSH-2.0-OpenSSH\r\n") }, TLS, Imposture},
		{"a web server where TLS should be", Implicit, good.Roots, func(p *peer) { p.say(page) }, TLS, Web},
		{"a page where TLS should be", Implicit, good.Roots, func(p *peer) { p.say("<html>") }, TLS, Web},
		{"a web server's greeting", RequireStartTLS, good.Roots, func(p *peer) { p.say(page) }, Greeting, Web},
		{"a page for a greeting", Insecure, nil, func(p *peer) { p.say("\t<!DOCTYPE html>\r\n") }, Greeting, Web},
		{"a page from the upstream itself", Implicit, good.Roots, func(p *peer) { p.secure(good.Server); p.say(page) }, Greeting, NoSign},
		{"another protocol's greeting", RequireStartTLS, good.Roots, func(p *peer) { p.say("* OK IMAP4\r\n") }, Greeting, Imposture},
		{"STARTTLS is gone", RequireStartTLS, good.Roots, func(p *peer) { p.opening("250-mx\r\n250 XXXXXXXA\r\n") }, StartTLS, Imposture},
		{"STARTTLS is refused", RequireStartTLS, good.Roots, func(p *peer) {
			p.opening("250-mx\r\n250 STARTTLS\r\n")
			p.hear("STARTTLS")
			p.say("500 what?\r\n")
		}, StartTLS, Imposture},
		{"octets before TLS", RequireStartTLS, good.Roots, func(p *peer) {
			p.opening("250-mx\r\n250 STARTTLS\r\n")
			p.hear("STARTTLS")
			p.say("220 go\r\n250 injected\r\n")
		}, StartTLS, Imposture},
		{"STARTTLS has a bad day", RequireStartTLS, good.Roots, func(p *peer) {
			p.opening("250-mx\r\n250 STARTTLS\r\n")
			p.hear("STARTTLS")
			p.say("454 not now\r\n")
		}, StartTLS, NoSign},
		{"too old", Implicit, good.Roots, secure(old), TLS, NoSign},
		{"hangs up in TLS", Implicit, good.Roots, func(p *peer) { _ = p.c.Close() }, TLS, NoSign},
		{"silent", RequireStartTLS, good.Roots, func(*peer) {}, Greeting, NoSign},
		{"refused by greeting", RequireStartTLS, good.Roots, func(p *peer) { p.say("554 5.7.1 you are listed\r\n") }, Greeting, NoSign},
		{"refused by EHLO", Insecure, nil, func(p *peer) { p.opening("550 <bad> helo\r\n") }, Hello, NoSign},
	} {
		t.Run(c.name, func(t *testing.T) {
			withPeer(t, Options{Endpoints: []Endpoint{{Mode: c.mode, Host: host, Port: "25", Roots: c.as}}}, []func(*peer){func(p *peer) { c.play(p); p.rest() }}, func(w *world) {
				_, fault := w.up.race(w.t.Context(), newBudget(true, time.Now()), unwatched())
				if fault == nil {
					t.Fatal("no fault")
				}
				if fault.Stage != c.at || fault.Sign() != c.want {
					t.Errorf("%q at %s, want %q at %s: %v", fault.Sign(), fault.Stage, c.want, c.at, fault)
				}
			})
		})
	}
}

// TestSignOfLookup asks real questions of name servers that answer in their
// ways.
func TestSignOfLookup(t *testing.T) {
	const noError, servFail, nxDomain, refused = 0, 2, 3, 5
	answer := func(rcode byte) func(net.Conn) {
		return func(c net.Conn) {
			for {
				var size [2]byte // RFC 1035 4.2.2
				if _, err := io.ReadFull(c, size[:]); err != nil {
					return
				}
				q := make([]byte, binary.BigEndian.Uint16(size[:]))
				if _, err := io.ReadFull(c, q); err != nil {
					return
				}
				q[2], q[3] = q[2]|0x80, 0x80|rcode // a response, with recursion
				_, _ = c.Write(append(size[:], q...))
			}
		}
	}
	for _, c := range []struct {
		name   string
		server func(net.Conn) // nil: there is none
		want   Sign
	}{
		{"no such name", answer(nxDomain), NoSign},
		{"no address", answer(noError), NoSign},
		{"SERVFAIL", answer(servFail), DeadDNS},
		{"REFUSED", answer(refused), DeadDNS},
		{"silence", func(c net.Conn) { _, _ = io.Copy(io.Discard, c) }, DeadDNS},
		{"nobody there", nil, DeadDNS},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := &net.Resolver{PreferGo: true, Dial: func(context.Context, string, string) (net.Conn, error) {
				if c.server == nil {
					return nil, syscall.ECONNREFUSED
				}
				client, server := sink.Pipe()
				go func() {
					defer server.Close()
					c.server(server)
				}()
				return client, nil
			}}
			// In real time, since the resolver cannot live in a bubble.
			patience := time.Minute
			if c.name == "silence" {
				patience = 200 * time.Millisecond
			}
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			_, err := r.LookupNetIP(ctx, "ip", "mx.example.")
			if err == nil {
				t.Fatal("an address")
			}
			for _, err := range []error{err, fmt.Errorf("dial: %w", err)} {
				if got := (&Error{Stage: Resolve, Err: err}).Sign(); got != c.want {
					t.Errorf("%q, want %q: %v", got, c.want, err)
				}
			}
		})
	}
}

func TestSignOfErrors(t *testing.T) {
	refused := &net.OpError{Op: "dial", Err: os.NewSyscallError("connect", syscall.ECONNREFUSED)}
	unreachable := &net.OpError{Op: "dial", Err: os.NewSyscallError("connect", syscall.ENETUNREACH)}
	wrong := fmt.Errorf("%w: %w", errHandshake, &tls.CertificateVerificationError{Err: x509.HostnameError{Certificate: &x509.Certificate{}, Host: host}})
	web := fmt.Errorf("%w: %w", errHandshake, tls.RecordHeaderError{RecordHeader: [5]byte([]byte("HTTP/"))})
	addr := netip.MustParseAddrPort
	for _, c := range []struct {
		name string
		e    Error
		want Sign
	}{
		{"no endpoint", Error{Stage: Resolve, Err: errNoEndpoint}, NoSign},
		{"given up", Error{Stage: Resolve, Err: ErrGivenUp}, NoSign},
		{"lookup cancelled", Error{Stage: Resolve, Err: context.Canceled}, NoSign},
		{"lookup too long", Error{Stage: Resolve, Err: context.DeadlineExceeded}, DeadDNS},
		{"a parser's error", Error{Stage: Resolve, Err: errors.New("odd")}, NoSign},

		{"refused", Error{Stage: Connect, Err: refused, Endpoint: "mx.example.com:587", Addr: addr("192.0.2.1:587")}, NoSign},
		{"refused, address not known", Error{Stage: Connect, Err: refused, Endpoint: "mx.example.com:587"}, NoSign},
		{"refused in private space", Error{Stage: Connect, Err: refused, Endpoint: "mx.example.com:587", Addr: addr("10.0.0.1:587")}, Imposture},
		{"time-out in shared space", Error{Stage: Connect, Err: os.ErrDeadlineExceeded, Endpoint: "mx.example.com:587", Addr: addr("100.64.0.1:587")}, Imposture},
		{"refused by the name's own machine", Error{Stage: Connect, Err: refused, Endpoint: "mx.example.com:587", Addr: addr("[::1]:587")}, Imposture},
		{"no way there", Error{Stage: Connect, Err: unreachable, Endpoint: "mx.example.com:587", Addr: addr("10.0.0.1:587")}, NoSign},
		{"the network changed meanwhile", Error{Stage: Connect, Err: ErrRoamed, Endpoint: "mx.example.com:587", Addr: addr("10.0.0.1:587")}, NoSign},
		{"refused by an address", Error{Stage: Connect, Err: refused, Endpoint: "10.0.0.1:587", Addr: addr("10.0.0.1:587")}, NoSign},
		{"refused by a name without a dot", Error{Stage: Connect, Err: refused, Endpoint: "nas:25", Addr: addr("10.0.0.1:25")}, NoSign},
		{"refused by a local name", Error{Stage: Connect, Err: refused, Endpoint: "NAS.local.:25", Addr: addr("10.0.0.1:25")}, NoSign},

		{"wrong certificate", Error{Stage: TLS, Err: wrong, Endpoint: "mx.example.com:465", Addr: addr("192.0.2.1:465")}, Imposture},
		{"wrong certificate, address not known", Error{Stage: TLS, Err: wrong, Endpoint: "mx.example.com:465"}, Imposture},
		{"wrong certificate in private space", Error{Stage: TLS, Err: wrong, Endpoint: "mx.example.com:465", Addr: addr("192.168.1.1:465"), moved: true}, Web},
		{"the same, where it may well be", Error{Stage: TLS, Err: wrong, Endpoint: "mx.example.com:465", Addr: addr("192.168.1.1:465")}, Imposture},
		{"the same, IPv4 in IPv6", Error{Stage: TLS, Err: wrong, Endpoint: "mx.example.com:465", Addr: addr("[::ffff:192.168.1.1]:465"), moved: true}, Web},
		{"the same, unique local", Error{Stage: TLS, Err: wrong, Endpoint: "mx.example.com:465", Addr: addr("[fd00::1]:465"), moved: true}, Web},
		{"wrong certificate at an address", Error{Stage: TLS, Err: wrong, Endpoint: "192.168.1.1:465", Addr: addr("192.168.1.1:465")}, Imposture},
		{"STARTTLS gone in private space", Error{Stage: StartTLS, Err: errNoStartTLS, Endpoint: "mx.example.com:587", Addr: addr("10.0.0.1:587"), moved: true}, Web},
		{"a reset in private space", Error{Stage: TLS, Err: fmt.Errorf("%w: %w", errHandshake, syscall.ECONNRESET), Endpoint: "mx.example.com:465", Addr: addr("10.0.0.1:465")}, NoSign},
		{"a web server at an address", Error{Stage: TLS, Err: web, Endpoint: "192.0.2.1:465"}, Web},

		{"a refused login", Error{Stage: Auth, Reply: Reply{Code: 535}}, NoSign},
		{"no mechanism", Error{Stage: Auth, Err: errMechanism}, NoSign},
		{"nonsense after the log-in", Error{Stage: Mail, Err: &syntaxError{[]byte("<html>")}}, NoSign},
	} {
		if got := c.e.Sign(); got != c.want {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
}
