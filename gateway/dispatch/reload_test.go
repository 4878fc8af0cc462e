package dispatch

import (
	"context"
	"testing"
	"time"

	"mailroam/gateway/relay"
	"mailroam/queue"
)

// between runs f after fresh mail was filed and before its pass begins.
func (w *world) between(from string, f func()) queue.ID {
	w.t.Helper()
	n := queue.NewMessage{ID: queue.NewID(), Accepted: time.Now().UTC(), ReversePath: from, Recipients: queue.To("bob@example.net")}
	d, err := w.session.NewDraft(context.Background(), n.ID)
	if err != nil {
		w.t.Fatal(err)
	}
	first := w.d.File(&n)
	f()
	c, err := d.Commit(context.Background(), first, n)
	if err != nil || first != "a" {
		w.t.Fatal(first, err)
	}
	if !w.d.Take(c) {
		w.t.Error("not taken")
	}
	return n.ID
}

// TestRoutesAreResolvedAtEachAttempt: a lease of the old configuration gives
// an upstream no right to send.
func TestRoutesAreResolvedAtEachAttempt(t *testing.T) {
	live(t, both, func(w *world) {
		id := w.between("ann@example.com", func() {
			c := w.config(both)
			c.Routes = NewRoutes([]Route{{Name: "a", Senders: []string{"@other.example"}}, {Name: "b"}})
			w.d.Set(c)
		})
		w.pass(time.Second)
		w.wantState(id, queue.Done)
		w.wantTook(map[string]int{"b": 1})

		w.d.Set(w.config(both))
		id = w.between("ann@example.com", func() { w.d.Set(w.config([]string{"b"})) })
		w.pass(time.Second)
		w.wantState(id, queue.Done)
		w.wantTook(map[string]int{"b": 2})
	})
}

// TestNewUpstreamForRefusedMail: mail that all have refused for a while goes
// to an upstream that is added, now.
func TestNewUpstreamForRefusedMail(t *testing.T) {
	live(t, both, func(w *world) {
		w.d.Set(w.config([]string{"a"}))
		w.peers["a"].script = says(relay.Mail, 451, "4.7.1", "greylisted")
		id := w.submit("ann@example.com", "bob@example.net")
		w.pass(2 * time.Minute)
		w.wantState(id, queue.Queued)
		w.d.Set(w.config(both))
		w.pass(time.Second)
		w.wantState(id, queue.Done)
		w.wantTook(map[string]int{"b": 1})
	})
}

// TestReloadUnderOpenPasses: passes end under the configuration they began
// with, and nothing is lost or doubled.
func TestReloadUnderOpenPasses(t *testing.T) {
	live(t, both, func(w *world) {
		slow := func(int, relay.Delivery) *relay.Result {
			time.Sleep(time.Second)
			return nil
		}
		w.peers["a"].script, w.peers["b"].script = slow, slow
		var ids []queue.ID
		for range 60 {
			ids = append(ids, w.submit("ann@example.com", "bob@example.net"))
		}
		for i := range 20 {
			w.d.Set(w.config([][]string{{"a"}, {"b"}, {"b", "a"}, {"a", "b"}}[i%4]))
			w.pass(300 * time.Millisecond)
		}
		w.d.Set(w.config(both))
		w.pass(time.Minute)
		for _, id := range ids {
			w.wantState(id, queue.Done)
		}
		_, a := w.peers["a"].count()
		_, b := w.peers["b"].count()
		if a+b != len(ids) || max(w.peers["a"].most, w.peers["b"].most) > 16 {
			t.Errorf("a took %d, b took %d; at a time %d and %d", a, b, w.peers["a"].most, w.peers["b"].most)
		}
	})
}

// TestReloadForgetsBlockedSenders: whoever changes the configuration may have
// mended what kept a sender out.
func TestReloadForgetsBlockedSenders(t *testing.T) {
	live(t, []string{"a"}, func(w *world) {
		w.peers["a"].script = first(func(d relay.Delivery) *relay.Result {
			return says(relay.Rcpt, 554, "5.7.1", "Relay access denied")(0, d)
		})
		id := w.submit("ann@example.com", "bob@example.net")
		w.pass(10 * time.Minute)
		w.wantState(id, queue.Queued)
		w.d.Set(w.config([]string{"a"}))
		w.do(queue.OpRetry)
		w.pass(time.Second)
		w.wantState(id, queue.Done)
	})
}

// TestRetryReachesBlockedSenders: so may whoever says retry.
func TestRetryReachesBlockedSenders(t *testing.T) {
	live(t, []string{"a"}, func(w *world) {
		w.peers["a"].script = first(func(d relay.Delivery) *relay.Result {
			return says(relay.Rcpt, 554, "5.7.1", "Relay access denied")(0, d)
		})
		id := w.submit("ann@example.com", "bob@example.net")
		w.pass(10 * time.Minute)
		w.wantState(id, queue.Queued)
		w.do(queue.OpRetry)
		w.d.Pardon()
		w.pass(time.Second)
		w.wantState(id, queue.Done)
	})
}

// TestReloadOfTimes: mail that waits goes by the times of the new configuration,
// though nothing else about it has changed.
func TestReloadOfTimes(t *testing.T) {
	for name, tt := range map[string]struct {
		change func(*Config)
		want   queue.State
		spawns int
	}{
		"expire": {func(c *Config) { c.Expire = time.Hour }, queue.Done, 1},
		"warn":   {func(c *Config) { c.Warn = time.Hour }, queue.Queued, 1},
	} {
		t.Run(name, func(t *testing.T) {
			live(t, both, func(w *world) {
				c := w.config(both)
				c.Warn = 0
				w.d.Set(c)
				w.peers["a"].set(true)
				w.peers["b"].set(true)
				w.pass(time.Minute)
				id := w.submit("ann@example.com", "bob@example.net")
				w.pass(2 * time.Hour)
				w.wantState(id, queue.Queued)
				tt.change(&c)
				w.d.Set(c)
				w.pass(2 * time.Minute)
				w.wantState(id, tt.want)
				if s, err := w.store.Stats(t.Context()); err != nil || s.Queued+s.Done != 1+tt.spawns {
					t.Errorf("%+v, %v", s, err)
				}
			})
		})
	}
}
