package dispatch

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"mailroam/gateway/relay"
	"mailroam/queue"
)

// counting knows the most messages that were leased at a time.
type counting struct {
	queue.Session
	store queue.Store
	mu    *sync.Mutex
	most  *int
}

func (c counting) count() {
	s, _ := c.store.Stats(context.Background())
	c.mu.Lock()
	defer c.mu.Unlock()
	*c.most = max(*c.most, s.Leased)
}

func (c counting) Claim(ctx context.Context, r queue.ClaimRequest) ([]queue.Claim, error) {
	cs, err := c.Session.Claim(ctx, r)
	c.count()
	return cs, err
}

func (c counting) NewDraft(ctx context.Context, id queue.ID) (queue.Draft, error) {
	d, err := c.Session.NewDraft(ctx, id)
	return countedDraft{d, c}, err
}

type countedDraft struct {
	queue.Draft
	counting
}

func (d countedDraft) Commit(ctx context.Context, first string, m queue.NewMessage) (queue.Claim, error) {
	time.Sleep(5 * time.Millisecond) // others come in between
	c, err := d.Draft.Commit(ctx, first, m)
	d.count()
	return c, err
}

// TestNeverMoreDeliveredThanSlots: neither fresh mail nor a claim that has
// waited for long takes a slot that is taken. Leased are, besides, those whose
// delivery is over and whose settle is under way.
func TestNeverMoreDeliveredThanSlots(t *testing.T) {
	for _, slots := range []int{1, 2, 3, 16} {
		live(t, both, func(w *world) {
			var most int
			var mu sync.Mutex
			w.edit = func(c *Config) { c.Upstreams["a"] = Upstream{Relay: w.peers["a"], Slots: slots} }
			w.wrap = func(s queue.Session) queue.Session { return counting{s, w.store, &mu, &most} }
			w.restart(both)
			w.peers["a"].script = func(int, relay.Delivery) *relay.Result {
				time.Sleep(time.Second)
				return nil
			}
			for range 3 {
				w.pass(time.Minute)
				for range 20 {
					go w.submit("ann@example.com", "bob@example.net")
				}
				w.submit("ann@example.com", "bob@example.net")
				synctest.Wait()
			}
			w.pass(2 * time.Minute)
			w.wantTook(map[string]int{"a": 63}) // full means waiting, never the next
			if p := w.peers["a"]; p.most > slots || most > 2*slots {
				t.Errorf("%d slots: %d delivered and %d leased at a time", slots, p.most, most)
			}
			if p := w.peers["a"]; p.most != slots {
				t.Errorf("%d slots: only %d delivered at a time", slots, p.most)
			}
		})
	}
}

// TestTrialBesideSlowAnswers: deliveries that wait for their last answer keep an
// upstream neither from its trial nor, by that, the mail from the others.
func TestTrialBesideSlowAnswers(t *testing.T) {
	b := func(w *world) int { _, took := w.peers["b"].count(); return took }
	live(t, both, func(w *world) {
		w.peers["a"].script = func(n int, d relay.Delivery) *relay.Result {
			switch {
			case n <= 5:
				time.Sleep(9 * time.Minute)
			case n == 6:
				return says(relay.Mail, 421, "4.3.2", "too busy")(n, d)
			}
			return nil
		}
		for range 6 {
			w.submit("ann@example.com", "bob@example.net")
		}
		w.pass(61 * time.Second) // the sixth went to b, and a may show whether it is well
		for range 4 {
			w.submit("ann@example.com", "bob@example.net")
		}
		w.pass(2 * time.Second)
		_, a := w.peers["a"].count()
		if a == 0 || a+b(w) != 5 {
			t.Errorf("a took %d, b took %d", a, b(w))
		}
		w.pass(10 * time.Minute)
		w.wantTook(map[string]int{"a": 10 - b(w), "b": b(w)})
	})
}

// TestSlotsComeBack: however a message's way ends, its slot is free again.
func TestSlotsComeBack(t *testing.T) {
	live(t, both, func(w *world) {
		for name, fate := range map[string]func(d relay.Delivery) *relay.Result{
			"delivered":  func(relay.Delivery) *relay.Result { return nil },
			"refused":    func(d relay.Delivery) *relay.Result { return says(relay.Mail, 451, "4.3.0", "no")(0, d) },
			"bounced":    func(d relay.Delivery) *relay.Result { return says(relay.Rcpt, 550, "5.1.1", "no")(0, d) },
			"relay":      func(d relay.Delivery) *relay.Result { return says(relay.Rcpt, 554, "5.7.1", "Relaying denied")(0, d) },
			"password":   func(d relay.Delivery) *relay.Result { return says(relay.Auth, 535, "5.7.8", "no")(0, d) },
			"lost":       lost,
			"gone":       func(d relay.Delivery) *relay.Result { r := all(d, fault(relay.Connect, "refused")); return &r },
			"given up":   func(d relay.Delivery) *relay.Result { r := all(d, relay.RcptResult{Err: relay.ErrGivenUp}); return &r },
			"damaged":    func(d relay.Delivery) *relay.Result { r := stopped(d, queue.ErrCorrupt); return &r },
			"local":      func(d relay.Delivery) *relay.Result { r := stopped(d, errors.New("a local fault")); return &r },
			"busy":       func(d relay.Delivery) *relay.Result { return says(relay.Rcpt, 450, "4.2.1", "busy")(0, d) },
			"over quota": func(d relay.Delivery) *relay.Result { return says(relay.Mail, 452, "4.7.28", "quota")(0, d) },
		} {
			for _, p := range w.peers {
				p.plays(func(_ int, d relay.Delivery) *relay.Result {
					time.Sleep(time.Second)
					return fate(d)
				})
			}
			for range 40 {
				go w.submit("ann@example.com", "bob@example.net")
			}
			w.pass(time.Minute)
			w.do(queue.OpHold)
			w.pass(time.Minute)
			w.do(queue.OpDrop)
			w.pass(15 * time.Minute)
			w.d.mu.Lock()
			for n := range w.peers {
				// What the claim that waits may bring is no pass.
				if taken := w.d.slots[n] - w.d.asked[n]; taken != 0 {
					t.Errorf("after %q, %d slots of %s are taken by nobody", name, taken, n)
				}
			}
			if w.d.filing != 0 {
				t.Errorf("after %q, %d are being filed", name, w.d.filing)
			}
			w.d.mu.Unlock()
		}
	})
}

// TestSlotIsTakenBackWhileTheDiskIsFull: results that cannot be stored do not
// pile up. While the first two settles fail, two more deliveries may begin.
func TestSlotIsTakenBackWhileTheDiskIsFull(t *testing.T) {
	live(t, both, func(w *world) {
		var left atomic.Int32
		left.Store(100)
		w.wrap = func(s queue.Session) queue.Session { return fullDisk{s, &left} }
		w.edit = func(c *Config) { c.Upstreams["a"] = Upstream{Relay: w.peers["a"], Slots: 2} }
		w.restart(both)
		w.peers["a"].script = func(int, relay.Delivery) *relay.Result {
			time.Sleep(time.Millisecond) // longer than it takes to see that the disk is full
			return nil
		}
		for range 10 {
			w.submit("ann@example.com", "bob@example.net")
		}
		w.pass(time.Minute)
		if _, took := w.peers["a"].count(); took < 2 || took > 4 {
			t.Errorf("%d were delivered while nothing could be stored", took)
		}
		w.pass(10 * time.Minute)
		w.wantTook(map[string]int{"a": 10})
	})
}

// TestSlotOfMailThatWasNotStored: a failed commit gives its slot back.
func TestSlotOfMailThatWasNotStored(t *testing.T) {
	live(t, both, func(w *world) {
		for range 50 {
			n := queue.NewMessage{ID: queue.NewID(), Accepted: time.Now(), ReversePath: "ann@example.com", Recipients: queue.To("bob@example.net")}
			if first := w.d.File(&n); first != "" {
				w.d.Unfile(first)
			}
		}
		n := queue.NewMessage{ID: queue.NewID(), Accepted: time.Now(), ReversePath: "ann@example.com", Recipients: queue.To("bob@example.net")}
		if first := w.d.File(&n); first != "a" {
			t.Errorf("filed for %q: no slot came back", first)
		}
	})
}
