package gateway

import (
	"context"
	"iter"
	"testing"
	"time"

	"mailroam/queue"
	"mailroam/queue/queuetest"
)

// Of the mail that the gateway holds the newest is told of, of what a person holds
// none, and the queue is not read through for it, however much is held.
func TestStuck(t *testing.T) {
	store := queuetest.NewMemory()
	session, err := store.Join(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now().UTC()
	var s stuck
	hold := func(by string) {
		t.Helper()
		id := queue.NewID()
		d, err := session.NewDraft(t.Context(), id)
		if err != nil {
			t.Fatal(err)
		}
		c, err := d.Commit(t.Context(), "work", queue.NewMessage{ID: id, Accepted: now, ReversePath: "ann@example.com", Recipients: queue.To("bob@example.net"), Filing: queue.Filing{Lane: "work", Due: now, Age: now.Add(time.Hour)}})
		if err != nil {
			t.Fatal(err)
		}
		o := queue.Outcome{Hold: queue.Hold{Reason: "held by " + by, By: by, Since: now}, At: now}
		if err := session.Settle(t.Context(), c, o); err != nil {
			t.Fatal(err)
		}
	}
	want := func(n int, why string) {
		t.Helper()
		stats, err := store.Stats(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		seen := &reading{Store: store}
		if reason := s.look(t.Context(), seen, stats.Stuck, now); stats.Stuck != n || reason != why {
			t.Errorf("%d, %q; want %d, %q", stats.Stuck, reason, n, why)
		}
		if seen.n > 2 {
			t.Errorf("%d messages were read for the reason of one", seen.n)
		}
	}
	want(0, "")
	hold("operator")
	want(0, "")
	hold("mailroam")
	want(1, "held by mailroam")
	for range 20 {
		hold("mailroam")
	}
	hold("operator")
	want(21, "held by mailroam")
	if _, err := store.Apply(t.Context(), queue.Filter{States: []queue.State{queue.Held}}, queue.Op{Verb: queue.OpDrop, At: now}); err != nil {
		t.Fatal(err)
	}
	want(0, "")
}

// reading counts the messages that are read from a store.
type reading struct {
	queue.Store
	n int
}

func (r *reading) List(ctx context.Context, f queue.Filter) iter.Seq2[queue.Message, error] {
	return func(yield func(queue.Message, error) bool) {
		for m, err := range r.Store.List(ctx, f) {
			if r.n++; !yield(m, err) {
				return
			}
		}
	}
}
