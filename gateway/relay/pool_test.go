package relay

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"mailroam/gateway/sink"
)

// TestReuse: what a session may be used for again after each ending. RSET goes
// first after anything but a 2xx to the dot, and an odd ending is the last.
func TestReuse(t *testing.T) {
	for fault, want := range map[string]struct {
		conns int
		rset  bool
	}{
		"dot#1=250 ok":              {1, false},
		"dot#1=451 no":              {1, true},
		"dot#1=554 no":              {1, true},
		"mail#1=451 no":             {1, true},
		"rcpt#1=550 no":             {1, true},
		"data#1=451 no":             {1, true},
		"dot#1=250 ok; 250 odd":     {2, false},
		"dot#1=250 ok; close":       {2, false},
		"dot#1=421 no":              {2, false},
		"mail#1=421 no":             {2, false},
		"rcpt#1=421 no":             {2, false},
		"data#1=421 no":             {2, false},
		"data#1=354 go; 250 early":  {2, false},
		"dot#1=garbage":             {2, false},
		"mail#1=354 odd":            {2, false},
		"body#1=552 5.3.4 too much": {2, false},
	} {
		for name, without := range map[string][]string{"pipelined": nil, "lock-step": {"PIPELINING"}} {
			t.Run(fault+" "+name, func(t *testing.T) {
				fs := faults(t, fault, "rset=250 reset")
				inWorld(t, sink.Options{Without: without, Faults: fs}, Options{}, func(w *world) {
					w.deliver(mail(letter, "b@example.com"))
					if idle := w.up.idle.idle; want.conns == 1 && idle[0].reset != want.rset {
						t.Errorf("RSET is due: %v", idle[0].reset)
					}
					w.want(w.deliver(mail(letter, "b@example.com")), "dot 250")
					if n := w.sink.Conns(); n != want.conns {
						t.Errorf("%d connections, want %d", n, want.conns)
					}
				})
			})
		}
	}
}

// TestResetGoesFirst checks the words themselves.
func TestResetGoesFirst(t *testing.T) {
	var told string
	withPeer(t, Options{}, []func(*peer){func(p *peer) {
		p.opening(piped)
		p.hear("DATA")
		p.say("550 no\r\n503 no\r\n503 no\r\n")
		p.hear("DATA")
		p.say("250 reset\r\n250 ok\r\n250 ok\r\n354 go\r\n")
		p.hear(".\r\n")
		p.say("250 ok\r\n")
		p.hear("DATA")
		told = p.told.String()
	}, func(*peer) {}}, func(w *world) {
		w.want(w.deliver(mail("x\r\n", "b@example.com")), "mail 550")
		w.want(w.deliver(mail("x\r\n", "b@example.com")), "dot 250")
		w.deliver(mail("x\r\n", "b@example.com"))
	})
	const envelope = "MAIL FROM:<ann@example.com>\r\nRCPT TO:<b@example.com>\r\nDATA\r\n"
	if want := "EHLO client.example\r\n" + envelope + "RSET\r\n" + envelope + "x\r\n.\r\n" + envelope; told != want {
		t.Errorf("told %q, want %q", told, want)
	}
}

// serve plays an upstream that takes messages and then does as last says.
func serve(messages int, last func(p *peer)) func(*peer) {
	return func(p *peer) {
		p.opening(piped)
		for range messages {
			if !p.hear("DATA") {
				return
			}
			p.say("250 ok\r\n250 ok\r\n354 go\r\n")
			p.hear(".\r\n")
			p.say("250 ok\r\n")
		}
		last(p)
	}
}

// TestReplacedOnce: a kept session that turns out to be dead is replaced,
// uncharged, but not for ever; one that is silent is not replaced.
func TestReplacedOnce(t *testing.T) {
	gone := func(p *peer) { p.hear("DATA") }
	for name, c := range map[string]struct {
		scripts []func(*peer)
		want    string
		dials   int
		took    time.Duration
	}{
		"closed after MAIL":       {[]func(*peer){serve(1, gone), serve(9, gone)}, "dot 250", 2, 0},
		"421 to MAIL":             {[]func(*peer){serve(1, func(p *peer) { p.hear("DATA"); p.say("421 4.4.2 idle\r\n") }), serve(9, gone)}, "dot 250", 2, 0},
		"garbage to MAIL":         {[]func(*peer){serve(1, func(p *peer) { p.hear("DATA"); p.say("\x00\r\n") }), serve(9, gone)}, "dot 250", 2, 0},
		"closed while idle":       {[]func(*peer){serve(1, func(*peer) {}), serve(9, gone)}, "dot 250", 2, 0},
		"421 while idle":          {[]func(*peer){serve(1, func(p *peer) { p.say("421 4.4.2 idle\r\n"); p.rest() }), serve(9, gone)}, "dot 250", 2, 0},
		"the new one closes too":  {[]func(*peer){serve(1, gone), serve(0, gone), serve(9, gone)}, "mail error", 2, 0},
		"the new one says 421":    {[]func(*peer){serve(1, gone), serve(0, func(p *peer) { p.hear("DATA"); p.say("421 no\r\n") })}, "mail 421", 2, 0},
		"silent":                  {[]func(*peer){serve(1, func(p *peer) { p.rest() }), serve(9, gone)}, "mail error", 1, 5 * time.Second},
		"closed after its answer": {[]func(*peer){serve(1, func(p *peer) { p.hear("DATA"); p.say("250 ok\r\n") }), serve(9, gone)}, "rcpt error", 1, 0},
	} {
		t.Run(name, func(t *testing.T) {
			withPeer(t, Options{}, c.scripts, func(w *world) {
				d := mail(letter, "b@example.com")
				d.Hurry = true
				w.want(w.deliver(d), "dot 250")
				synctest.Wait() // for what is said while idle
				res := w.deliver(d)
				w.want(res, c.want)
				if n := w.net.Dials(); n != c.dials || res.Took.Truncate(time.Second) != c.took {
					t.Errorf("%d dials, %v; want %d, %v", n, res.Took, c.dials, c.took)
				}
			})
		})
	}
}

// TestReplacedByAFreshOne: when one kept session had died, the others are not
// trusted either.
func TestReplacedByAFreshOne(t *testing.T) {
	gone := func(p *peer) { p.hear("DATA") }
	withPeer(t, Options{}, []func(*peer){serve(0, gone), serve(0, gone), serve(1, gone)}, func(w *world) {
		var cs [2]*conn
		for i := range cs {
			var err error
			if cs[i], err = w.up.connect(w.t.Context(), w.t.Context(), newBudget(false, time.Now()), unwatched()); err != nil {
				t.Fatal(err)
			}
		}
		for _, c := range cs {
			w.up.idle.put(c)
		}
		w.want(w.deliver(mail(letter, "b@example.com")), "dot 250")
		if n, kept := w.net.Dials(), w.kept(); n != 3 || kept != 2 {
			t.Errorf("%d dials, %d kept", n, kept)
		}
	})
}

// TestRefusedResetIsReplaced: a session that cannot be reset is of no use.
func TestRefusedResetIsReplaced(t *testing.T) {
	inWorld(t, sink.Options{Faults: faults(t, "dot#1=451 no", "rset=500 no")}, Options{}, func(w *world) {
		w.want(w.deliver(mail(letter, "b@example.com")), "dot 451")
		w.want(w.deliver(mail(letter, "b@example.com")), "dot 250")
		if n := w.sink.Conns(); n != 2 {
			t.Errorf("%d connections", n)
		}
	})
}

// TestIdleEnds: a session unused for 30 s is closed with QUIT, and sooner when
// the upstream has shown to close first.
func TestIdleEnds(t *testing.T) {
	var told string
	withPeer(t, Options{}, []func(*peer){serve(1, func(p *peer) { p.rest(); told = p.told.String() })}, func(w *world) {
		w.want(w.deliver(mail(letter, "b@example.com")), "dot 250")
		time.Sleep(idleLimit - time.Second)
		synctest.Wait()
		if w.kept() != 1 {
			t.Error("closed too early")
		}
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if w.kept() != 0 {
			t.Error("kept too long")
		}
	})
	if !strings.HasSuffix(told, "QUIT\r\n") {
		t.Errorf("told %q", told)
	}
	withPeer(t, Options{}, []func(*peer){serve(1, func(p *peer) { time.Sleep(10 * time.Second) })}, func(w *world) {
		w.want(w.deliver(mail(letter, "b@example.com")), "dot 250")
		time.Sleep(11 * time.Second)
		w.want(w.deliver(mail(letter, "b@example.com")), "dot 250")
		time.Sleep(7 * time.Second)
		synctest.Wait()
		if w.kept() != 0 {
			t.Error("nothing was learnt")
		}
	})
}

// TestLastInFirstOut: what is not needed grows old.
func TestLastInFirstOut(t *testing.T) {
	inWorld(t, sink.Options{}, Options{}, func(w *world) {
		c := func() *conn {
			c, err := w.up.connect(w.t.Context(), w.t.Context(), newBudget(false, time.Now()), unwatched())
			if err != nil {
				t.Fatal(err)
			}
			return c
		}
		a, b := c(), c()
		w.up.idle.put(a)
		w.up.idle.put(b)
		if w.up.idle.get() != b || w.up.idle.get() != a || w.up.idle.get() != nil {
			t.Error("another order")
		}
		w.up.idle.put(a)
		w.up.idle.put(b)
	})
}

// TestNoVerdictWaitsForQuit: a peer that never answers QUIT delays nothing.
func TestNoVerdictWaitsForQuit(t *testing.T) {
	inWorld(t, sink.Options{Faults: faults(t, "quit=hang")}, Options{}, func(w *world) {
		begin := time.Now()
		if err := w.up.Probe(w.t.Context()); err != nil {
			t.Error(err)
		}
		w.want(w.deliver(mail(letter, "b@example.com")), "dot 250")
		w.up.CloseIdle()
		if took := time.Since(begin); took > 50*time.Millisecond {
			t.Errorf("took %v", took)
		}
	})
}
