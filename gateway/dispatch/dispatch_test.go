package dispatch

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"mailroam/gateway/relay"
	"mailroam/queue"
)

var both = []string{"a", "b"}

func TestFirstUpstreamTakesAll(t *testing.T) {
	live(t, both, func(w *world) {
		id := w.submit("ann@example.com", "bob@example.net", "cy@example.net")
		w.pass(time.Millisecond)
		w.wantState(id, queue.Done)
		w.wantTook(map[string]int{"a": 2})
	})
}

// TestRefusedOnce: the second upstream has the message within a second, and
// the following messages do not ask the first again.
func TestRefusedOnce(t *testing.T) {
	live(t, both, func(w *world) {
		w.pass(time.Second) // probed up
		w.peers["a"].set(true)
		id := w.submit("ann@example.com", "bob@example.net")
		w.pass(time.Second)
		m := w.wantState(id, queue.Done)
		if len(m.Attempts) != 2 || m.Attempts[0].Upstream != "a" || m.Attempts[1].Upstream != "b" {
			t.Errorf("timeline %+v", m.Attempts)
		}
		if m.Tries != 0 {
			t.Errorf("an upstream's fault was counted against the message: %d", m.Tries)
		}
		asked, _ := w.peers["a"].count()
		for range 200 {
			w.submit("ann@example.com", "bob@example.net")
		}
		w.pass(2 * time.Second)
		w.wantTook(map[string]int{"b": 201})
		if again, _ := w.peers["a"].count(); again != asked {
			t.Errorf("the first upstream was asked %d more times", again-asked)
		}
	})
}

// TestBothBack: mail that waits leaves within two seconds of an upstream's
// return, uncounted.
func TestBothBack(t *testing.T) {
	live(t, both, func(w *world) {
		w.peers["a"].set(true)
		w.peers["b"].set(true)
		w.pass(10 * time.Second)
		var ids []queue.ID
		for range 20 {
			ids = append(ids, w.submit("ann@example.com", "bob@example.net"))
		}
		w.pass(20 * time.Second)
		w.wantTook(map[string]int{})
		for _, id := range ids {
			if m := w.wantState(id, queue.Queued); m.Tries != 0 {
				t.Errorf("waiting was counted: %d", m.Tries)
			}
		}
		w.peers["b"].set(false)
		w.pass(2 * time.Second)
		w.wantTook(map[string]int{"b": 20})
	})
}

// TestLongOutage: however long it lasted, mail leaves within 16 s.
func TestLongOutage(t *testing.T) {
	live(t, both, func(w *world) {
		w.peers["a"].set(true)
		w.peers["b"].set(true)
		w.pass(10 * time.Second)
		w.submit("ann@example.com", "bob@example.net")
		w.pass(6 * time.Hour)
		w.peers["a"].set(false)
		w.pass(16 * time.Second)
		w.wantTook(map[string]int{"a": 1})
	})
}

// TestInDoubtStaysWithItsUpstream: a lost answer to the dot is retried there
// and nowhere else, after ten minutes, although another upstream is fine.
func TestInDoubtStaysWithItsUpstream(t *testing.T) {
	live(t, both, func(w *world) {
		w.peers["a"].script = func(n int, d relay.Delivery) *relay.Result {
			if n > 1 {
				return nil
			}
			r := all(d, relay.RcptResult{Stage: relay.Dot, Err: errors.New("connection reset"), InDoubt: true})
			return &r
		}
		id := w.submit("ann@example.com", "bob@example.net")
		w.pass(9 * time.Minute)
		if m := w.wantState(id, queue.Queued); m.InDoubt() != "a" {
			t.Errorf("in doubt at %q", m.InDoubt())
		}
		w.wantTook(map[string]int{})
		w.pass(2 * time.Minute)
		w.wantState(id, queue.Done)
		w.wantTook(map[string]int{"a": 1})
	})
}

// TestDoubtIsReleased: an upstream that stays away does not keep its mail for
// ever. The release is counted.
func TestDoubtIsReleased(t *testing.T) {
	live(t, both, func(w *world) {
		w.peers["a"].script = func(n int, d relay.Delivery) *relay.Result {
			w.peers["a"].set(true)
			r := all(d, relay.RcptResult{Stage: relay.Dot, Err: errors.New("connection reset"), InDoubt: true})
			return &r
		}
		id := w.submit("ann@example.com", "bob@example.net")
		w.pass(119 * time.Minute)
		w.wantState(id, queue.Queued)
		w.wantTook(map[string]int{})
		w.pass(2 * time.Minute)
		if m := w.wantState(id, queue.Done); m.Tries == 0 {
			t.Error("the release was not counted")
		}
		w.wantTook(map[string]int{"b": 1})
	})
}

// TestCrashInOpenPass: a process that dies between dot and settle leaves the
// message in doubt at the upstream of its lease, which is asked at once.
func TestCrashInOpenPass(t *testing.T) {
	live(t, both, func(w *world) {
		dead := make(chan struct{})
		w.peers["a"].script = func(n int, d relay.Delivery) *relay.Result {
			if n > 1 {
				return nil
			}
			if err := d.BeforeDot(context.Background(), []int{0}, nil); err != nil {
				t.Error(err)
			}
			<-dead
			r := stopped(d, context.Canceled)
			return &r
		}
		id := w.submit("ann@example.com", "bob@example.net")
		w.pass(time.Second)
		first := w.end
		w.start(both) // a new session: the old one is dead to the store
		w.pass(time.Second)
		m := w.wantState(id, queue.Done)
		w.wantTook(map[string]int{"a": 1})
		if !m.Attempts[0].Interrupted || m.Attempts[0].Upstream != "a" {
			t.Errorf("timeline %+v", m.Attempts)
		}
		close(dead)
		first()
	})
}

// TestCrashAtSecondUpstream: the lease is rewritten before the dot at another
// upstream than the claim named, so the doubt is there.
func TestCrashAtSecondUpstream(t *testing.T) {
	live(t, both, func(w *world) {
		dead := make(chan struct{})
		w.peers["a"].script = says(relay.Mail, 451, "4.3.0", "not now")
		w.peers["b"].script = func(n int, d relay.Delivery) *relay.Result {
			if n > 1 {
				return nil
			}
			if err := d.BeforeDot(context.Background(), []int{0}, nil); err != nil {
				t.Error(err)
			}
			<-dead
			r := stopped(d, context.Canceled)
			return &r
		}
		id := w.submit("ann@example.com", "bob@example.net")
		w.pass(time.Second)
		first := w.end
		w.peers["a"].plays(nil)
		w.start(both)
		w.pass(time.Second)
		w.wantState(id, queue.Done)
		w.wantTook(map[string]int{"b": 1})
		close(dead)
		first()
	})
}

func TestHoldBeforeTheDot(t *testing.T) {
	live(t, both, func(w *world) {
		w.peers["a"].script = func(_ int, d relay.Delivery) *relay.Result {
			for m, err := range w.store.List(context.Background(), queue.Filter{}) {
				if err != nil || m.State != queue.Leased {
					t.Errorf("%s: %v", m.State, err)
				}
			}
			if _, err := w.store.Apply(context.Background(), queue.Filter{}, queue.Op{Verb: queue.OpHold, At: time.Now()}); err != nil {
				t.Error(err)
			}
			return nil
		}
		id := w.submit("ann@example.com", "bob@example.net")
		w.pass(time.Second)
		w.wantState(id, queue.Held)
		w.wantTook(map[string]int{})
		w.peers["a"].plays(nil)
		if _, err := w.store.Apply(context.Background(), queue.Filter{}, queue.Op{Verb: queue.OpRelease, At: time.Now()}); err != nil {
			t.Error(err)
		}
		w.pass(time.Second)
		w.wantState(id, queue.Done)
	})
}

// TestOneFails: the sender gets one notice about the recipient that failed;
// the other one is delivered.
func TestOneFails(t *testing.T) {
	live(t, both, func(w *world) {
		w.peers["a"].script = func(n int, d relay.Delivery) *relay.Result {
			if n > 1 {
				return nil
			}
			r := all(d, reply(relay.Dot, 250, "2.0.0", "ok"))
			r.Rcpts[1] = reply(relay.Rcpt, 550, "5.1.1", "no such user")
			return &r
		}
		id := w.submit("ann@example.com", "bob@example.net", "gone@example.net")
		w.pass(time.Second)
		m := w.wantState(id, queue.Done)
		if m.Recipients[0].State != queue.Delivered || m.Recipients[1].State != queue.Failed {
			t.Errorf("recipients %+v", m.Recipients)
		}
		p := w.peers["a"]
		if len(p.took) != 1 || p.took[0] != "ann@example.com" || p.froms[0] != "" {
			t.Fatalf("the notice went from %q to %v", p.froms, p.took)
		}
		for _, want := range []string{"gone@example.net", "no such user", "Subject: " + id.String()} {
			if !strings.Contains(p.bodies[0], want) {
				t.Errorf("the notice lacks %q:\n%s", want, p.bodies[0])
			}
		}
	})
}

// TestNoticeForNobody: what fails with the null reverse-path is held.
func TestNoticeForNobody(t *testing.T) {
	live(t, both, func(w *world) {
		w.peers["a"].script = says(relay.Rcpt, 550, "5.1.1", "no such user")
		id := w.submit("", "bob@example.net")
		w.pass(time.Second)
		m := w.wantState(id, queue.Held)
		if m.Recipients[0].State != queue.Pending || !strings.Contains(m.Held.Reason, "no such user") {
			t.Errorf("%+v %+v", m.Held, m.Recipients)
		}
	})
}

// TestNoticeForNobodyAndOthers: whoever else mail with the null reverse-path is
// for gets it all the same. Who has failed is put to nobody meanwhile, and is
// left to a person when nobody else is waited for.
func TestNoticeForNobodyAndOthers(t *testing.T) {
	noUser := relay.Reply{Code: 550, Enhanced: "5.1.1", Text: "no such user"}
	busy := relay.Reply{Code: 450, Enhanced: "4.2.1", Text: "busy"}
	for name, tt := range map[string]struct {
		gone, busy relay.Reply
		edit       func(*Config)
		asked      int // how often for who has failed, 0: with the others
	}{
		"no such user":         {noUser, busy, nil, 1},
		"put off":              {noUser, relay.Reply{Code: 451, Enhanced: "4.3.0", Text: "later"}, nil, 1},
		"nobody says":          {relay.Reply{Code: 554, Text: "transaction failed"}, busy, nil, 2},
		"a second opinion":     {noUser, busy, func(c *Config) { c.SecondOpinion = Always }, 2},
		"too large":            {relay.Reply{Code: 550, Enhanced: "5.3.4", Text: "too large for bob"}, busy, nil, 2},
		"by policy, by all":    {relay.Reply{Code: 550, Enhanced: "5.7.1", Text: "against our policy"}, busy, nil, 0},
		"for its form, by all": {relay.Reply{Code: 550, Enhanced: "5.6.7", Text: "no SMTPUTF8"}, busy, nil, 2},
	} {
		t.Run(name, func(t *testing.T) {
			live(t, both, func(w *world) {
				if w.edit = tt.edit; w.edit != nil {
					w.restart(both)
				}
				until, asked, mended := time.Now().Add(10*time.Minute), 0, false
				plays := func(n int, d relay.Delivery) *relay.Result {
					r := relay.Result{Served: true}
					for _, to := range d.Recipients {
						rr := relay.RcptResult{Stage: relay.Rcpt}
						switch gone := to.Address == "gone@example.net"; {
						case gone && !mended:
							rr.Reply = tt.gone
							asked++
						case !gone && time.Now().Before(until):
							rr.Reply = tt.busy
						default:
							rr = relay.RcptResult{Stage: relay.Dot, Reply: relay.Reply{Code: 250}}
						}
						r.Rcpts = append(r.Rcpts, rr)
					}
					return &r
				}
				w.peers["a"].plays(plays)
				w.peers["b"].plays(plays)
				id := w.submit("", "gone@example.net", "bob@example.net")
				w.pass(5 * time.Minute)
				w.wantState(id, queue.Queued)
				w.pass(2 * time.Hour)
				m := w.wantState(id, queue.Held)
				if m.Recipients[0].State != queue.Pending || m.Recipients[1].State != queue.Delivered || !strings.Contains(m.Held.Reason, tt.gone.Text) {
					t.Errorf("%+v %+v", m.Held, m.Recipients)
				}
				if tt.asked > 0 && asked != tt.asked {
					t.Errorf("asked %d times for who has failed, want %d", asked, tt.asked)
				}
				mended = true
				w.d.Pardon() // as the control socket does after a person's command
				w.do(queue.OpRelease)
				w.pass(time.Second)
				w.wantState(id, queue.Done)
			})
		})
	}
}

// TestRefusedByOneWaitsForTheOther: it neither spins while the first is up nor
// misses the second's return.
func TestRefusedByOneWaitsForTheOther(t *testing.T) {
	live(t, both, func(w *world) {
		w.peers["a"].script = says(relay.Mail, 451, "4.7.1", "greylisted")
		w.peers["b"].set(true)
		w.pass(10 * time.Second)
		id := w.submit("ann@example.com", "bob@example.net")
		w.pass(20 * time.Second)
		if asked, _ := w.peers["a"].count(); asked != 1 {
			t.Errorf("the first was asked %d times in 20 s", asked)
		}
		w.peers["b"].set(false)
		w.pass(2 * time.Second)
		w.wantState(id, queue.Done)
		w.wantTook(map[string]int{"b": 1})
	})
}

// TestRefusedByAllIsScheduled: a message's own backoff grows from replies
// about it.
func TestRefusedByAllIsScheduled(t *testing.T) {
	live(t, both, func(w *world) {
		for _, p := range w.peers {
			p.script = says(relay.Mail, 451, "4.7.1", "greylisted")
		}
		w.submit("ann@example.com", "bob@example.net")
		w.pass(10 * time.Minute) // 30 s + 1 + 2 + 4 min, give or take 20 %
		if asked, _ := w.peers["a"].count(); asked < 4 || asked > 6 {
			t.Errorf("asked %d times in ten minutes", asked)
		}
	})
}

// TestSlots: an upstream never carries more than its connections.
func TestSlots(t *testing.T) {
	live(t, both, func(w *world) {
		c := w.config(both)
		c.Upstreams["a"] = Upstream{Relay: w.peers["a"], Slots: 3}
		w.d.Set(c)
		w.peers["a"].script = func(int, relay.Delivery) *relay.Result {
			time.Sleep(time.Second)
			return nil
		}
		for range 30 {
			w.submit("ann@example.com", "bob@example.net")
		}
		w.pass(30 * time.Second)
		w.wantTook(map[string]int{"a": 30}) // full means waiting, never the next
		if w.peers["a"].most != 3 {
			t.Errorf("%d at a time", w.peers["a"].most)
		}
	})
}

// TestStopGivesBack: an orderly stop before the dot leaves the message as it
// was.
func TestStopGivesBack(t *testing.T) {
	live(t, both, func(w *world) {
		hung := make(chan struct{})
		w.peers["a"].script = func(n int, d relay.Delivery) *relay.Result {
			if n > 1 {
				return nil
			}
			<-hung
			r := stopped(d, context.Canceled)
			return &r
		}
		id := w.submit("ann@example.com", "bob@example.net")
		w.pass(time.Second)
		time.AfterFunc(time.Second, func() { close(hung) })
		w.end()
		if m := w.wantState(id, queue.Queued); m.Tries != 0 || len(m.Attempts) != 0 || m.InDoubt() != "" {
			t.Errorf("tries %d, timeline %+v", m.Tries, m.Attempts)
		}
		w.start(both)
		w.pass(time.Second)
		w.wantState(id, queue.Done)
	})
}

// fullDisk fails the first settles.
type fullDisk struct {
	queue.Session
	left *atomic.Int32
}

func (f fullDisk) Settle(ctx context.Context, c queue.Claim, o queue.Outcome) error {
	if f.left.Add(-1) >= 0 {
		return queue.ErrFull
	}
	return f.Session.Settle(ctx, c, o)
}

// TestSettleIsRepeated: a full disk must not send a message twice.
func TestSettleIsRepeated(t *testing.T) {
	live(t, both, func(w *world) {
		w.end()
		var left atomic.Int32
		left.Store(5)
		w.wrap = func(s queue.Session) queue.Session { return fullDisk{s, &left} }
		w.start(both)
		id := w.submit("ann@example.com", "bob@example.net")
		w.pass(time.Minute)
		w.wantState(id, queue.Done)
		w.wantTook(map[string]int{"a": 1})
		if left.Load() >= 0 {
			t.Errorf("the fault was not met: %d left", left.Load())
		}
	})
}

// TestExpiry: after its time online a message ends with a notice.
func TestExpiry(t *testing.T) {
	live(t, []string{"a"}, func(w *world) {
		w.edit = func(c *Config) { c.Expire = 12 * time.Hour }
		w.restart([]string{"a"})
		w.peers["a"].script = func(_ int, d relay.Delivery) *relay.Result {
			if d.ReversePath == "" {
				return nil
			}
			return says(relay.Mail, 451, "4.7.1", "greylisted")(0, d)
		}
		id := w.submit("ann@example.com", "bob@example.net")
		w.pass(12*time.Hour - time.Minute)
		w.wantState(id, queue.Queued)
		w.pass(2 * time.Minute)
		m := w.wantState(id, queue.Done)
		if m.Recipients[0].State != queue.Expired {
			t.Errorf("recipient is %s", m.Recipients[0].State)
		}
		w.wantTook(map[string]int{"a": 1}) // the notice
	})
}

// TestNewConfigReachesWaitingMail: mail filed under the old upstreams goes to
// one that is added.
func TestNewConfigReachesWaitingMail(t *testing.T) {
	live(t, []string{"a", "b"}, func(w *world) {
		w.peers["b"].set(false)
		w.d.Set(w.config([]string{"a"}))
		w.peers["a"].set(true)
		w.pass(10 * time.Second)
		id := w.submit("ann@example.com", "bob@example.net")
		w.pass(10 * time.Second)
		w.wantState(id, queue.Queued)
		w.d.Set(w.config(both))
		w.pass(time.Second)
		w.wantState(id, queue.Done)
		w.wantTook(map[string]int{"b": 1})
	})
}

// TestSenderOfNobody: a message that no upstream may carry is held, and says
// which key to change.
func TestSenderOfNobody(t *testing.T) {
	live(t, []string{"a"}, func(w *world) {
		c := w.config([]string{"a"})
		c.Routes = NewRoutes([]Route{{Name: "a", Senders: []string{"@own.example"}}})
		w.d.Set(c)
		if err := w.d.Permit("ann@example.com", ""); err == nil || !strings.Contains(err.Error(), "senders") {
			t.Errorf("Permit: %v", err)
		}
		if err := w.d.Permit("ann@own.example", ""); err != nil {
			t.Errorf("Permit: %v", err)
		}
		id := w.submit("ann@example.com", "bob@example.net") // it was permitted when it came
		w.pass(time.Second)
		if m := w.wantState(id, queue.Held); !strings.Contains(m.Held.Reason, "senders") {
			t.Errorf("held: %q", m.Held.Reason)
		}
	})
}

// TestRecipientOfNobody: a recipient to whom no upstream may send for this sender
// is refused when it is named, with the key to change. What was permitted when
// it came is held.
func TestRecipientOfNobody(t *testing.T) {
	live(t, both, func(w *world) {
		c := w.config(both)
		c.Routes = NewRoutes([]Route{{Name: "a", Recipients: []string{"example.net"}}, {Name: "b", Senders: []string{"@own.example"}, Recipients: []string{"own.example"}}})
		w.d.Set(c)
		for _, tt := range []struct{ from, to, want string }{
			{"ann@example.com", "bob@example.net", ""},
			{"ann@example.com", "bob@example.org", "no upstream may send to example.org: add it to the recipients of an [[upstream]]"},
			{"", "bob@example.org", "no upstream may send to example.org: add it to the recipients of an [[upstream]]"},
			{"ann@example.com", "bob@own.example", "no upstream that goes there may send for <ann@example.com>: add it to senders or rewrite of an [[upstream]]"},
			{"ann@own.example", "bob@own.example", ""},
			{"", "bob@own.example", ""},
			{"ann@example.com", "Postmaster", ""}, // who is always to be reached (RFC 5321 4.5.1)
		} {
			got := ""
			if err := w.d.Permit(tt.from, tt.to); err != nil {
				got = err.Error()
			}
			if got != tt.want {
				t.Errorf("from <%s> to <%s>: %q, want %q", tt.from, tt.to, got, tt.want)
			}
		}
		id := w.submit("ann@example.com", "bob@example.net", "bob@example.org")
		w.pass(time.Second)
		m := w.wantState(id, queue.Held)
		if !strings.Contains(m.Held.Reason, "recipients") || m.Recipients[0].State != queue.Delivered || m.Recipients[1].State != queue.Pending {
			t.Errorf("held: %q, %+v", m.Held.Reason, m.Recipients)
		}
	})
}

// TestRelayDeniedIsTheSenders: one sender's refusal is remembered for that
// sender; the upstream serves others.
func TestRelayDeniedIsTheSenders(t *testing.T) {
	live(t, both, func(w *world) {
		w.peers["a"].script = func(_ int, d relay.Delivery) *relay.Result {
			if d.ReversePath == "ann@example.com" {
				return says(relay.Rcpt, 554, "5.7.1", "Relay access denied")(0, d)
			}
			return nil
		}
		for range 5 {
			w.submit("ann@example.com", "bob@example.net")
			w.pass(time.Second)
		}
		w.submit("bob@example.com", "bob@example.net")
		w.pass(time.Second)
		w.wantTook(map[string]int{"a": 1, "b": 5})
		if asked, _ := w.peers["a"].count(); asked != 2 {
			t.Errorf("the first was asked %d times, want one for each sender", asked)
		}
	})
}

// TestSenderRefusedBesideOthers: what is remembered of a refused sender is what
// was said of the sender, whatever was said of others before.
func TestSenderRefusedBesideOthers(t *testing.T) {
	live(t, both, func(w *world) {
		w.peers["a"].plays(func(_ int, d relay.Delivery) *relay.Result {
			r := relay.Result{Served: true}
			for _, to := range d.Recipients {
				reply := relay.Reply{Code: 554, Enhanced: "5.7.1", Text: "Relay access denied"}
				if to.Address == "gone@example.net" {
					reply = relay.Reply{Code: 550, Enhanced: "5.1.1", Text: "no such user"}
				}
				r.Rcpts = append(r.Rcpts, relay.RcptResult{Stage: relay.Rcpt, Reply: reply})
			}
			return &r
		})
		w.submit("ann@example.com", "gone@example.net", "bob@example.net")
		w.pass(time.Second)
		blocks := slices.DeleteFunc(w.d.Blocks(), func(b Block) bool { return b.Sender == "" }) // of the notice
		if len(blocks) != 1 || blocks[0].Why != "554 5.7.1 Relay access denied" {
			t.Errorf("%+v", blocks)
		}
	})
}
