package relay

import (
	"bufio"
	"context"
	"errors"
	"net"
	"os"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// hasty is a dialler whose connections give up on a silent peer after five
// seconds instead of thirty. The tests get to their ends long before that, also
// on a machine that is busy.
func hasty() *net.Dialer {
	return &net.Dialer{
		KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: 4 * time.Second, Interval: time.Second, Count: 1},
		Control: func(_, _ string, c syscall.RawConn) (err error) {
			if e := c.Control(func(fd uintptr) {
				err = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, 5000)
			}); e != nil {
				return e
			}
			return err
		},
	}
}

// endings of a session after 354, by what the peer does.
type ending struct {
	reads  bool // the body and the dot
	secret bool // under TLS
	hidden bool // it has no descriptor to look at
	end    func(*net.TCPConn)
}

func reset(c *net.TCPConn) { _ = c.SetLinger(0); _ = c.Close() }
func fin(c *net.TCPConn)   { _ = c.CloseWrite() }
func never(*net.TCPConn)   {}

// babble is no TLS: we answer it with an alert, which nobody acknowledges.
func babble(c *net.TCPConn) {
	_, _ = c.Write([]byte("\x17\x03\x03\x00\x14twenty octets of junk"))
	fin(c)
}

// lose delivers to a peer that does not answer the dot, over real TCP. The end
// comes when the client waits for that answer.
func lose(t *testing.T, e ending, beforeDot func(Endpoint)) RcptResult {
	id := identity(t, "127.0.0.1")
	over := make(chan struct{})
	waits := make(chan struct{}) // the dot was written
	at := onTCP(t, func(l net.Listener) {
		nc, err := l.Accept()
		if err != nil {
			return
		}
		c := nc.(*net.TCPConn)
		defer c.Close()
		go func() {
			<-over
			_ = c.Close()
		}()
		if !e.reads {
			_ = c.SetReadBuffer(4 << 10)
		}
		p := &peer{t: t, c: c, r: bufio.NewReader(c)}
		if e.secret {
			p.secure(id.Server)
		}
		p.opening(plain)
		for _, verb := range []string{"MAIL", "RCPT", "DATA"} {
			if !p.hear(verb) {
				return
			}
			if verb == "DATA" {
				p.say("354 go\r\n")
			} else {
				p.say("250 ok\r\n")
			}
		}
		if e.reads && p.hear(".\r\n") {
			acknowledge(t, c)
		}
		select {
		case <-waits:
			e.end(c)
		case <-over: // the delivery did not get as far
		}
		<-over
	})
	defer close(over)
	if e.secret {
		at.Mode, at.Roots = Implicit, id.Roots
	}
	var asks atomic.Int32
	u := New(Options{Endpoints: []Endpoint{at}, Hello: "client.example", Dial: func(ctx context.Context, network, addr string) (net.Conn, error) {
		c, err := hasty().DialContext(ctx, network, addr)
		if err != nil {
			return nil, err
		}
		tcp := c.(*net.TCPConn)
		_ = tcp.SetWriteBuffer(4 << 20) // the kernel takes it all, at once
		w := waiting{tcp, &asks, waits}
		if e.hidden {
			return struct{ net.Conn }{w}, nil
		}
		return w, nil
	}})
	defer u.CloseIdle()
	text := strings.Repeat(strings.Repeat("x", 76)+"\r\n", 4000)
	if e.reads {
		text = letter
	}
	d := mail(text, "b@example.com")
	d.BeforeDot = func(context.Context, []int, []RcptResult) error {
		if beforeDot != nil {
			beforeDot(at)
		}
		asks.Store(1)
		if e.hidden {
			asks.Store(2) // the first is the look before the dot
		}
		return nil
	}
	return u.Deliver(t.Context(), d).Rcpts[0]
}

// acknowledge sends the acknowledgement at once that the kernel may be putting
// off. One that is reset before looks as if the dot had not arrived: in doubt
// all the same.
func acknowledge(t *testing.T, c *net.TCPConn) {
	raw, err := c.SyscallConn()
	if err != nil {
		t.Error(err)
		return
	}
	if e := raw.Control(func(fd uintptr) {
		err = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_QUICKACK, 1)
	}); e != nil || err != nil {
		t.Error(e, err)
	}
}

// waiting is a connection that tells when an answer is waited for.
type waiting struct {
	*net.TCPConn
	asks *atomic.Int32 // the last of so many reads is that; 0: not yet
	told chan struct{}
}

func (w waiting) Read(p []byte) (int, error) {
	if w.asks.Load() > 0 && w.asks.Add(-1) == 0 {
		close(w.told)
	}
	return w.TCPConn.Read(p)
}

// doubt is a result in a word.
func doubt(r RcptResult) string {
	switch {
	case errors.Is(r.Err, errKept) && r.Stage == Body && !r.InDoubt:
		return "never left"
	case r.InDoubt && r.Unacked:
		return "in doubt, not acknowledged"
	case r.InDoubt:
		return "in doubt"
	default:
		return brief(r)
	}
}

// TestEvidence: the kernel knows how far the dot got.
func TestEvidence(t *testing.T) {
	for name, c := range map[string]struct {
		ending ending
		want   string
	}{
		"nothing read, reset":               {ending{end: reset}, "never left"},
		"nothing read, reset, TLS":          {ending{secret: true, end: reset}, "never left"},
		"nothing read, given up":            {ending{end: never}, "never left"},
		"nothing read, closed one way":      {ending{end: fin}, "in doubt, not acknowledged"},
		"all read, reset":                   {ending{reads: true, end: reset}, "in doubt"},
		"all read, reset, TLS":              {ending{reads: true, secret: true, end: reset}, "in doubt"},
		"all read, closed":                  {ending{reads: true, end: fin}, "in doubt"},
		"all read, then junk, TLS":          {ending{reads: true, secret: true, end: babble}, "in doubt"},
		"control: no descriptor to look at": {ending{hidden: true, end: reset}, "in doubt"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if r := lose(t, c.ending, nil); doubt(r) != c.want {
				t.Errorf("%s (%v), want %s", doubt(r), r.Err, c.want)
			} else if v, s := classify(r.Stage, r.Reply, r.Err, ""); v == InDoubt != r.InDoubt || !r.InDoubt && s != ScopeNetwork {
				t.Errorf("%s: %s %s", name, v, s)
			}
		})
	}
}

// TestHalfDeadDot: a dot that goes into a black hole was sent and is not
// acknowledged; what was acknowledged before the hole opened is in doubt; and
// what TCP could not even begin to send never left.
func TestHalfDeadDot(t *testing.T) {
	if os.Getenv(inside) == "" {
		lab(t, "TestHalfDeadDot")
		return
	}
	run(t, "ip", "link", "set", "lo", "up")
	run(t, "nft", "add table inet lab; add chain inet lab in { type filter hook input priority 0; }; add chain inet lab out { type filter hook output priority 0; }")
	drop := func(chain string) func(Endpoint) {
		return func(e Endpoint) {
			for _, end := range []string{"sport", "dport"} {
				run(t, "nft", "add", "rule", "inet", "lab", chain, "tcp", end, e.Port, "drop")
			}
		}
	}
	hole, firewall := drop("in"), drop("out")
	var at Endpoint
	for _, c := range []struct {
		name   string
		ending ending
		before func(Endpoint)
		want   string
	}{
		{"the dot is lost", ending{reads: true, end: never}, hole, "in doubt, not acknowledged"},
		{"the answer is lost", ending{reads: true, end: func(*net.TCPConn) { hole(at) }}, func(e Endpoint) { at = e }, "in doubt"},
		{"nothing was read before", ending{end: never}, hole, "never left"},
		// What our own machine drops does not count as sent.
		{"the dot is held back", ending{reads: true, end: never}, firewall, "never left"},
	} {
		t.Run(c.name, func(t *testing.T) {
			began := time.Now()
			r := lose(t, c.ending, c.before)
			t.Logf("%s after %v: %v", doubt(r), time.Since(began).Round(100*time.Millisecond), r.Err)
			if doubt(r) != c.want {
				t.Errorf("%s, want %s", doubt(r), c.want)
			}
		})
	}
}
