package dispatch

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"mailroam/gateway/relay"
	"mailroam/queue"
)

// first gives a script for the first delivery only.
func first(f func(relay.Delivery) *relay.Result) func(int, relay.Delivery) *relay.Result {
	return func(n int, d relay.Delivery) *relay.Result {
		if n > 1 {
			return nil
		}
		return f(d)
	}
}

// TestDoubtsAtTwoUpstreams: each recipient waits for its own upstream, and one
// that stays away does not keep the other's.
func TestDoubtsAtTwoUpstreams(t *testing.T) {
	live(t, both, func(w *world) {
		w.peers["a"].script = first(func(d relay.Delivery) *relay.Result {
			r := lost(d)
			r.Rcpts[1] = reply(relay.Rcpt, 451, "4.3.0", "one at a time")
			return r
		})
		w.peers["b"].script = first(lost)
		id := w.submit("ann@example.com", "bob@example.net", "cy@example.net")
		w.pass(time.Second)
		w.peers["a"].set(true)
		if m := w.get(id); m.Recipients[0].Doubt.Upstream != "a" || m.Recipients[1].Doubt.Upstream != "b" {
			t.Fatalf("recipients %+v", m.Recipients)
		}
		w.pass(9 * time.Minute)
		w.wantTook(map[string]int{})
		w.pass(2 * time.Minute)
		w.wantTook(map[string]int{"b": 1})
		w.peers["a"].set(false)
		w.pass(30 * time.Second)
		w.wantState(id, queue.Done)
		w.wantTook(map[string]int{"a": 1, "b": 1})
		if !slices.Equal(w.peers["a"].took, []string{"bob@example.net"}) {
			t.Errorf("a took %v", w.peers["a"].took)
		}
	})
}

// TestDoubtKeepsNobodyElse: a recipient that no upstream may hold goes on by
// itself.
func TestDoubtKeepsNobodyElse(t *testing.T) {
	live(t, both, func(w *world) {
		w.peers["b"].set(true)
		w.pass(10 * time.Second)
		w.peers["a"].script = func(_ int, d relay.Delivery) *relay.Result {
			r := lost(d)
			r.Rcpts[len(r.Rcpts)-1] = reply(relay.Rcpt, 451, "4.3.0", "one at a time")
			return r
		}
		id := w.submit("ann@example.com", "bob@example.net", "cy@example.net")
		w.pass(time.Second)
		w.peers["b"].set(false)
		w.pass(5 * time.Second)
		if m := w.wantState(id, queue.Queued); m.Recipients[1].State != queue.Delivered || m.Recipients[0].State != queue.Pending {
			t.Errorf("recipients %+v", m.Recipients)
		}
		w.wantTook(map[string]int{"b": 1})
	})
}

// TestEveryDotIsOnRecord: an upstream that takes one recipient at a time gets
// several dots, and all of them are in doubt after a crash.
func TestEveryDotIsOnRecord(t *testing.T) {
	live(t, both, func(w *world) {
		dead := make(chan struct{})
		w.peers["a"].script = first(func(d relay.Delivery) *relay.Result { return says(relay.Mail, 451, "4.3.0", "not now")(0, d) })
		w.peers["b"].script = first(func(d relay.Delivery) *relay.Result {
			for i := range d.Recipients {
				if err := d.BeforeDot(context.Background(), []int{i}, nil); err != nil {
					t.Error(err)
				}
			}
			<-dead
			r := stopped(d, context.Canceled)
			return &r
		})
		w.submit("ann@example.com", "bob@example.net", "cy@example.net")
		w.pass(time.Second)
		old := w.end
		w.start(both)
		w.pass(time.Minute)
		w.wantTook(map[string]int{"b": 2})
		close(dead)
		old()
	})
}

// TestDoubtWhereItMayNotSend: an upstream that lost the right to send for the
// sender is as good as gone.
func TestDoubtWhereItMayNotSend(t *testing.T) {
	live(t, both, func(w *world) {
		w.peers["a"].script = first(lost)
		id := w.submit("ann@example.com", "bob@example.net")
		w.pass(time.Second)
		c := w.config(both)
		c.Routes = NewRoutes([]Route{{Name: "a", Senders: []string{"@other.example"}}, {Name: "b"}})
		w.d.Set(c)
		w.pass(14 * time.Minute)
		w.wantTook(map[string]int{})
		w.pass(2 * time.Minute)
		w.wantState(id, queue.Done)
		w.wantTook(map[string]int{"b": 1})
	})
}

// TestDoubtAtRemovedUpstream: it waits a while for the name to come back, and
// then goes on, counted.
func TestDoubtAtRemovedUpstream(t *testing.T) {
	for _, back := range []bool{false, true} {
		live(t, both, func(w *world) {
			w.peers["a"].script = first(lost)
			id := w.submit("ann@example.com", "bob@example.net")
			w.pass(time.Second)
			w.d.Set(w.config([]string{"b"}))
			if back {
				w.pass(12 * time.Minute)
				w.d.Set(w.config(both))
				w.pass(time.Second)
				w.wantState(id, queue.Done)
				w.wantTook(map[string]int{"a": 1})
				return
			}
			w.pass(14 * time.Minute)
			w.wantTook(map[string]int{})
			w.pass(2 * time.Minute)
			if m := w.wantState(id, queue.Done); m.Tries < 2 {
				t.Errorf("%d tries: the release was not counted", m.Tries)
			}
			w.wantTook(map[string]int{"b": 1})
		})
	}
}

// TestReleasedDoubtGoesOnAtOnce: no wait for the upstream that it was in doubt
// at keeps it from the next.
func TestReleasedDoubtGoesOnAtOnce(t *testing.T) {
	live(t, both, func(w *world) {
		w.peers["a"].script = func(n int, d relay.Delivery) *relay.Result {
			if n == 1 {
				return lost(d)
			}
			return says(relay.Mail, 451, "4.3.0", "not now")(n, d)
		}
		id := w.submit("ann@example.com", "bob@example.net")
		w.pass(2*time.Hour + offline + time.Second) // it may have been refused, and filed, just before the hours were over
		w.wantState(id, queue.Done)
		w.wantTook(map[string]int{"b": 1})
	})
}

// TestRetryInDoubt: a person's retry asks the same upstream now, and being
// asked twice in a row is no second refusal.
func TestRetryInDoubt(t *testing.T) {
	live(t, both, func(w *world) {
		dead := make(chan struct{})
		w.peers["a"].script = func(n int, d relay.Delivery) *relay.Result {
			if n > 1 {
				return says(relay.Mail, 451, "4.3.0", "not now")(n, d)
			}
			_ = d.BeforeDot(context.Background(), []int{0}, nil)
			<-dead
			r := stopped(d, context.Canceled)
			return &r
		}
		id := w.submit("ann@example.com", "bob@example.net")
		w.pass(time.Second)
		old := w.end
		w.start(both)
		w.pass(time.Second)
		for want := 3; want < 6; want++ {
			w.do(queue.OpRetry)
			w.pass(time.Second)
			if asked, _ := w.peers["a"].count(); asked != want {
				t.Errorf("asked %d times, want %d", asked, want)
			}
		}
		if m := w.wantState(id, queue.Queued); m.InDoubt() != "a" {
			t.Error("released within seconds")
		}
		w.pass(10 * time.Minute)
		w.wantState(id, queue.Done)
		w.wantTook(map[string]int{"b": 1})
		close(dead)
		old()
	})
}

// TestDoubtOutlivesAHold: the doubt of mail that is held because nobody can be
// told is still there when a person releases it.
func TestDoubtOutlivesAHold(t *testing.T) {
	live(t, both, func(w *world) {
		w.peers["a"].script = func(n int, d relay.Delivery) *relay.Result {
			switch n {
			case 1:
				return lost(d)
			case 2:
				return says(relay.Rcpt, 550, "5.1.1", "no such user")(n, d)
			}
			return nil
		}
		id := w.submit("", "bob@example.net")
		w.pass(11 * time.Minute)
		if m := w.wantState(id, queue.Held); m.InDoubt() != "a" {
			t.Error("the doubt ended with the hold")
		}
		w.peers["a"].set(true)
		w.pass(10 * time.Second)
		w.do(queue.OpRelease)
		w.pass(time.Minute)
		w.wantTook(map[string]int{})
	})
}

// TestPasswordTroubleIsNoRelease: what we could not do ourselves is not the
// upstream's word.
func TestPasswordTroubleIsNoRelease(t *testing.T) {
	live(t, both, func(w *world) {
		w.peers["a"].script = func(n int, d relay.Delivery) *relay.Result {
			switch n {
			case 1:
				return lost(d)
			case 2:
				r := all(d, relay.RcptResult{Stage: relay.Auth, Err: errors.Join(relay.ErrPassword, errors.New("the keyring is locked"))})
				return &r
			}
			return nil
		}
		id := w.submit("ann@example.com", "bob@example.net")
		w.pass(15 * time.Minute)
		w.wantState(id, queue.Done)
		w.wantTook(map[string]int{"a": 1})
	})
}

// TestHeldDoubtIsAskedThereAgain: as the reason of the hold says, however long it
// was held and wherever else it could go.
func TestHeldDoubtIsAskedThereAgain(t *testing.T) {
	live(t, both, func(w *world) {
		w.edit = func(c *Config) { c.InDoubt = HoldInDoubt }
		w.restart(both)
		w.pass(time.Second)
		w.peers["a"].plays(first(lost))
		id := w.submit("ann@example.com", "bob@example.net")
		w.pass(3 * time.Hour)
		w.wantState(id, queue.Held)
		w.peers["a"].set(true)
		w.pass(time.Minute)
		w.do(queue.OpRelease)
		w.pass(time.Minute)
		w.wantTook(map[string]int{})
		w.peers["a"].set(false)
		w.pass(time.Hour)
		w.wantTook(map[string]int{"a": 1})
		w.wantState(id, queue.Done)
	})
}

// TestDoubtOnDoubt: what their machine acknowledged once it may have, whatever
// became of the next dot; and no doubt is prolonged by a later one.
func TestDoubtOnDoubt(t *testing.T) {
	for _, tt := range []struct{ old, lost, want bool }{{true, true, true}, {true, false, false}, {false, true, false}, {false, false, false}} {
		m := message()
		m.Recipients[0].Doubt = &queue.Doubt{Upstream: "a", At: t0, Online: time.Minute, Unacked: tt.old}
		j := testPolicy().Judge(Try{
			Message: &m, Upstream: "a", Rcpts: []int{0}, At: t0,
			Result: relay.Result{Rcpts: []relay.RcptResult{{Stage: relay.Dot, Err: errors.New("reset"), InDoubt: true, Unacked: tt.lost}}},
		}, Now{Time: t0.Add(time.Hour), Online: time.Hour})
		d := j.Results[0].Doubt
		if d == nil || d.Unacked != tt.want || d.Online != time.Minute {
			t.Errorf("%+v: %+v", tt, d)
		}
	}
}

// TestNoticeAfterADoubt: it says that a copy may have arrived, also where the doubt
// had ended before another upstream refused the message.
func TestNoticeAfterADoubt(t *testing.T) {
	for _, choice := range []InDoubt{SameUpstream, FailOver} {
		live(t, both, func(w *world) {
			w.edit = func(c *Config) { c.InDoubt = choice }
			w.restart(both)
			w.pass(time.Second)
			w.peers["a"].plays(first(lost))
			w.peers["b"].plays(onlyFrom("ann@example.com", says(relay.Rcpt, 550, "5.1.1", "no such user")))
			id := w.submit("ann@example.com", "bob@example.net", "cy@example.net")
			w.pass(time.Second)
			w.peers["a"].set(true)
			w.pass(3 * time.Hour)
			w.wantState(id, queue.Done)
			b := w.peers["b"]
			if len(b.bodies) != 1 || !strings.Contains(b.bodies[0], "through a)") {
				t.Errorf("%s: %q", choice, b.bodies)
			}
		})
	}
}
