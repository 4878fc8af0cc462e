package gateway

import (
	"testing"
	"time"

	"mailroam/queue"
	"mailroam/queue/queuetest"
)

// Mail that the gateway holds is counted, mail that a person holds is not, and
// the queue is read only when something may be new.
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
		if got, reason := s.look(t.Context(), store, stats.Held, now); got != n || reason != why {
			t.Errorf("%d, %q; want %d, %q", got, reason, n, why)
		}
	}
	want(0, "")
	hold("operator")
	want(0, "")
	hold("mailroam")
	want(1, "held by mailroam")
	if _, err := store.Apply(t.Context(), queue.Filter{States: []queue.State{queue.Held}}, queue.Op{Verb: queue.OpDrop, At: now}); err != nil {
		t.Fatal(err)
	}
	want(0, "")
}
