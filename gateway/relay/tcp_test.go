package relay

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/emersion/go-sasl"
	"github.com/emersion/go-smtp"

	"mailroam/gateway/sink"
)

// onTCP serves on a loopback port and gives the endpoint.
func onTCP(t testing.TB, serve func(net.Listener)) Endpoint {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		serve(l)
	}()
	t.Cleanup(func() {
		_ = l.Close()
		<-done
	})
	_, port, err := net.SplitHostPort(l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	return Endpoint{Mode: Insecure, Host: "127.0.0.1", Port: port}
}

// TestOverTCP delivers over real sockets, where the look at what has arrived is
// another one, in the clear and under TLS.
func TestOverTCP(t *testing.T) {
	id := identity(t, "127.0.0.1")
	for _, mode := range []Mode{Insecure, Implicit, RequireStartTLS} {
		s := sink.New(sink.Options{Keep: true, TLS: id.Server, Implicit: mode == Implicit})
		ctx, cancel := context.WithCancel(t.Context())
		e := onTCP(t, func(l net.Listener) { _ = s.Serve(ctx, l) })
		e.Mode, e.Roots = mode, id.Roots
		u := New(Options{Endpoints: []Endpoint{e}, Hello: "client.example"})
		var all sync.WaitGroup
		for range 4 {
			all.Go(func() {
				for range 50 {
					if r := u.Deliver(t.Context(), mail(letter, "b@example.com")).Rcpts[0]; !r.Accepted() {
						t.Errorf("mode %d: %v", mode, r)
					}
				}
			})
		}
		all.Wait()
		if s.Count() != 200 || s.Conns() > 4 {
			t.Errorf("mode %d: %d messages over %d connections", mode, s.Count(), s.Conns())
		}
		long := strings.Repeat(strings.Repeat(".", 76)+"\r\n", 50000)
		if r := u.Deliver(t.Context(), mail(long, "b@example.com")).Rcpts[0]; !r.Accepted() {
			t.Errorf("mode %d: %v", mode, r)
		}
		if got := s.Messages(); string(got[len(got)-1].Body) != long {
			t.Errorf("mode %d: the long message has changed", mode)
		}
		s.SetFaults(faults(t, "data=354 go; 250 early")...)
		if r := u.Deliver(t.Context(), mail(letter, "b@example.com")).Rcpts[0]; !errors.Is(r.Err, errEarly) {
			t.Errorf("mode %d: %v", mode, r)
		}
		s.SetFaults(faults(t, "body=552 5.3.4 too big; close")...)
		if r := u.Deliver(t.Context(), mail(long, "b@example.com")).Rcpts[0]; r.Reply.Code != 552 || r.Stage < Body {
			t.Errorf("mode %d: %v", mode, r)
		}
		s.SetFaults(faults(t, "dot=250 ok; reset")...)
		if r := u.Deliver(t.Context(), mail(letter, "b@example.com")).Rcpts[0]; !r.Accepted() {
			t.Errorf("mode %d: %v", mode, r)
		}
		u.CloseIdle()
		cancel()
	}
}

// TestCutForgets: what the kernel holds of a body that was cut does not go on to
// the upstream. The control is an end in order, which brings all of it over.
func TestCutForgets(t *testing.T) {
	body := strings.Repeat(strings.Repeat("x", 76)+"\r\n", 2_000)
	for name, c := range map[string]struct {
		end  func(*conn)
		cuts bool
	}{
		"cut":            {(*conn).cut, true},
		"control: abort": {(*conn).abort, false},
	} {
		ended := make(chan struct{})
		heard := make(chan error, 1)
		e := onTCP(t, func(l net.Listener) {
			server, err := l.Accept()
			if err != nil {
				heard <- err
				return
			}
			defer server.Close()
			<-ended
			n, err := io.Copy(io.Discard, server)
			if err == nil && n != int64(len(body)) {
				t.Errorf("%s: ended in order after %d octets of %d", name, n, len(body))
			}
			heard <- err
		})
		client, err := net.Dial("tcp", e.address())
		if err != nil {
			t.Fatal(err)
		}
		_ = client.(*net.TCPConn).SetWriteBuffer(200 << 10) // the kernel takes it all, with the limit that Linux has by default
		session := newConn(e, client)
		if _, err := io.WriteString(session.nc, body); err != nil {
			t.Fatal(err)
		}
		c.end(session)
		close(ended)
		if err := <-heard; errors.Is(err, syscall.ECONNRESET) != c.cuts {
			t.Errorf("%s: the upstream saw %v", name, err)
		}
	}
}

// TestCancelInBody: the end of a delivery's context in its body is a cut.
func TestCancelInBody(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	gone := make(chan struct{})
	heard := make(chan error, 1)
	e := onTCP(t, func(l net.Listener) {
		nc, err := l.Accept()
		if err != nil {
			heard <- err
			return
		}
		defer nc.Close()
		p := &peer{t: t, c: nc, r: bufio.NewReader(nc)}
		p.opening(plain)
		for _, answer := range []struct{ verb, reply string }{{"MAIL", "250 ok\r\n"}, {"RCPT", "250 ok\r\n"}, {"DATA", "354 go\r\n"}} {
			if !p.hear(answer.verb) || !p.say(answer.reply) {
				break
			}
		}
		p.hear("x")
		cancel()
		<-gone
		_, err = io.Copy(io.Discard, p.r)
		heard <- err
	})
	d := mail(strings.Repeat(strings.Repeat("x", 76)+"\r\n", 200_000), "b@example.com") // more than any buffers hold
	if r := New(Options{Endpoints: []Endpoint{e}}).Deliver(ctx, d).Rcpts[0]; !errors.Is(r.Err, ErrStopped) {
		t.Errorf("got %v", r)
	}
	close(gone)
	if err := <-heard; !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("the upstream saw %v", err)
	}
}

// TestCancelRaces: a cancel that comes together with the dot either stops it or
// lets its answer be heard; it never leaves a doubt. On one processor the cancel
// takes effect only when the delivery waits, which it must not do with the dot.
func TestCancelRaces(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	s := sink.New(sink.Options{})
	serving, stop := context.WithCancel(t.Context())
	defer stop()
	u := New(Options{Endpoints: []Endpoint{onTCP(t, func(l net.Listener) { _ = s.Serve(serving, l) })}})
	for range 20 {
		ctx, cancel := context.WithCancel(t.Context())
		d := mail(letter, "b@example.com")
		d.BeforeDot = func(context.Context, []int, []RcptResult) error { cancel(); return nil }
		if r := u.Deliver(ctx, d).Rcpts[0]; !errors.Is(r.Err, ErrStopped) || r.InDoubt {
			t.Fatalf("got %v", r)
		}
	}
}

// TestQuiet: a look sees what has arrived and the end, and does not wait.
func TestQuiet(t *testing.T) {
	said := make(chan string)
	e := onTCP(t, func(l net.Listener) {
		c, err := l.Accept()
		if err != nil {
			return
		}
		for text := range said {
			_, _ = io.WriteString(c, text)
			said <- ""
		}
		_ = c.Close()
	})
	nc, err := net.Dial("tcp", e.address())
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	c := newConn(e, nc)
	if c.wire.raw == nil {
		t.Skip("no descriptor to look at")
	}
	for range 3 {
		if err := c.quiet(); err != nil {
			t.Errorf("nothing was said: %v", err)
		}
		_ = c.wire.SetReadDeadline(time.Now().Add(-time.Second)) // must not matter
	}
	said <- "250 x\r\n"
	<-said
	if err := c.quiet(); err != errEarly {
		t.Errorf("something was said: %v", err)
	}
	if r, err := c.reply(time.Now().Add(time.Minute)); err != nil || r.Code != 250 {
		t.Errorf("then %v, %v", r, err)
	}
	close(said)
	for c.quiet() == nil { // the FIN is on its way
		time.Sleep(time.Millisecond)
	}
	if err := c.quiet(); err != io.EOF {
		t.Errorf("at the end: %v", err)
	}
}

// library is a backend for go-smtp's server, which none of us has written.
type library struct{ got chan string }

func (b library) NewSession(*smtp.Conn) (smtp.Session, error) { return &librarySession{b: b}, nil }

type librarySession struct {
	b    library
	user string
	log  []string
}

func (s *librarySession) AuthMechanisms() []string { return []string{sasl.Plain} }

func (s *librarySession) Auth(string) (sasl.Server, error) {
	return sasl.NewPlainServer(func(_, user, pw string) error {
		if user != "ann" || pw != "pw" {
			return smtp.ErrAuthFailed
		}
		s.user = user
		return nil
	}), nil
}

func (s *librarySession) Mail(from string, o *smtp.MailOptions) error {
	s.log = append(s.log, s.user, from, string(o.Body))
	return nil
}

func (s *librarySession) Rcpt(to string, _ *smtp.RcptOptions) error {
	if strings.HasPrefix(to, "no@") {
		return &smtp.SMTPError{Code: 550, EnhancedCode: smtp.EnhancedCode{5, 1, 1}, Message: "no such user"}
	}
	s.log = append(s.log, to)
	return nil
}

func (s *librarySession) Data(r io.Reader) error {
	b, err := io.ReadAll(bufio.NewReader(r))
	if err != nil {
		return err
	}
	s.b.got <- strings.Join(append(s.log, string(b)), "|")
	return nil
}

func (s *librarySession) Reset()        { s.log = nil }
func (s *librarySession) Logout() error { return nil }

// TestAgainstLibrary speaks with an independent server.
func TestAgainstLibrary(t *testing.T) {
	id := identity(t, "127.0.0.1")
	for _, mode := range []Mode{Insecure, RequireStartTLS} {
		b := library{got: make(chan string, 1)}
		s := smtp.NewServer(b)
		s.Domain, s.AllowInsecureAuth, s.TLSConfig = "mx.example", true, id.Server
		e := onTCP(t, func(l net.Listener) { _ = s.Serve(l) })
		e.Mode, e.Roots = mode, id.Roots
		u := New(Options{Endpoints: []Endpoint{e}, Hello: "client.example", Username: "ann", Password: password("pw")})
		for range 3 {
			d := mail(letter, "no@example.com", "b@example.com")
			d.EightBit = true
			res := u.Deliver(t.Context(), d)
			if brief(res.Rcpts[0]) != "rcpt 550" || brief(res.Rcpts[1]) != "dot 250" {
				t.Fatalf("got %v", res.Rcpts)
			}
			if got, want := <-b.got, "ann|ann@example.com|8BITMIME|b@example.com|"+letter; got != want {
				t.Errorf("got %q, want %q", got, want)
			}
		}
		if err := u.Login(t.Context()); err != nil {
			t.Error(err)
		}
		u.CloseIdle()
		_ = s.Close()
	}
}

func BenchmarkDeliver(b *testing.B) {
	id := identity(b, "127.0.0.1")
	text := "Subject: x\r\n\r\n" + strings.Repeat(strings.Repeat("x", 62)+"\r\n", 64)
	for name, mode := range map[string]Mode{"plain": Insecure, "tls": Implicit} {
		b.Run(name, func(b *testing.B) {
			s := sink.New(sink.Options{TLS: id.Server, Implicit: mode == Implicit})
			ctx, cancel := context.WithCancel(b.Context())
			defer cancel()
			e := onTCP(b, func(l net.Listener) { _ = s.Serve(ctx, l) })
			e.Mode, e.Roots = mode, id.Roots
			u := New(Options{Endpoints: []Endpoint{e}, Hello: "client.example"})
			defer u.CloseIdle()
			d := mail(text, "b@example.com")
			d.Hurry, d.GiveUp = true, make(chan struct{})
			b.ReportAllocs()
			for b.Loop() {
				if r := u.Deliver(b.Context(), d).Rcpts[0]; !r.Accepted() {
					b.Fatal(r)
				}
			}
		})
	}
}
