package dispatch

import (
	"errors"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"mailroam/gateway/dsn"
	"mailroam/gateway/relay"
	"mailroam/health/netmon"
	"mailroam/queue"
)

var (
	notYou = says(relay.Mail, 550, "5.7.1", "not your sender address")
	policy = says(relay.Rcpt, 550, "5.7.1", "against our policy")
)

// barredWorld has mail that both refuse, one for its sender and one by policy.
func barredWorld(t *testing.T, hold time.Duration, test func(w *world, id queue.ID)) {
	live(t, both, func(w *world) {
		w.edit = func(c *Config) { c.PolicyHold = hold }
		w.restart(both)
		w.pass(time.Second)
		w.peers["a"].plays(onlyFrom("ann@example.com", notYou))
		w.peers["b"].plays(onlyFrom("ann@example.com", policy))
		id := w.submit("ann@example.com", "bob@example.net")
		w.pass(time.Second)
		test(w, id)
	})
}

// onlyFrom plays for one sender alone: notices pass.
func onlyFrom(from string, script func(int, relay.Delivery) *relay.Result) func(int, relay.Delivery) *relay.Result {
	return func(n int, d relay.Delivery) *relay.Result {
		if d.ReversePath != from {
			return nil
		}
		return script(n, d)
	}
}

func (w *world) notices() (kinds []string) {
	for _, p := range w.peers {
		p.mu.Lock()
		for _, b := range p.bodies {
			for _, k := range []string{"failed", "delayed", "relayed"} {
				if strings.Contains(b, "Action: "+k) {
					kinds = append(kinds, k)
				}
			}
		}
		p.mu.Unlock()
	}
	return kinds
}

// TestBarredMailWaits: mail that all refuse for its sender or by policy stays,
// its sender hears of it at once and once, it is shown to them seldom, and after
// policy_hold it goes back with what all said.
func TestBarredMailWaits(t *testing.T) {
	barredWorld(t, 24*time.Hour, func(w *world, id queue.ID) {
		m := w.wantState(id, queue.Queued)
		if m.Barred == 0 || m.Warned.IsZero() || len(m.Recipients[0].Said) != 2 {
			t.Errorf("barred %v, warned %v, %+v", m.Barred, m.Warned, m.Recipients[0])
		}
		if got := w.notices(); len(got) != 1 || got[0] != "delayed" {
			t.Errorf("notices %q", got)
		}
		w.pass(23 * time.Hour)
		m = w.wantState(id, queue.Queued)
		if n := len(m.Attempts); n < 6 || n > 12 {
			t.Errorf("%d attempts in a day", n)
		}
		w.pass(2 * time.Hour)
		m = w.wantState(id, queue.Done)
		if r := m.Recipients[0]; r.State != queue.Failed || !r.Last.Permanent() || len(r.Said) != 2 {
			t.Errorf("%+v", r)
		}
		if got := w.notices(); len(got) != 2 {
			t.Errorf("notices %q", got)
		}
	})
}

// TestBarredBesideBusy: a delay notice at once is for those whom all refuse, not
// for one who is only asked to wait beside them.
func TestBarredBesideBusy(t *testing.T) {
	live(t, both, func(w *world) {
		start := time.Now()
		plays := func(_ int, d relay.Delivery) *relay.Result {
			if d.ReversePath == "" {
				return nil
			}
			r := relay.Result{Served: true}
			for _, to := range d.Recipients {
				a := relay.Reply{Code: 550, Enhanced: "5.7.1", Text: "against our policy"}
				if strings.HasPrefix(to.Address, "busy") {
					a = relay.Reply{Code: 450, Enhanced: "4.2.0", Text: "greylisted"}
					if time.Since(start) > 10*time.Minute {
						a = relay.Reply{Code: 250}
					}
				}
				r.Rcpts = append(r.Rcpts, relay.RcptResult{Stage: relay.Rcpt, Reply: a})
				if a.Code == 250 {
					r.Rcpts[len(r.Rcpts)-1].Stage = relay.Dot
				}
			}
			return &r
		}
		w.peers["a"].plays(plays)
		w.peers["b"].plays(plays)
		id := w.submit("ann@example.com", "bob@example.net", "busy@example.net")
		w.pass(time.Minute)
		if got := w.notices(); len(got) != 0 {
			t.Errorf("notices %q", got)
		}
		w.pass(3 * time.Hour)
		m := w.wantState(id, queue.Queued)
		if m.Recipients[1].State != queue.Delivered || m.Warned.IsZero() {
			t.Errorf("%+v", m.Recipients)
		}
		if got := w.notices(); len(got) != 1 || got[0] != "delayed" {
			t.Errorf("notices %q", got)
		}
		w.pass(24 * time.Hour)
		w.wantState(id, queue.Done)
		if got := w.notices(); len(got) != 2 {
			t.Errorf("notices %q", got)
		}
	})
}

// TestTimeOfflineIsNoPolicyHold: it counts online.
func TestTimeOfflineIsNoPolicyHold(t *testing.T) {
	barredWorld(t, 4*time.Hour, func(w *world, id queue.ID) {
		w.goes(netmon.Snapshot{})
		w.pass(12 * time.Hour)
		w.wantState(id, queue.Queued)
	})
}

// TestBarredMailBeginsAnew: another network, another configuration, a retry and a
// release ask all of them again at once, and the day begins anew.
func TestBarredMailBeginsAnew(t *testing.T) {
	for name, change := range map[string]func(w *world){
		"network": func(w *world) { w.d.Roamed() },
		"config":  func(w *world) { w.d.Set(w.config(both)) },
		"other config": func(w *world) {
			c := w.config(both)
			c.Routes = NewRoutes([]Route{{Name: "a"}, {Name: "b", DefaultFrom: "x@example.com"}})
			w.d.Set(c)
		},
		"retry":   func(w *world) { w.do(queue.OpRetry); w.d.Pardon() },
		"release": func(w *world) { w.do(queue.OpHold); w.do(queue.OpRelease); w.d.Pardon() },
		"restart": func(w *world) { w.restart(both) },
	} {
		t.Run(name+", mended", func(t *testing.T) {
			barredWorld(t, 4*time.Hour, func(w *world, id queue.ID) {
				w.pass(90 * time.Minute)
				w.peers["b"].plays(nil)
				w.pass(time.Second)
				w.wantState(id, queue.Queued)
				change(w)
				w.pass(time.Second)
				w.wantState(id, queue.Done)
			})
		})
		t.Run(name+", not mended", func(t *testing.T) {
			barredWorld(t, 4*time.Hour, func(w *world, id queue.ID) {
				w.pass(230 * time.Minute)
				change(w)
				w.pass(230 * time.Minute)
				m := w.wantState(id, queue.Queued)
				if m.Barred == 0 {
					t.Error("it is barred no more")
				}
				w.pass(30 * time.Minute)
				w.wantState(id, queue.Done)
				want := 2
				if name == "release" { // which has its time before it again
					want = 3
				}
				if got := w.notices(); len(got) != want {
					t.Errorf("notices %q", got)
				}
			})
		})
	}
	t.Run("restart in the same place", func(t *testing.T) {
		barredWorld(t, 4*time.Hour, func(w *world, id queue.ID) {
			place := "home"
			w.file, w.network = filepath.Join(t.TempDir(), "senders.json"), func() string { return place }
			w.restart(both) // to which it is another place
			w.pass(2 * time.Minute)
			before := w.wantState(id, queue.Queued).Barred
			w.pass(time.Hour)
			w.restart(both)
			w.pass(2 * time.Minute)
			if m := w.wantState(id, queue.Queued); m.Barred != before {
				t.Errorf("barred since %v, and before the restart since %v", m.Barred, before)
			}
			place = "café"
			w.d.Roamed() // is seen all the same
			w.pass(2 * time.Minute)
			if m := w.wantState(id, queue.Queued); m.Barred == before {
				t.Error("another network changes nothing")
			}
		})
	})
	t.Run("no change", func(t *testing.T) { // the control
		barredWorld(t, 4*time.Hour, func(w *world, id queue.ID) {
			w.pass(90 * time.Minute)
			w.peers["b"].plays(nil)
			w.pass(time.Second)
			w.wantState(id, queue.Queued)
		})
	})
}

// TestOneLeftIsNoPolicyHold: while one that may carry the mail has not been asked,
// nothing is barred, and nothing goes back, whatever the others say.
func TestOneLeftIsNoPolicyHold(t *testing.T) {
	live(t, both, func(w *world) {
		w.edit = func(c *Config) { c.PolicyHold = time.Hour }
		w.restart(both)
		w.pass(time.Second)
		w.peers["a"].plays(onlyFrom("ann@example.com", notYou))
		w.peers["b"].set(true)
		w.pass(2 * time.Minute)
		id := w.submit("ann@example.com", "bob@example.net")
		w.pass(6 * time.Hour)
		if m := w.wantState(id, queue.Queued); m.Barred != 0 {
			t.Error("barred, though b was never asked")
		}
		w.peers["b"].set(false)
		w.pass(20 * time.Second)
		w.wantState(id, queue.Done)
		w.wantTook(map[string]int{"b": 1})
	})
}

// TestManyBarredOfOneSender: those that were never asked, since their sender is
// known to be refused, do not go back before they were.
func TestManyBarredOfOneSender(t *testing.T) {
	live(t, both, func(w *world) {
		w.edit = func(c *Config) { c.PolicyHold = 3 * time.Hour }
		w.restart(both)
		asked := map[string]map[string]bool{"a": {}, "b": {}}
		for n, p := range w.peers {
			p.plays(onlyFrom("ann@example.com", func(k int, d relay.Delivery) *relay.Result {
				p.mu.Lock()
				asked[n][d.Recipients[0].Address] = true
				p.mu.Unlock()
				return notYou(k, d)
			}))
		}
		var ids []queue.ID
		for i := range 20 {
			ids = append(ids, w.submit("ann@example.com", string(rune('a'+i%26))+string(rune('a'+i/26))+"@example.net"))
		}
		for range 60 {
			w.pass(30 * time.Minute)
			for _, id := range ids {
				if m := w.get(id); m.State == queue.Done {
					r := m.Recipients[0]
					if !asked["a"][r.Address] || !asked["b"][r.Address] {
						t.Fatalf("%s went back and was not asked for by all: %+v", r.Address, m.Attempts)
					}
				}
			}
		}
		for _, id := range ids {
			w.wantState(id, queue.Done)
		}
	})
}

// TestNoticeOfUnasked: mail that nobody is asked to take, since all refuse its
// sender, is said to be refused and by whom, not that nobody could be reached.
func TestNoticeOfUnasked(t *testing.T) {
	live(t, both, func(w *world) {
		for _, n := range both {
			w.peers[n].plays(onlyFrom("ann@example.com", notYou))
		}
		w.submit("ann@example.com", "bob@example.net")
		w.pass(time.Second)
		second := w.submit("ann@example.com", "cy@example.net")
		w.pass(time.Second)
		if m := w.get(second); len(m.Attempts) > 0 || m.Barred == 0 {
			t.Fatalf("it was to be barred by what is known: %+v", m)
		}
		w.do(queue.OpFail)
		w.pass(time.Second)
		told := 0
		for _, p := range w.peers {
			for _, b := range p.bodies {
				if !strings.Contains(b, "cy@example.net") {
					continue
				}
				told++
				b = strings.NewReplacer("=\r\n", "", "=\n", "").Replace(b) // quoted-printable
				for _, n := range both {
					if !strings.Contains(b, n+" could not be used: relays nothing for this sender: 550 5.7.1 not your sender address") {
						t.Errorf("what %s said is missing:\n%s", n, b)
					}
				}
				if delayed := strings.Contains(b, "Action: delayed"); strings.Contains(b, "reached") || strings.Contains(b, "Status: 4.4.1") ||
					delayed && !strings.Contains(b, "does not let you send with this sender address") {
					t.Errorf("the reason is another:\n%s", b)
				}
			}
		}
		if told != 2 {
			t.Errorf("%d notices, want of delay and of failure", told)
		}
	})
}

// TestNoticeOfUnaskedLater: the same of mail whose own tries met nobody.
func TestNoticeOfUnaskedLater(t *testing.T) {
	live(t, both, func(w *world) {
		for _, n := range both {
			w.peers[n].plays(func(_ int, d relay.Delivery) *relay.Result {
				r := all(d, relay.RcptResult{Stage: relay.Connect, Err: errors.New("connection refused")})
				return &r
			})
		}
		id := w.submit("ann@example.com", "cy@example.net")
		w.pass(10 * time.Millisecond)
		if m := w.get(id); len(m.Attempts) != 2 {
			t.Fatalf("it was to meet nobody: %+v", m)
		}
		for _, n := range both {
			w.d.senders.refuse(n, "ann@example.com", "550 5.7.1 not your sender address", time.Now())
			w.peers[n].plays(onlyFrom("ann@example.com", notYou))
		}
		w.pass(time.Minute)
		if m := w.get(id); len(m.Attempts) != 2 || m.Barred == 0 {
			t.Fatalf("it was to be barred by what is known: %+v", m)
		}
		told := 0
		for _, p := range w.peers {
			for _, b := range p.bodies {
				told++
				b = strings.NewReplacer("=\r\n", "", "=\n", "").Replace(b) // quoted-printable
				for _, n := range both {
					if !strings.Contains(b, n+" could not be used: relays nothing for this sender: 550 5.7.1 not your sender address") {
						t.Errorf("what %s said is missing:\n%s", n, b)
					}
				}
				if !strings.Contains(b, "Action: delayed") || !strings.Contains(b, "Status: 4.7.1") || !strings.Contains(b, "does not let you send with this sender address") {
					t.Errorf("the reason is another:\n%s", b)
				}
			}
		}
		if told != 1 {
			t.Errorf("%d notices", told)
		}
	})
}

// TestNoticeOfUnaskedElsewhere: nothing is said of an upstream that carries no
// mail to the recipient anyway.
func TestNoticeOfUnaskedElsewhere(t *testing.T) {
	m := letterTo("ann@example.com", "bob@x.example", "cy@y.example")
	rs := NewRoutes([]Route{{Name: "a", Recipients: []string{"x.example"}}, {Name: "b"}})
	for _, n := range both {
		m.Refusals = append(m.Refusals, queue.Refusal{Upstream: n, Perm: true, Answer: block{why: "553 no"}.answer(n)})
	}
	about := rs.topics(m, queue.Outcome{Warned: true}, nil)
	var got []string
	for _, r := range about[dsn.Delayed] {
		for _, s := range r.Said {
			got = append(got, r.Address+" "+s.Upstream)
		}
	}
	if want := []string{"bob@x.example a", "bob@x.example b", "cy@y.example b"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

// TestDoneIsNotBarred: a message that one refused and another took is barred by
// nobody, and what it keeps of the refusal is as it was judged.
func TestDoneIsNotBarred(t *testing.T) {
	live(t, both, func(w *world) {
		w.peers["a"].plays(says(relay.Rcpt, 450, "4.7.1", "greylisted"))
		id := w.submit("ann@example.com", "bob@example.net")
		w.pass(time.Second)
		m := w.wantState(id, queue.Done)
		if len(m.Refusals) != 1 || !m.Refusals[0].Until.Before(m.Ended.Add(barredAgain)) {
			t.Errorf("refusals %+v", m.Refusals)
		}
	})
}

// TestWarn: a delay is told of once, by the clock, but not to who was offline and
// will be served within minutes.
func TestWarn(t *testing.T) {
	warned := func(w *world, id queue.ID) bool { return !w.get(id).Warned.IsZero() }
	greylisted := func(test func(w *world, id queue.ID)) {
		live(t, []string{"a"}, func(w *world) {
			w.edit = func(c *Config) { c.Warn = 4 * time.Hour }
			w.restart([]string{"a"})
			w.pass(time.Second)
			w.peers["a"].plays(onlyFrom("ann@example.com", says(relay.Mail, 451, "4.7.1", "greylisted")))
			id := w.submit("ann@example.com", "bob@example.net")
			w.pass(time.Second)
			test(w, id)
		})
	}
	greylisted(func(w *world, id queue.ID) {
		w.pass(3*time.Hour + 59*time.Minute)
		if warned(w, id) {
			t.Error("too early")
		}
		w.pass(2 * time.Minute)
		if got := w.notices(); !warned(w, id) || len(got) != 1 {
			t.Errorf("not told after four hours: %q", got)
		}
		w.pass(12 * time.Hour)
		if got := w.notices(); len(got) != 1 {
			t.Errorf("told again: %q", got)
		}
	})
	greylisted(func(w *world, id queue.ID) {
		w.goes(netmon.Snapshot{})
		w.pass(9 * time.Hour)
		if warned(w, id) {
			t.Error("told while offline")
		}
		w.peers["a"].plays(nil)
		w.goes(home)
		w.d.Roamed()
		w.pass(time.Hour)
		w.wantState(id, queue.Done)
		if got := w.notices(); len(got) != 0 {
			t.Errorf("told of what was about to leave: %q", got)
		}
	})
}

// TestDoubtReleasedByALock: mail in doubt at an upstream that comes to refuse our
// account goes on at once, whoever found that out.
func TestDoubtReleasedByALock(t *testing.T) {
	live(t, both, func(w *world) {
		w.pass(time.Second)
		w.peers["a"].plays(func(n int, d relay.Delivery) *relay.Result {
			if n == 1 {
				return lost(d)
			}
			return says(relay.Auth, 535, "5.7.8", "bad credentials")(n, d)
		})
		id := w.submit("ann@example.com", "bob@example.net")
		w.pass(30 * time.Second)
		if m := w.wantState(id, queue.Queued); m.InDoubt() != "a" {
			t.Fatalf("%+v", m)
		}
		w.submit("ann@example.com", "cy@example.net")
		w.pass(10 * time.Second)
		w.wantState(id, queue.Done)
		w.wantTook(map[string]int{"b": 2})
	})
}

// TestDoubtChoices: failover asks the next at once, hold waits for a person.
func TestDoubtChoices(t *testing.T) {
	live(t, both, func(w *world) {
		w.edit = func(c *Config) { c.InDoubt = FailOver }
		w.restart(both)
		w.peers["a"].plays(first(lost))
		id := w.submit("ann@example.com", "bob@example.net")
		w.pass(time.Second)
		w.wantState(id, queue.Done)
		w.wantTook(map[string]int{"b": 1})
	})
	live(t, both, func(w *world) {
		w.edit = func(c *Config) { c.InDoubt = HoldInDoubt }
		w.restart(both)
		w.peers["a"].plays(first(lost))
		id := w.submit("ann@example.com", "bob@example.net")
		w.pass(5 * time.Hour)
		w.wantState(id, queue.Held)
		w.wantTook(map[string]int{})
		w.do(queue.OpRelease)
		w.pass(time.Second)
		w.wantState(id, queue.Done)
	})
}

// TestUnackedDoubt: what was not even acknowledged is asked for again soon, and
// released soon.
func TestUnackedDoubt(t *testing.T) {
	live(t, both, func(w *world) {
		w.pass(time.Second)
		unacked := func(d relay.Delivery) *relay.Result {
			r := lost(d)
			r.Rcpts[0].Unacked = true
			return r
		}
		w.peers["a"].plays(func(n int, d relay.Delivery) *relay.Result { return unacked(d) })
		id := w.submit("ann@example.com", "bob@example.net")
		w.pass(90 * time.Second)
		if asked, _ := w.peers["a"].count(); asked != 2 {
			t.Errorf("asked %d times", asked)
		}
		w.pass(15 * time.Minute)
		w.wantState(id, queue.Done)
		w.wantTook(map[string]int{"b": 1})
	})
}

// TestReleaseOfContent: mail that is held for what is in it, and let go, is taken
// to the next upstream; it is not held for the same again.
func TestReleaseOfContent(t *testing.T) {
	spam := onlyFrom("ann@example.com", says(relay.Dot, 554, "5.6.0", "this is spam"))
	for _, second := range []bool{false, true} {
		live(t, both, func(w *world) {
			w.edit = func(c *Config) { c.ContentReject = HoldContent }
			w.restart(both)
			w.pass(time.Second)
			w.peers["a"].plays(spam)
			if second {
				w.peers["b"].plays(spam)
			}
			id := w.submit("ann@example.com", "bob@example.net")
			w.pass(time.Second)
			w.wantState(id, queue.Held)
			w.do(queue.OpRelease)
			w.pass(time.Minute)
			want := queue.Delivered
			if second {
				want = queue.Failed
			}
			if m := w.wantState(id, queue.Done); m.Recipients[0].State != want {
				t.Errorf("refused by a second one: %v, it is %s", second, m.Recipients[0].State)
			}
		})
	}
}
