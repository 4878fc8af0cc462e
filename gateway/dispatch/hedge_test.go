package dispatch

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"mailroam/gateway/relay"
	"mailroam/health"
	"mailroam/queue"
)

const hedgeAfter = 2 * time.Second

// hedging runs a test with upstreams that are known to be up, and hedging on.
func hedging(t *testing.T, names []string, test func(w *world)) {
	t.Helper()
	live(t, names, func(w *world) {
		w.edit = func(c *Config) { c.Hedge = hedgeAfter }
		w.restart(names)
		w.pass(10 * time.Second)
		test(w)
		w.end()
		w.d.mu.Lock()
		defer w.d.mu.Unlock()
		for n := range w.peers {
			if w.d.slots[n] != w.d.asked[n] || w.d.begun[n] != 0 || w.d.hedges[n] {
				t.Errorf("%s is left with %d slots taken (%d asked for), %d asking, hedged %v", n, w.d.slots[n], w.d.asked[n], w.d.begun[n], w.d.hedges[n])
			}
		}
	})
}

// slowly lets the peer take its time before the reply to MAIL, and then go on.
func (p *peer) slowly(how time.Duration, then func(context.Context, relay.Delivery) relay.Result) {
	p.whole = func(ctx context.Context, d relay.Delivery) relay.Result {
		if err := waits(ctx, d, how); err != nil {
			return all(d, relay.RcptResult{Stage: relay.Connect, Err: err})
		}
		return then(ctx, d)
	}
}

// TestBlackHoleCostsOneHedge: packets to the first upstream vanish and nobody
// has noticed. The message that finds out is at the second after the hedge, and
// those that follow are there at once.
func TestBlackHoleCostsOneHedge(t *testing.T) {
	hedging(t, both, func(w *world) {
		w.peers["a"].goesDark(true)
		id := w.submit("ann@example.com", "bob@example.net")
		w.pass(hedgeAfter - time.Millisecond)
		w.wantState(id, queue.Leased)
		w.pass(2 * time.Millisecond)
		m := w.wantState(id, queue.Done)
		if len(m.Attempts) != 2 || m.Attempts[0].Upstream != "a" || m.Attempts[1].Upstream != "b" || m.Tries != 0 {
			t.Fatalf("%d tries, timeline %+v", m.Tries, m.Attempts)
		}
		if a := m.Attempts[0]; a.Text != "no sign of life for 2s" || a.Why != "b was ready" || a.Verdict != "next" || a.Rcpts != nil {
			t.Errorf("the timeline says %+v", a)
		}
		if s := w.health.Standing("a"); s.Rank != health.LastResort {
			t.Errorf("the quiet upstream is %+v", s)
		}
		for range 200 {
			w.submit("ann@example.com", "bob@example.net")
		}
		w.pass(100 * time.Millisecond)
		w.wantTook(map[string]int{"b": 201})
		asked, _ := w.peers["a"].count()
		if n := w.peers["b"].warmedUp(); n != 1 || asked != 1 {
			t.Errorf("%d hedges, and the black hole was asked %d times", n, asked)
		}
		w.pass(10 * time.Second)
		if s := w.health.Standing("a"); s.Rank != health.Unusable {
			t.Errorf("probed, it is %+v", s)
		}
	})
}

// TestBatchInABlackHole: messages that are stuck together pay for one hedge.
func TestBatchInABlackHole(t *testing.T) {
	hedging(t, both, func(w *world) {
		w.peers["a"].goesDark(true)
		w.peers["b"].warm = func(context.Context) error {
			time.Sleep(200 * time.Millisecond)
			return nil
		}
		var ids []queue.ID
		for range 40 {
			ids = append(ids, w.submit("ann@example.com", "bob@example.net"))
		}
		w.pass(hedgeAfter + 300*time.Millisecond)
		w.wantTook(map[string]int{"b": 40})
		if n := w.peers["b"].warmedUp(); n != 1 {
			t.Errorf("%d hedges", n)
		}
		for _, id := range ids {
			if m := w.wantState(id, queue.Done); m.Tries != 0 {
				t.Errorf("%d tries", m.Tries)
			}
		}
	})
}

// TestNoHedge: what must not be hedged waits for its upstream alone.
func TestNoHedge(t *testing.T) {
	dark := func(w *world) { w.peers["a"].goesDark(true) }
	for name, tt := range map[string]struct {
		set    func(w *world)
		hedged bool
	}{
		"the rule": {set: dark, hedged: true},
		"off": {set: func(w *world) {
			w.edit = func(c *Config) { c.Hedge = 0 }
			w.d.Set(w.config(both))
			dark(w)
		}},
		"an answer in time": {set: func(w *world) { w.peers["a"].slowly(hedgeAfter-time.Millisecond, w.peers["a"].take) }},
		"the other is down": {set: func(w *world) {
			w.peers["b"].set(true)
			w.pass(2 * time.Minute)
			dark(w)
		}},
		"the other is full": {set: func(w *world) {
			w.edit = func(c *Config) { c.Hedge, c.Upstreams["b"] = hedgeAfter, Upstream{Relay: w.peers["b"], Slots: 0} }
			w.d.Set(w.config(both))
			dark(w)
		}},
		"the other is on trial": {set: func(w *world) {
			open, _ := w.health.Start("b", 0)
			open.Done(health.Fault{Kind: health.Session, Reason: "it said 421"})
			dark(w)
			w.pass(5 * time.Second)
		}},
		"not for this sender": {set: func(w *world) {
			c := w.config(both)
			c.Routes = NewRoutes([]Route{{Name: "a"}, {Name: "b", Senders: []string{"@other.example"}}})
			w.d.Set(c)
			dark(w)
		}},
		"one upstream": {set: func(w *world) {
			w.d.Set(w.config([]string{"a"}))
			dark(w)
		}},
		"the stop": {set: func(w *world) {
			dark(w)
			go func() {
				time.Sleep(time.Second)
				w.end()
			}()
		}},
	} {
		t.Run(name, func(t *testing.T) {
			live(t, both, func(w *world) {
				w.edit = func(c *Config) { c.Hedge = hedgeAfter }
				w.restart(both)
				w.pass(10 * time.Second)
				end := sync.OnceFunc(w.end)
				w.end = end
				tt.set(w)
				before := w.peers["b"].warmedUp()
				w.submit("ann@example.com", "bob@example.net")
				w.pass(4*time.Second - time.Millisecond)
				if hedged := w.peers["b"].warmedUp() > before; hedged != tt.hedged {
					t.Errorf("hedged: %v, want %v", hedged, tt.hedged)
				}
				w.peers["a"].goesDark(false)
			})
		})
	}
}

// TestNoHedgeInDoubt: mail that an upstream may hold in part is kept with it,
// however quiet it is, though the rest may go elsewhere.
func TestNoHedgeInDoubt(t *testing.T) {
	for _, doubt := range []bool{true, false} {
		hedging(t, both, func(w *world) {
			a, b := w.peers["a"], w.peers["b"]
			b.set(true)
			w.pass(3 * time.Minute)
			a.whole = func(ctx context.Context, d relay.Delivery) relay.Result {
				if n, _ := a.count(); n > 1 {
					b.set(false) // so the rest can go there now
					err := waits(ctx, d, 20*time.Minute)
					return all(d, relay.RcptResult{Stage: relay.Mail, Err: cmp.Or(err, os.ErrDeadlineExceeded)})
				}
				r := all(d, reply(relay.Rcpt, 451, "4.3.0", "one at a time"))
				if doubt {
					r.Rcpts[0] = lost(d).Rcpts[0]
				}
				return r
			}
			w.submit("ann@example.com", "bob@example.net", "cy@example.net")
			w.pass(20 * time.Minute)
			if w.health.Standing("b").Rank == health.Unusable {
				t.Error("it could not be hedged at all")
			}
			if hedged := b.warmedUp() > 0; hedged == doubt {
				t.Errorf("in doubt %v, hedged %v", doubt, hedged)
			}
		})
	}
}

// TestReadyTooLate: the first upstream came to life in time. It has the
// message, and the other's slot is free again.
func TestReadyTooLate(t *testing.T) {
	hedging(t, both, func(w *world) {
		w.peers["a"].slowly(2100*time.Millisecond, func(ctx context.Context, d relay.Delivery) relay.Result {
			defer time.Sleep(time.Minute) // over the body
			return w.peers["a"].take(ctx, d)
		})
		w.peers["b"].warm = func(context.Context) error {
			time.Sleep(200 * time.Millisecond)
			return nil
		}
		id := w.submit("ann@example.com", "bob@example.net")
		taken := func() int {
			w.d.mu.Lock()
			defer w.d.mu.Unlock()
			return w.d.slots["b"] - w.d.asked["b"]
		}
		w.pass(2050 * time.Millisecond)
		if taken() != 1 {
			t.Error("a hedge without a slot")
		}
		w.pass(time.Second)
		if taken() != 0 {
			t.Error("the slot was not given back")
		}
		if s := w.health.Standing("a"); s.Rank != health.Ready {
			t.Errorf("the upstream that was slow is %+v", s)
		}
		w.pass(time.Minute)
		w.wantState(id, queue.Done)
		w.wantTook(map[string]int{"a": 1})
		if asked, _ := w.peers["b"].count(); asked != 0 || w.peers["b"].warmedUp() != 1 {
			t.Errorf("b was asked %d times and got ready %d times", asked, w.peers["b"].warmedUp())
		}
	})
}

// TestFirstAnswersWhileOtherIsGotReady: a failure of the first upstream is
// dealt with as ever, and the slot of the hedge is the next step's.
func TestFirstAnswersWhileOtherIsGotReady(t *testing.T) {
	for _, slots := range []int{1, 16} {
		hedging(t, both, func(w *world) {
			w.edit = func(c *Config) { c.Hedge, c.Upstreams["b"] = hedgeAfter, Upstream{Relay: w.peers["b"], Slots: slots} }
			w.d.Set(w.config(both))
			w.peers["a"].slowly(2100*time.Millisecond, func(_ context.Context, d relay.Delivery) relay.Result {
				return all(d, reply(relay.Mail, 451, "4.3.0", "not now"))
			})
			w.peers["b"].warm = func(ctx context.Context) error {
				<-ctx.Done()
				return &relay.Error{Stage: relay.Connect, Err: ctx.Err()}
			}
			id := w.submit("ann@example.com", "bob@example.net")
			w.pass(2110 * time.Millisecond)
			m := w.wantState(id, queue.Done)
			w.wantTook(map[string]int{"b": 1})
			if m.Tries != 1 || m.Attempts[0].Code != 451 {
				t.Errorf("%d tries, timeline %+v", m.Tries, m.Attempts)
			}
			if s := w.health.Standing("b"); s.Rank != health.Ready {
				t.Errorf("%d slots: what we broke off was charged: %+v", slots, s)
			}
		})
	}
}

// TestHedgeThatFails: the upstream that could not be got ready is charged, and
// the next quiet moment is another's turn.
func TestHedgeThatFails(t *testing.T) {
	hedging(t, []string{"a", "b", "c"}, func(w *world) {
		w.peers["a"].goesDark(true)
		w.peers["b"].warm = func(context.Context) error {
			return &relay.Error{Stage: relay.Auth, Reply: relay.Reply{Code: 535, Enhanced: "5.7.8", Text: "no"}}
		}
		id := w.submit("ann@example.com", "bob@example.net")
		w.pass(3 * time.Second)
		if s := w.health.Standing("b"); s.Rank != health.Unusable {
			t.Errorf("the one that refused the login is %+v", s)
		}
		w.pass(time.Second)
		w.wantState(id, queue.Done)
		w.wantTook(map[string]int{"c": 1})
	})
}

// TestHedgeIntoABlackHole: one that is found dead while it is got ready makes
// room for the next.
func TestHedgeIntoABlackHole(t *testing.T) {
	hedging(t, []string{"a", "b", "c"}, func(w *world) {
		w.peers["a"].goesDark(true)
		w.peers["b"].goesDark(true)
		id := w.submit("ann@example.com", "bob@example.net")
		w.pass(2500 * time.Millisecond)
		open, _ := w.health.Start("b", 0)
		open.Done(health.Fault{Kind: health.Network, Reason: "no route to host"})
		w.pass(2 * time.Second)
		w.wantState(id, queue.Done)
		w.wantTook(map[string]int{"c": 1})
	})
}

// TestWarmFault: what we broke off is charged to nobody, an answer always is.
func TestWarmFault(t *testing.T) {
	live, gone := context.Background(), context.Background()
	gone, cancel := context.WithCancel(gone)
	cancel()
	refused := &relay.Error{Stage: relay.Auth, Reply: relay.Reply{Code: 535, Enhanced: "5.7.8", Text: "no"}}
	for _, tt := range []struct {
		ctx  context.Context
		err  error
		want health.Kind
	}{
		{live, nil, health.None},
		{gone, nil, health.None},
		{live, &relay.Error{Stage: relay.Connect, Err: os.ErrDeadlineExceeded}, health.Network},
		{gone, &relay.Error{Stage: relay.Connect, Err: context.Canceled}, health.None},
		{live, &relay.Error{Stage: relay.Connect, Err: relay.ErrRoamed}, health.None},
		{live, refused, health.Account},
		{gone, refused, health.Account},
	} {
		if f := warmFault(tt.ctx, tt.err, relay.Rules{}); f.Kind != tt.want {
			t.Errorf("%v, %v: charged as %q, want %q", tt.ctx.Err(), tt.err, f.Kind, tt.want)
		}
	}
}

// TestKeyringIsNoRefusal: a hedge that could not log in for want of a password
// is held against nobody for an hour.
func TestKeyringIsNoRefusal(t *testing.T) {
	f := ProbeFault(&relay.Error{Stage: relay.Auth, Err: relay.ErrPassword}, relay.Rules{})
	if f.Kind != health.Session {
		t.Errorf("charged as %q", f.Kind)
	}
}

// TestLateWord: what a leg hears after it was passed over is its upstream's
// affair still, and the message's no more.
func TestLateWord(t *testing.T) {
	hedging(t, both, func(w *world) {
		w.peers["a"].whole = func(ctx context.Context, d relay.Delivery) relay.Result {
			if d.ReversePath != "ann@example.com" {
				return w.peers["a"].take(ctx, d)
			}
			d.GiveUp = nil // a login under way is not cut
			if err := waits(ctx, d, 5*time.Second); err != nil {
				return stopped(d, err)
			}
			return all(d, reply(relay.Auth, 535, "5.7.8", "bad credentials"))
		}
		id := w.submit("ann@example.com", "bob@example.net", "cy@example.net")
		w.pass(2100 * time.Millisecond)
		m := w.wantState(id, queue.Done)
		if s := w.health.Standing("a"); s.Trial {
			t.Errorf("too early: %+v", s)
		}
		w.d.mu.Lock()
		if w.d.slots["a"]-w.d.asked["a"] != 1 || w.d.begun["a"] != 1 {
			t.Errorf("%d slots taken, %d asking: the leg still asks", w.d.slots["a"], w.d.begun["a"])
		}
		w.d.mu.Unlock()
		w.pass(3 * time.Second)
		if s := w.health.Standing("a"); s.Rank != health.Unusable || !s.Trial {
			t.Errorf("bad credentials made it %+v", s)
		}
		if n := len(w.get(id).Attempts); n != len(m.Attempts) {
			t.Errorf("%d attempts became %d", len(m.Attempts), n)
		}
		w.wantTook(map[string]int{"b": 2})
	})
}

// TestStopEndsLegsLeftBehind: the stop neither waits for an upstream that keeps
// silent nor returns before its leg has ended.
func TestStopEndsLegsLeftBehind(t *testing.T) {
	hedging(t, both, func(w *world) {
		ended := false
		w.peers["a"].whole = func(ctx context.Context, d relay.Delivery) relay.Result {
			d.GiveUp = nil
			err := waits(ctx, d, time.Hour)
			ended = true
			return stopped(d, err)
		}
		w.submit("ann@example.com", "bob@example.net")
		w.pass(3 * time.Second)
		w.wantTook(map[string]int{"b": 1})
		at := time.Now()
		w.restart(both)
		if !ended || time.Since(at) > time.Second {
			t.Errorf("ended %v after %v", ended, time.Since(at))
		}
	})
}

// TestCrashAfterAHedge: the record names the second upstream before its dot.
func TestCrashAfterAHedge(t *testing.T) {
	live(t, both, func(w *world) {
		w.edit = func(c *Config) { c.Hedge = hedgeAfter }
		w.restart(both)
		w.pass(10 * time.Second)
		w.peers["a"].goesDark(true)
		dead := make(chan struct{})
		w.peers["b"].script = first(func(d relay.Delivery) *relay.Result {
			if err := d.BeforeDot(context.Background(), []int{0}, nil); err != nil {
				t.Error(err)
			}
			<-dead
			r := stopped(d, context.Canceled)
			return &r
		})
		id := w.submit("ann@example.com", "bob@example.net")
		w.pass(3 * time.Second)
		old := w.end
		w.peers["a"].goesDark(false)
		w.start(both)
		w.pass(time.Second)
		w.wantState(id, queue.Done)
		w.wantTook(map[string]int{"b": 1})
		close(dead)
		old()
	})
}

// TestOneBody: whatever the moment, and even from a relay that does not ask
// whether it may begin, the body goes on one way only.
func TestOneBody(t *testing.T) {
	for _, asks := range []bool{true, false} {
		won := map[string]int{}
		hedging(t, both, func(w *world) {
			var mu sync.Mutex
			var open, most int
			for n, p := range w.peers {
				p.whole = func(ctx context.Context, d relay.Delivery) relay.Result {
					if n == "a" {
						if err := waits(ctx, d, hedgeAfter+time.Duration(rand.IntN(3))*time.Millisecond); err != nil {
							return all(d, relay.RcptResult{Stage: relay.Connect, Err: err})
						}
					}
					if asks && !d.Begin() {
						return overtaken(d)
					}
					body, err := d.Body(ctx)
					if err != nil {
						return stopped(d, err)
					}
					mu.Lock()
					open++
					most = max(most, open)
					won[n]++
					mu.Unlock()
					time.Sleep(10 * time.Millisecond)
					if _, err := io.Copy(io.Discard, body); err != nil {
						t.Error(err)
					}
					mu.Lock()
					open--
					mu.Unlock()
					return all(d, reply(relay.Dot, 250, "2.0.0", "ok"))
				}
			}
			w.peers["b"].warm = func(context.Context) error {
				time.Sleep(time.Duration(rand.IntN(3)) * time.Millisecond)
				return nil
			}
			for range 100 {
				id := w.submit("ann@example.com", "bob@example.net")
				w.pass(30 * time.Second)
				w.wantState(id, queue.Done)
			}
			if most != 1 || won["a"]+won["b"] != 100 {
				t.Errorf("asked %v: %d bodies at a time, %v in all", asks, most, won)
			}
		})
		if won["a"] == 0 || won["b"] == 0 {
			t.Errorf("no contest: %v", won)
		}
	}
}

// TestBrokenOffByUs: what we broke off is charged to nobody.
func TestBrokenOffByUs(t *testing.T) {
	for _, err := range []error{relay.ErrGivenUp, relay.ErrPassedOver, fmt.Errorf("%w: %w", relay.ErrGivenUp, io.EOF)} {
		m := message()
		j := testPolicy().Judge(Try{
			Message: &m, Upstream: "a", Rcpts: []int{0}, At: t0,
			Result: relay.Result{Rcpts: []relay.RcptResult{{Stage: relay.Mail, Err: err}}},
		}, Now{Time: t0})
		if !j.Fault.OK() || j.Counted || len(j.Refusals) > 0 || j.Attempts[0].Verdict != "next" || !strings.Contains(j.Attempts[0].Why, "we broke it off") {
			t.Errorf("%v: %+v", err, j)
		}
	}
	if j := testPolicy().Judge(Try{Message: ptr(message()), Upstream: "a", Rcpts: []int{0}, Result: relay.Result{Rcpts: []relay.RcptResult{{Err: errors.New("i/o timeout")}}}}, Now{}); j.Fault.OK() {
		t.Error("and nobody is charged for anything")
	}
}

func ptr[T any](v T) *T { return &v }

// TestHedgeWaitsForAFullOne: being full is no fault, in a hedge as elsewhere,
// and no reason to go to the one after it.
func TestHedgeWaitsForAFullOne(t *testing.T) {
	hedging(t, []string{"a", "b", "c"}, func(w *world) {
		w.edit = func(c *Config) { c.Hedge, c.Upstreams["b"] = hedgeAfter, Upstream{Relay: w.peers["b"], Slots: 1} }
		w.d.Set(w.config([]string{"a", "b", "c"}))
		w.peers["a"].goesDark(true)
		w.d.mu.Lock()
		busy := w.d.take("b")
		w.d.mu.Unlock()
		id := w.submit("ann@example.com", "bob@example.net")
		w.pass(5 * time.Second)
		if n := w.peers["c"].warmedUp(); n != 0 {
			t.Errorf("the third was got ready %d times", n)
		}
		busy.leave()
		w.pass(time.Second + 10*time.Millisecond)
		w.wantState(id, queue.Done)
		w.wantTook(map[string]int{"b": 1})
	})
}

// TestHedgeOfATrial: the delivery that shows whether an upstream is well again
// is hedged like any other, though a claim waits for mail for the next one.
func TestHedgeOfATrial(t *testing.T) {
	hedging(t, both, func(w *world) {
		w.peers["a"].whole = func(ctx context.Context, d relay.Delivery) relay.Result {
			err := waits(ctx, d, time.Minute)
			return all(d, relay.RcptResult{Stage: relay.Mail, Err: cmp.Or(err, os.ErrDeadlineExceeded)})
		}
		for range 3 {
			id := w.submit("ann@example.com", "bob@example.net")
			w.pass(hedgeAfter + time.Millisecond)
			w.wantState(id, queue.Done)
			w.pass(30 * time.Second) // it may be tried again
		}
		if asked, _ := w.peers["a"].count(); asked != 3 {
			t.Errorf("asked %d times", asked)
		}
	})
}

// TestHedgeMakesRoom: a claim that waits with all slots gives some back.
func TestHedgeMakesRoom(t *testing.T) {
	hedging(t, both, func(w *world) {
		w.d.mu.Lock()
		w.d.asked["b"], w.d.slots["b"] = 16, 16
		w.d.mu.Unlock()
		w.peers["a"].goesDark(true)
		id := w.submit("ann@example.com", "bob@example.net")
		w.pass(2*hedgeAfter + time.Millisecond)
		w.wantState(id, queue.Done)
		w.wantTook(map[string]int{"b": 1})
	})
}
