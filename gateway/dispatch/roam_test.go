package dispatch

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"mailroam/gateway/relay"
	"mailroam/health"
	"mailroam/queue"
)

// roamed is a delivery whose way was lost with the network. Recipients that
// have an answer keep it.
func roamed(d relay.Delivery, known ...relay.RcptResult) *relay.Result {
	err := fmt.Errorf("%w: %w", relay.ErrStopped, relay.ErrRoamed)
	r := all(d, relay.RcptResult{Stage: relay.Body, Err: err})
	copy(r.Rcpts, known)
	r.Stopped = err
	return &r
}

// TestRoamedInTheMiddle: a delivery that loses its way is begun anew at once,
// and nobody is to blame. What was final before stays.
func TestRoamedInTheMiddle(t *testing.T) {
	live(t, both, func(w *world) {
		var log strings.Builder
		w.log = &log
		w.restart(both)
		w.pass(time.Second)
		w.peers["a"].script = first(func(d relay.Delivery) *relay.Result {
			time.Sleep(time.Second)
			return roamed(d, reply(relay.Rcpt, 550, "5.1.1", "no such user"), reply(relay.Rcpt, 450, "4.2.1", "busy"))
		})
		id := w.submit("ann@example.com", "gone@example.net", "busy@example.net", "cy@example.net")
		w.pass(time.Second + time.Millisecond)
		w.wantTook(map[string]int{"a": 2})
		w.pass(time.Minute) // busy is busy wherever we are
		m := w.wantState(id, queue.Done)
		w.wantTook(map[string]int{"a": 3}) // two, and a notice
		if m.Recipients[0].State != queue.Failed || m.Recipients[2].State != queue.Delivered {
			t.Errorf("recipients %+v", m.Recipients)
		}
		if s := w.health.Standing("a"); s.Rank != health.Ready {
			t.Errorf("charged: %+v", s)
		}
		if strings.Contains(log.String(), "alert") {
			t.Errorf("the log says\n%s", &log)
		}
	})
	live(t, both, func(w *world) {
		w.pass(time.Second)
		w.peers["a"].script = first(func(d relay.Delivery) *relay.Result { return roamed(d) })
		id := w.submit("ann@example.com", "bob@example.net")
		w.pass(time.Millisecond)
		if m := w.wantState(id, queue.Done); m.Tries != 0 || len(m.Attempts) != 1 {
			t.Errorf("%d tries, timeline %+v", m.Tries, m.Attempts)
		}
	})
	live(t, both, func(w *world) { // the control: another fault of ours waits
		w.pass(time.Second)
		w.peers["a"].script = first(func(d relay.Delivery) *relay.Result {
			r := stopped(d, context.DeadlineExceeded)
			return &r
		})
		id := w.submit("ann@example.com", "bob@example.net")
		w.pass(30 * time.Second)
		w.wantState(id, queue.Queued)
	})
}

// abroad are replies to a stranger.
var abroad = says(relay.Rcpt, 554, "5.7.1", "Relay access denied")

// TestRoamedEndsRefusals: who was refused for where we were asks again the
// moment we are elsewhere, also where the refusal came while we moved, or in a
// former run. A refusal of the message is another matter.
func TestRoamedEndsRefusals(t *testing.T) {
	t.Run("elsewhere", func(t *testing.T) {
		live(t, both, func(w *world) {
			w.pass(time.Second)
			w.peers["a"].plays(abroad)
			w.peers["b"].plays(abroad)
			var ids []queue.ID
			for range 3 { // the later ones by what is remembered of the sender
				ids = append(ids, w.submit("ann@example.com", "bob@example.net"))
				w.pass(10 * time.Minute)
			}
			w.peers["a"].plays(nil)
			w.peers["b"].plays(nil)
			for _, id := range ids {
				w.wantState(id, queue.Queued)
			}
			w.d.Roamed()
			w.pass(time.Millisecond)
			for _, id := range ids {
				w.wantState(id, queue.Done)
			}
			w.wantTook(map[string]int{"a": 3})
		})
	})
	t.Run("while moving", func(t *testing.T) {
		live(t, []string{"a"}, func(w *world) {
			w.pass(time.Second)
			w.peers["a"].plays(first(func(d relay.Delivery) *relay.Result {
				time.Sleep(time.Second)
				return abroad(0, d)
			}))
			id := w.submit("ann@example.com", "bob@example.net")
			w.pass(500 * time.Millisecond)
			w.d.Roamed()
			w.pass(501 * time.Millisecond)
			w.wantState(id, queue.Done)
		})
	})
	t.Run("while off", func(t *testing.T) {
		live(t, []string{"a"}, func(w *world) {
			w.pass(time.Second)
			w.peers["a"].plays(abroad)
			w.submit("ann@example.com", "bob@example.net")
			w.pass(time.Second)
			id := w.submit("ann@example.com", "bob@example.net")
			w.pass(time.Second)
			w.peers["a"].plays(nil)
			w.restart([]string{"a"})
			w.pass(time.Millisecond)
			w.wantState(id, queue.Done)
		})
	})
	t.Run("control: greylisted", func(t *testing.T) {
		live(t, []string{"a"}, func(w *world) {
			w.pass(time.Second)
			w.peers["a"].plays(first(func(d relay.Delivery) *relay.Result {
				return says(relay.Rcpt, 451, "4.7.1", "greylisted")(0, d)
			}))
			id := w.submit("ann@example.com", "bob@example.net")
			w.pass(time.Second)
			w.d.Roamed()
			w.pass(10 * time.Second)
			w.wantState(id, queue.Queued)
		})
	})
}

// TestListedHere: an upstream that refuses our address is left alone, the mail
// goes on uncounted, and nothing is kept with it that a new network would have
// to clear.
func TestListedHere(t *testing.T) {
	for _, r := range []relay.RcptResult{
		reply(relay.Mail, 554, "5.7.1", "Service unavailable; Client host [192.0.2.1] blocked using zen.spamhaus.org"),
		reply(relay.Rcpt, 550, "5.7.1", "relaying denied from outside our network"),
	} {
		m := message()
		j := testPolicy().Judge(Try{
			Message: &m, Upstream: "a", Rcpts: []int{0}, At: t0, Result: relay.Result{Rcpts: []relay.RcptResult{r}},
		}, Now{Time: t0})
		if j.Fault.Kind != health.Place || j.Counted || j.Sender || len(j.Refusals) > 0 || j.Attempts[0].Verdict != "next" {
			t.Errorf("%q: %+v", r.Reply.Text, j)
		}
	}
}

// TestManySendersAreAPlace: an upstream that relays for none of several senders
// does not know this network.
func TestManySendersAreAPlace(t *testing.T) {
	live(t, both, func(w *world) {
		w.pass(time.Second)
		w.peers["a"].plays(abroad)
		for i := range 3 {
			w.submit(fmt.Sprintf("s%d@example.com", i), "bob@example.net")
			w.pass(time.Second)
		}
		if s := w.health.Standing("a"); s.Rank != health.Unusable || w.health.Status()[0].Kind != health.Place {
			t.Errorf("%+v %+v", s, w.health.Status()[0])
		}
	})
}

// TestRoamedHurriesNoDoubt: the upstream that may hold a copy has its time to
// show what it did with it, wherever we are.
func TestRoamedHurriesNoDoubt(t *testing.T) {
	live(t, []string{"a"}, func(w *world) {
		w.pass(time.Second)
		w.peers["a"].plays(first(func(d relay.Delivery) *relay.Result {
			r := abroad(0, d)
			r.Rcpts[0] = lost(d).Rcpts[0]
			return r
		}))
		id := w.submit("ann@example.com", "bob@example.net", "cy@example.net")
		w.pass(30 * time.Second)
		w.d.Roamed()
		w.pass(time.Minute)
		if m := w.get(id); len(m.Attempts) != 2 || !m.Attempts[1].At.Equal(m.Attempts[0].At) {
			t.Errorf("asked again within a minute: %+v", m.Attempts)
		}
	})
}

// TestRoamedInALogin: bad credentials get no more tries by a network that comes
// and goes.
func TestRoamedInALogin(t *testing.T) {
	live(t, []string{"a"}, func(w *world) {
		w.pass(time.Second)
		w.peers["a"].plays(func(n int, d relay.Delivery) *relay.Result {
			if n == 1 {
				return says(relay.Auth, 535, "5.7.8", "bad credentials")(n, d)
			}
			r := all(d, relay.RcptResult{Stage: relay.Auth, Err: fmt.Errorf("%w: %w", relay.ErrStopped, relay.ErrRoamed)})
			r.Stopped, r.Served = r.Rcpts[0].Err, false
			return &r
		})
		id := w.submit("ann@example.com", "bob@example.net")
		w.pass(50 * time.Minute)
		if asked, _ := w.peers["a"].count(); asked != 2 {
			t.Errorf("%d logins within the hour", asked)
		}
		w.peers["a"].plays(nil)
		w.pass(15 * time.Minute)
		w.wantState(id, queue.Done)
	})
}
