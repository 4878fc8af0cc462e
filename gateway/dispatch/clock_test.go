package dispatch

import (
	"context"
	"testing"
	"time"

	"mailroam/queue"
)

// TestClockWasSetBack: mail that was filed years ahead is not lost until then.
func TestClockWasSetBack(t *testing.T) {
	live(t, both, func(w *world) {
		ahead := time.Now().AddDate(5, 0, 0)
		n := queue.NewMessage{ID: queue.NewID(), Accepted: ahead, ReversePath: "ann@example.com", Recipients: queue.To("bob@example.net")}
		d, err := w.session.NewDraft(context.Background(), n.ID)
		if err != nil {
			t.Fatal(err)
		}
		n.Filing = queue.Filing{Lane: w.config(both).lanes(both, 0), Due: ahead, Age: ahead}
		if _, err := d.Commit(context.Background(), "", n); err != nil {
			t.Fatal(err)
		}
		w.pass(time.Hour)
		w.wantState(n.ID, queue.Queued)
		w.restart(both)
		w.pass(time.Second)
		w.wantState(n.ID, queue.Done)
	})
}

func TestMisfiled(t *testing.T) {
	p := testPolicy()
	now := t0
	for name, tt := range map[string]struct {
		accepted, due, back, age time.Duration // from now
		want                     bool
	}{
		"due":                        {-time.Hour, -time.Minute, 2 * time.Hour, time.Hour, false},
		"was due before an hour":     {-3 * time.Hour, 50 * time.Minute, time.Hour, time.Hour, true},
		"was to wait on":             {-3 * time.Hour, 70 * time.Minute, time.Hour, time.Hour, false},
		"is put off, and time runs":  {-3 * time.Hour, 20 * time.Minute, 0, time.Hour, false},
		"was accepted, at a start":   {10 * time.Minute, 10 * time.Minute, 0, time.Hour, true},
		"waits for years":            {-time.Hour, 10_000 * time.Hour, 0, time.Hour, true},
		"expires after its time":     {-time.Hour, -time.Hour, 0, 6 * 24 * time.Hour, true},
		"was accepted and is due by": {10 * time.Minute, -time.Minute, 0, time.Hour, false},
	} {
		m := message()
		m.Lane, m.Accepted, m.Due, m.Age = p.lanes([]string{"a"}, 0), now.Add(tt.accepted), now.Add(tt.due), now.Add(tt.age)
		if got := p.misfiled(&m, now, tt.back); got != tt.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}

// TestShorterExpireIsNoClock: mail that was filed by another expire is filed anew
// without that, and says nothing of the clock.
func TestShorterExpireIsNoClock(t *testing.T) {
	before, now := testPolicy(), Now{Time: t0, Online: time.Hour}
	m := message()
	f, ok := before.File(&m, nil, now.Time, now)
	if !ok {
		t.Fatal("nobody may send it")
	}
	m.Filing = f
	after := before
	after.Expire = time.Hour
	if after.misfiled(&m, now.Time, 0) {
		t.Error("the clock is said to have been set back")
	}
}

func TestSetBack(t *testing.T) {
	then := time.Now()
	if d := setBack(then, then.Add(time.Minute)); d != 0 {
		t.Errorf("a clock that runs was set back by %v", d)
	}
}

// TestOfflineIsNoWork: what waits for time online is not written again and
// again while there is none.
func TestOfflineIsNoWork(t *testing.T) {
	p := testPolicy()
	m := message()
	f, ok := p.File(&m, nil, t0, Now{Time: t0, Online: m.Online + p.Expire - 1})
	if !ok || f.Age.Sub(t0) < time.Minute {
		t.Errorf("looked at again in %v", f.Age.Sub(t0))
	}
}
