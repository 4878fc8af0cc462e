package dispatch

import (
	"io"
	"testing"
	"time"

	"mailroam/gateway/relay"
	"mailroam/health"
	"mailroam/queue"
)

// A message that a server falls over is slowed itself from the third time on, and
// no longer keeps others from the upstream.
func TestJudgeMessageThatEndsSessions(t *testing.T) {
	lost := queue.Attempt{Upstream: "a", Stage: "rcpt", Scope: "network"}
	garbled := queue.Attempt{Upstream: "a", Stage: "mail", Scope: "session"}
	closed := queue.Attempt{Upstream: "a", Stage: "dot", Scope: "session", Code: 421}
	ours := queue.Attempt{Upstream: "a", Stage: "mail", Scope: "network", Why: brokenOff}
	for _, c := range []struct {
		name   string
		before []queue.Attempt
		r      relay.RcptResult
		kind   health.Kind
		wait   time.Duration // of the message alone
	}{
		{"once", nil, fault(relay.Rcpt, "reset"), health.Session, 0},
		{"twice", []queue.Attempt{lost}, fault(relay.Rcpt, "reset"), health.Session, 0},
		{"three times", []queue.Attempt{lost, lost}, fault(relay.Rcpt, "reset"), health.Message, 2 * time.Minute},
		{"three times, each in its way", []queue.Attempt{garbled, closed}, fault(relay.Body, "broken pipe"), health.Message, 2 * time.Minute},
		{"three times, closed with a reply", []queue.Attempt{lost, closed}, reply(relay.Dot, 421, "4.3.2", "closing"), health.Message, 2 * time.Minute},
		{"often", []queue.Attempt{lost, lost, lost, lost, lost}, fault(relay.Rcpt, "reset"), health.Message, 5 * time.Minute},
		{"elsewhere", []queue.Attempt{{Upstream: "b", Stage: "rcpt", Scope: "network"}, {Upstream: "b", Stage: "rcpt", Scope: "network"}}, fault(relay.Rcpt, "reset"), health.Session, 0},
		{"once, which each recipient met in another way", []queue.Attempt{{At: t0, Upstream: "a", Stage: "data", Scope: "network"}, {At: t0, Upstream: "a", Stage: "rcpt", Scope: "session", Code: 421}}, fault(relay.Rcpt, "reset"), health.Session, 0},
		{"before anything was known of it", []queue.Attempt{lost, lost}, fault(relay.Auth, "reset"), health.Session, 0},
		{"as it was set up", []queue.Attempt{{Upstream: "a", Stage: "connect", Scope: "network"}, {Upstream: "a", Stage: "auth", Scope: "network"}}, fault(relay.Mail, "reset"), health.Session, 0},
		{"by our own doing", []queue.Attempt{ours, ours}, fault(relay.Mail, "reset"), health.Session, 0},
		{"no: these were answers", []queue.Attempt{{Upstream: "a", Stage: "mail", Scope: "temporary", Code: 451}, {Upstream: "a", Stage: "mail", Scope: "quota", Code: 421}}, fault(relay.Mail, "reset"), health.Session, 0},
		{"an answer that makes no sense", nil, reply(relay.Rcpt, 354, "", "go on"), health.Message, 30 * time.Second},
	} {
		m := message()
		for i, a := range c.before {
			if a.At.IsZero() {
				a.At = t0.Add(time.Duration(i) * time.Second)
			}
			m.Attempts = append(m.Attempts, a)
		}
		now := t0.Add(time.Second)
		j := testPolicy().Judge(Try{Message: &m, Upstream: "a", Rcpts: []int{0}, At: t0, Result: relay.Result{Rcpts: []relay.RcptResult{c.r}}}, Now{Time: now, Online: time.Hour})
		if j.Fault.Kind != c.kind || j.Counted || j.Attempts[0].Verdict != string(relay.Next) {
			t.Errorf("%s: fault %q, counted %v, %s; want %q", c.name, j.Fault.Kind, j.Counted, j.Attempts[0].Verdict, c.kind)
		}
		var wait time.Duration
		for _, r := range j.Refusals {
			wait = r.Until.Sub(now)
		}
		if wait != c.wait {
			t.Errorf("%s: the message waits %v, want %v", c.name, wait, c.wait)
		}
	}
	m := message()
	again := lost
	again.At = t0
	m.Attempts = []queue.Attempt{lost, again}
	m.Recipients[0].Doubt = &queue.Doubt{Upstream: "a", At: t0, Online: time.Minute}
	j := testPolicy().Judge(Try{Message: &m, Upstream: "a", Rcpts: []int{0}, At: t0, Result: relay.Result{Rcpts: []relay.RcptResult{{Stage: relay.Mail, Err: io.EOF}}}}, Now{Time: t0, Online: time.Hour})
	if len(j.Refusals) > 0 || j.Results[0].Doubt == nil {
		t.Errorf("mail in doubt is kept from the only one who may be asked: %+v", j)
	}
}

// TestOneMessageThatEndsSessions: a server falls over one message. Others pass by
// it, though there is no other upstream, and it comes back seldom.
func TestOneMessageThatEndsSessions(t *testing.T) {
	live(t, []string{"a"}, func(w *world) {
		falls := 0
		w.peers["a"].plays(func(_ int, d relay.Delivery) *relay.Result {
			if d.ReversePath != "odd@example.com" {
				return nil
			}
			falls++
			r := all(d, relay.RcptResult{Stage: relay.Rcpt, Err: io.EOF})
			return &r
		})
		odd := w.submit("odd@example.com", "bob@example.net")
		w.pass(time.Minute)
		began := falls
		for range 60 {
			id := w.submit("ann@example.com", "bob@example.net")
			w.pass(20 * time.Second)
			w.wantState(id, queue.Done)
		}
		if n := falls - began; n < 3 || n > 6 { // 2, 4, 5 and 5 min apart
			t.Errorf("it was tried %d times in 20 min", n)
		}
		w.peers["a"].plays(nil)
		w.pass(6 * time.Minute)
		w.wantState(odd, queue.Done)
	})
}
