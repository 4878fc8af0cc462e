package relay

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// inside says that we are in the network namespace of the test's own.
const inside = "MAILROAM_LAB_INSIDE"

// TestHalfDead: a connection whose peer has gone without a word is given up
// within 30 s, in whatever stage, though the time-outs of the stages are
// minutes long. It needs half a minute of real time and a kernel to drop
// packets in, so it runs itself again in a network namespace.
func TestHalfDead(t *testing.T) {
	if os.Getenv(inside) != "" {
		halfDead(t)
		return
	}
	lab(t, "TestHalfDead")
}

// lab runs a test again in a network namespace of its own.
func lab(t *testing.T, name string) {
	t.Helper()
	if os.Getenv("MAILROAM_LAB") != "1" {
		t.Skip("it drops packets; MAILROAM_LAB=1 runs it")
	}
	for _, tool := range []string{"unshare", "ip", "nft"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skip("no ", tool, " here")
		}
	}
	if os.Geteuid() != 0 {
		t.Skip("network namespaces need root")
	}
	cmd := exec.CommandContext(t.Context(), "unshare", "--net", os.Args[0], fmt.Sprintf("-test.run=^%s$", name), "-test.v", "-test.parallel=20", "-test.timeout=2m")
	cmd.Env = append(os.Environ(), inside+"=1")
	out, err := cmd.CombinedOutput()
	t.Logf("%s", out)
	if err != nil || bytes.Contains(out, []byte("no tests to run")) {
		t.Error(err)
	}
}

func run(t *testing.T, name string, args ...string) {
	t.Helper()
	if out, err := exec.CommandContext(t.Context(), name, args...).CombinedOutput(); err != nil {
		t.Fatalf("%s %v: %v: %s", name, args, err, out)
	}
}

func halfDead(t *testing.T) {
	run(t, "ip", "link", "set", "lo", "up")
	run(t, "nft", "add table inet lab; add chain inet lab in { type filter hook input priority 0; }")
	// A kept session is missed at once when nobody hears its MAIL. How soon goes by
	// the round trips that TCP has measured, which are long while the machine is
	// busy: so the median counts.
	t.Run("unheard", func(t *testing.T) {
		t.Parallel()
		var took []time.Duration
		for range 5 {
			res, silent := stall(t, "unheard", nil, true)
			if r := res.Rcpts[0]; !errors.Is(r.Err, errAnew) {
				t.Errorf("noticed after %v: %v", silent, r)
			}
			took = append(took, silent.Round(10*time.Millisecond))
		}
		slices.Sort(took)
		t.Logf("unheard: noticed after %v", took)
		if took[2] > 4*time.Second {
			t.Errorf("noticed after %v", took)
		}
	})
	const given = 30*time.Second + 1500*time.Millisecond // and the kernel's rounding
	for _, stage := range []string{"tls", "greeting", "ehlo", "auth", "mail", "mail, kept", "rcpt", "data", "body", "body, not read", "dot"} {
		t.Run(stage, func(t *testing.T) {
			t.Parallel()
			res, silent := stall(t, stage, nil, true)
			t.Logf("%s: noticed after %v: %v", stage, silent.Round(10*time.Millisecond), res.Rcpts[0])
			if replaced := errors.Is(res.Rcpts[0].Err, errAnew); replaced != (stage == "mail, kept") {
				t.Errorf("replaced: %v", replaced)
			}
			if silent > given || res.Rcpts[0].Accepted() || res.Rcpts[0].InDoubt != (stage == "dot") {
				t.Errorf("noticed after %v: %v", silent, res.Rcpts[0])
			}
		})
	}
	// A peer that is alive and takes its time is waited for.
	for _, stage := range []string{"greeting", "mail", "mail, kept", "dot"} {
		t.Run("control: alive at "+stage, func(t *testing.T) {
			t.Parallel()
			res, silent := stall(t, stage, nil, false)
			if !res.Rcpts[0].Accepted() || silent < given {
				t.Errorf("after %v: %v", silent, res.Rcpts[0])
			}
		})
	}
	// Ordinary connections do not notice.
	t.Run("control: without time-outs", func(t *testing.T) {
		t.Parallel()
		if res, silent := stall(t, "greeting", (&net.Dialer{KeepAlive: -1}).DialContext, true); res.Stopped == nil || silent < given {
			t.Errorf("noticed after %v: %v", silent, res.Rcpts[0])
		}
	})
}

// patience of the peer that is alive, and of the test with all of them.
const aliveAfter, endAfter = 35 * time.Second, 45 * time.Second

var errAnew = errors.New("the silent one was given up, and another dialled")

// stall delivers to a peer that falls silent at a stage, and dead if it is to,
// and gives how long that lasted.
func stall(t *testing.T, stage string, dial func(context.Context, string, string) (net.Conn, error), dead bool) (Result, time.Duration) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var since atomic.Pointer[time.Time]
	var e Endpoint
	gone := func() {
		if dead {
			for _, end := range []string{"sport", "dport"} {
				run(t, "nft", "add", "rule", "inet", "lab", "in", "tcp", end, e.Port, "drop")
			}
		}
		now := time.Now()
		since.Store(&now)
	}
	silent := func() {
		gone()
		if dead {
			time.AfterFunc(endAfter, cancel)
			<-ctx.Done()
		} else {
			time.Sleep(aliveAfter)
		}
	}
	e = onTCP(t, func(l net.Listener) {
		c, err := l.Accept()
		if err != nil {
			return
		}
		defer context.AfterFunc(ctx, func() { _ = c.Close() })()
		defer c.Close()
		dialogue(&peer{t: t, c: c, r: bufio.NewReader(c)}, stage, silent)
	})
	if stage == "tls" {
		e.Mode = Implicit
	}
	if dial == nil {
		dial = dialer().DialContext
	}
	u := New(Options{
		Endpoints: []Endpoint{e}, Hello: "client.example", Username: "ann", Password: password("pw"),
		Dial: func(ctx context.Context, network, addr string) (net.Conn, error) {
			if since.Load() != nil { // a kept session is replaced when it is given up
				return nil, errAnew
			}
			return dial(ctx, network, addr)
		},
	})
	defer u.CloseIdle()
	d := mail(strings.Repeat(strings.Repeat("x", 76)+"\r\n", 200_000), "b@example.com") // more than buffers hold
	if stage == "mail, kept" || stage == "unheard" {
		if r := u.Deliver(ctx, mail(letter, "b@example.com")).Rcpts[0]; !r.Accepted() {
			t.Fatal(r)
		}
	}
	if stage == "unheard" {
		gone()
	}
	res := u.Deliver(ctx, d)
	if since.Load() == nil {
		t.Fatal(fmt.Sprint("it did not get as far: ", res.Rcpts[0]))
	}
	return res, time.Since(*since.Load())
}

// dialogue plays a server, without pipelining, that is silent once.
func dialogue(p *peer, stage string, silent func()) {
	at := func(s string) {
		if s == stage {
			silent()
		}
	}
	if stage == "tls" {
		_, _ = p.r.Peek(1)
	}
	at("tls")
	at("greeting")
	p.say(greeting)
	p.hear("EHLO")
	at("ehlo")
	p.say("250-mx\r\n250 AUTH PLAIN\r\n")
	p.hear("AUTH")
	at("auth")
	p.say("235 ok\r\n")
	for n := 1; p.hear("MAIL"); n++ {
		at("mail")
		if n == 2 {
			at("mail, kept")
		}
		p.say("250 ok\r\n")
		p.hear("RCPT")
		at("rcpt")
		p.say("250 ok\r\n")
		p.hear("DATA")
		at("data")
		p.say("354 go\r\n")
		_, _ = p.r.Peek(1)
		at("body, not read")
		if stage == "body" {
			go silent()
		}
		p.hear(".\r\n")
		at("dot")
		p.say("250 ok\r\n")
	}
}
