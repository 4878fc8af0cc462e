package dispatch

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"mailroam/gateway/relay"
	"mailroam/health"
	"mailroam/queue"
)

// limit gives upstream a limits of its own.
func (w *world) limit(names []string, l health.Limits) {
	var targets []health.Target
	for _, n := range names {
		t := health.Target{Name: n, Probe: w.peers[n].probe}
		if n == "a" {
			t.Limits = l
		}
		targets = append(targets, t)
	}
	w.health.Set(targets, health.Settings{})
	w.pass(0)
}

// TestBudgetMovesMailOn: what the first choice may not take any more goes by the
// second, and waits uncounted where there is none.
func TestBudgetMovesMailOn(t *testing.T) {
	live(t, both, func(w *world) {
		w.limit(both, health.Limits{PerHour: 10})
		for range 30 {
			w.submit("ann@example.com", "bob@example.net")
		}
		w.pass(time.Minute)
		w.wantTook(map[string]int{"a": 10, "b": 20})
	})
	live(t, []string{"a"}, func(w *world) {
		w.limit([]string{"a"}, health.Limits{PerMinute: 10})
		var ids []queue.ID
		for range 30 {
			ids = append(ids, w.submit("ann@example.com", "bob@example.net"))
		}
		w.pass(55 * time.Second)
		if _, took := w.peers["a"].count(); took < 8 || took > 10 { // the last are given with pauses
			t.Errorf("%d left in the first minute", took)
		}
		w.pass(3 * time.Minute)
		w.wantTook(map[string]int{"a": 30})
		for _, id := range ids {
			if m := w.wantState(id, queue.Done); m.Tries != 0 || len(m.Attempts) != 1 {
				t.Errorf("counted %d, %+v", m.Tries, m.Attempts)
			}
		}
	})
}

// TestLargeMessageGoesInParts: more recipients than the limit allows at any time,
// and small mail beside it.
func TestLargeMessageGoesInParts(t *testing.T) {
	live(t, []string{"a"}, func(w *world) {
		w.limit([]string{"a"}, health.Limits{PerMinute: 10})
		var rcpts []string
		for i := range 25 {
			rcpts = append(rcpts, string(rune('a'+i))+"@example.net")
		}
		id := w.submit("ann@example.com", rcpts...)
		for range 5 {
			w.pass(time.Second)
			w.submit("ann@example.com", "bob@example.org")
		}
		w.pass(4 * time.Minute)
		m := w.wantState(id, queue.Done)
		w.wantTook(map[string]int{"a": 30})
		if len(m.Attempts) > 6 || m.Tries != 0 {
			t.Errorf("in crumbs: %d attempts, %d counted", len(m.Attempts), m.Tries)
		}
		took := w.peers["a"].took
		for _, r := range rcpts {
			if n := len(slices.DeleteFunc(slices.Clone(took), func(s string) bool { return s != r })); n > 1 {
				t.Errorf("%s got it %d times", r, n)
			}
		}
	})
}

// TestSlowStart: who comes back from an outage is not met by all at once; who is
// away because the network is, is.
func TestSlowStart(t *testing.T) {
	for roamed, most := range map[bool][2]int{false: {2, 2}, true: {16, 16}} {
		live(t, []string{"a"}, func(w *world) {
			a := w.peers["a"]
			a.set(true)
			w.submit("ann@example.com", "bob@example.net")
			w.pass(time.Minute)
			for range 19 {
				w.submit("ann@example.com", "bob@example.net")
			}
			slow := func(int, relay.Delivery) *relay.Result { time.Sleep(100 * time.Millisecond); return nil }
			a.plays(slow)
			a.mu.Lock()
			a.most = 0
			a.mu.Unlock()
			a.set(false)
			if roamed {
				w.goes(home)
			}
			for w.store != nil {
				time.Sleep(50 * time.Millisecond)
				synctest.Wait()
				if _, took := a.count(); took > 0 {
					break
				}
			}
			begin := time.Now()
			time.Sleep(50 * time.Millisecond)
			a.mu.Lock()
			if a.most > most[1] || a.most < most[0] {
				t.Errorf("roamed %v: %d at once", roamed, a.most)
			}
			a.mu.Unlock()
			for {
				time.Sleep(50 * time.Millisecond)
				synctest.Wait()
				if _, took := a.count(); took == 20 {
					break
				}
				if time.Since(begin) > 2*time.Second {
					t.Fatal("20 messages take more than 2 s")
				}
			}
		})
	}
}

// TestConnectionsRefused: after some were too many, no more are made than were
// taken; the rest waits for them, and nothing is lost.
func TestConnectionsRefused(t *testing.T) {
	live(t, both, func(w *world) {
		a := w.peers["a"]
		a.plays(func(_ int, d relay.Delivery) *relay.Result {
			a.mu.Lock()
			many := a.open > 3
			a.mu.Unlock()
			if many {
				r := all(d, relay.RcptResult{Stage: relay.Mail, Reply: relay.Reply{Code: 421, Enhanced: "4.7.0", Text: "Too many concurrent connections"}})
				return &r
			}
			time.Sleep(time.Second)
			return nil
		})
		for range 16 {
			go w.submit("ann@example.com", "bob@example.net")
		}
		w.pass(10 * time.Second)
		a.mu.Lock()
		a.most = 0
		a.mu.Unlock()
		before, _ := w.peers["b"].count()
		for range 16 {
			go w.submit("ann@example.com", "bob@example.net")
		}
		w.pass(time.Minute)
		if after, _ := w.peers["b"].count(); after != before || a.most != 3 {
			t.Errorf("%d at once, %d went elsewhere", a.most, after-before)
		}
	})
}
