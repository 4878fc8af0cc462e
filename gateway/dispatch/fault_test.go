package dispatch

import (
	"context"
	"errors"
	"testing"
	"time"

	"mailroam/gateway/relay"
	"mailroam/health"
	"mailroam/queue"
)

// TestGivenUpIsNoFault: what we broke off ourselves says nothing about the
// upstream.
func TestGivenUpIsNoFault(t *testing.T) {
	live(t, both, func(w *world) {
		w.pass(time.Second)
		w.peers["a"].script = first(func(d relay.Delivery) *relay.Result {
			r := all(d, relay.RcptResult{Stage: relay.Connect, Err: relay.ErrGivenUp})
			return &r
		})
		id := w.submit("ann@example.com", "bob@example.net")
		w.pass(time.Millisecond)
		w.wantState(id, queue.Done)
		w.wantTook(map[string]int{"b": 1})
		if s := w.health.Standing("a"); s.Rank != health.Ready {
			t.Errorf("the upstream was charged: %+v", s)
		}
	})
}

// TestLostAtLogin: a connection that breaks while we log in is no quota.
func TestLostAtLogin(t *testing.T) {
	live(t, []string{"a"}, func(w *world) {
		w.pass(time.Second)
		w.peers["a"].script = first(func(d relay.Delivery) *relay.Result {
			r := all(d, fault(relay.Auth, "connection reset by peer"))
			return &r
		})
		id := w.submit("ann@example.com", "bob@example.net")
		w.pass(10 * time.Second)
		w.wantState(id, queue.Done)
	})
}

// TestBodyIsGone: mail that cannot be sent, whatever the upstreams do, is held
// and not tried for ever.
func TestBodyIsGone(t *testing.T) {
	live(t, both, func(w *world) {
		w.peers["a"].script = func(_ int, d relay.Delivery) *relay.Result {
			r := stopped(d, queue.ErrNotFound)
			return &r
		}
		id := w.submit("ann@example.com", "bob@example.net")
		w.pass(time.Second)
		w.wantState(id, queue.Held)
	})
}

// TestStopAtTheSecondUpstream: an orderly stop is no reason to wait.
func TestStopAtTheSecondUpstream(t *testing.T) {
	live(t, both, func(w *world) {
		w.peers["a"].script = first(func(d relay.Delivery) *relay.Result { r := all(d, fault(relay.Connect, "refused")); return &r })
		hung := make(chan struct{})
		w.peers["b"].script = first(func(d relay.Delivery) *relay.Result {
			<-hung
			r := stopped(d, context.Canceled)
			return &r
		})
		id := w.submit("ann@example.com", "bob@example.net")
		w.pass(time.Second)
		time.AfterFunc(time.Second, func() { close(hung) })
		w.end()
		if m := w.wantState(id, queue.Queued); m.Due.After(time.Now()) {
			t.Errorf("due in %v", time.Until(m.Due))
		}
		w.start(both)
		w.pass(5 * time.Second)
		w.wantState(id, queue.Done)
	})
}

// TestFirstToWaitIsTold: health hears at once that mail waits, however the mail
// came to wait.
func TestFirstToWaitIsTold(t *testing.T) {
	live(t, both, func(w *world) {
		w.peers["a"].set(true)
		w.submit("ann@example.com", "bob@example.net") // finds it down
		w.pass(11 * time.Second)
		w.peers["b"].plays(func(_ int, d relay.Delivery) *relay.Result {
			time.Sleep(7 * time.Second) // no mail waits meanwhile, and that is noticed
			return says(relay.Mail, 451, "4.7.1", "greylisted")(0, d)
		})
		w.submit("ann@example.com", "bob@example.net")
		waiting := func() int {
			w.d.mu.Lock()
			defer w.d.mu.Unlock()
			return len(w.d.waiting)
		}
		if waiting() != 1 {
			t.Error("not told of new mail")
		}
		w.pass(7*time.Second - time.Millisecond)
		if waiting() != 0 {
			t.Error("not told that no mail waits")
		}
		w.pass(2 * time.Millisecond)
		if waiting() != 1 {
			t.Error("not told of mail that was refused elsewhere")
		}
	})
}

func TestSenders(t *testing.T) {
	s := senders{}
	for range 5 { // deliveries under way together
		s.refuse("a", "ann@example.com", "not you", t0)
	}
	if got := s.until("a", "ann@example.com", t0).Sub(t0); got != time.Hour {
		t.Errorf("one incident keeps the sender out for %v", got)
	}
	s.refuse("a", "ann@example.com", "not you", t0.Add(time.Hour))
	if got := s.until("a", "ann@example.com", t0.Add(time.Hour)).Sub(t0); got != 3*time.Hour {
		t.Errorf("the second one until %v", got)
	}
	if s.refuse("a", "", "not you", t0.Add(time.Hour)) || s.refuse("a", "bob@example.com", "not you", t0.Add(time.Hour)) {
		t.Error("the null reverse-path made two senders three")
	}
	if !s.refuse("a", "cy@example.com", "not you", t0.Add(time.Hour)) {
		t.Error("three senders are not many")
	}
	for i := range 3 * blockKept {
		s.refuse("b", string(rune(i)), "not you", t0)
	}
	if len(s) > blockKept {
		t.Errorf("%d are remembered", len(s))
	}
}

// TestJudgeWhoIsCharged holds rows that need more than one recipient's reply.
func TestJudgeWhoIsCharged(t *testing.T) {
	judge := func(m queue.Message, eligible int, rs ...relay.RcptResult) Judgement {
		var is []int
		for i := range rs {
			is = append(is, i)
		}
		p := testPolicy()
		p.Routes = NewRoutes([]Route{{Name: "a"}, {Name: "b"}}[:eligible])
		return p.Judge(Try{
			Message: &m, Upstream: "a", Rcpts: is, At: t0,
			Result: relay.Result{Rcpts: rs},
		}, Now{Time: t0.Add(time.Hour), Online: 2 * time.Hour})
	}
	if j := judge(message(), 2, reply(relay.Rcpt, 550, "5.7.1", "not wanted here")); j.Sender {
		t.Error("a recipient's policy was held against the sender")
	}
	m := message()
	m.Recipients[0].Said = []queue.Answer{{Upstream: "gone", Code: 550, Scope: "unknown"}}
	if j := judge(m, 1, reply(relay.Mail, 550, "5.7.1", "not your address")); j.Results[0].State != queue.Pending {
		t.Error("a refusal of the sender here bounced the message")
	}
	m = message()
	m.Recipients[0].Doubt = &queue.Doubt{Upstream: "a", Online: 1, Crash: true, Refused: 1}
	m.Recipients[0].Last = queue.Answer{Upstream: "a", At: t0.Add(time.Hour - time.Second)}
	if j := judge(m, 2, reply(relay.Mail, 451, "4.3.0", "no")); j.Results[0].Doubt == nil {
		t.Error("two refusals within a second ended a doubt")
	}
	if j := judge(message(), 2, relay.RcptResult{Stage: relay.Connect, Err: errors.Join(relay.ErrGivenUp)}); !j.Fault.OK() {
		t.Errorf("charged %+v for what was given up", j.Fault)
	}
}
