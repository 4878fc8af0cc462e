package dispatch

import (
	"errors"
	"testing"
	"time"

	"mailroam/gateway/relay"
	"mailroam/health"
	"mailroam/queue"
)

func reply(stage relay.Stage, code int, enhanced, text string) relay.RcptResult {
	return relay.RcptResult{Stage: stage, Reply: relay.Reply{Code: code, Enhanced: enhanced, Text: text}}
}

func fault(stage relay.Stage, err string) relay.RcptResult {
	return relay.RcptResult{Stage: stage, Err: errors.New(err)}
}

// TestJudge holds what a refusal does to the message and to the upstream.
func TestJudge(t *testing.T) {
	inDoubt := relay.RcptResult{Stage: relay.Dot, Err: errors.New("connection reset"), InDoubt: true}
	at := &queue.Doubt{Upstream: "a", At: t0, Online: time.Minute}
	crash := &queue.Doubt{Upstream: "a", At: t0, Online: time.Minute, Crash: true, Refused: 1}
	for _, tt := range []struct {
		name     string
		doubt    *queue.Doubt
		refused  []string
		eligible int
		r        relay.RcptResult

		state   queue.RcptState
		verdict relay.Verdict
		kind    health.Kind
		refuse  bool // this upstream is not asked for a while
		counted bool
		doubted bool
	}{
		{name: "delivered", r: reply(relay.Dot, 250, "2.0.0", "ok"), state: queue.Delivered, verdict: relay.Delivered},
		{name: "any 2xx at the dot", r: reply(relay.Dot, 251, "", "fine"), state: queue.Delivered, verdict: relay.Delivered},
		{name: "connection refused", r: fault(relay.Connect, "connection refused"), state: queue.Pending, verdict: relay.Next, kind: health.Network},
		{name: "554 greeting", r: reply(relay.Greeting, 554, "", "go away"), state: queue.Pending, verdict: relay.Next, kind: health.Network},
		{name: "password refused", r: reply(relay.Auth, 535, "5.7.8", "bad credentials"), state: queue.Pending, verdict: relay.Next, kind: health.Account},
		{name: "a password that cannot be read is no refused one", r: relay.RcptResult{Stage: relay.Auth, Err: relay.ErrPassword}, state: queue.Pending, verdict: relay.Next, kind: health.Session},
		{name: "421 at MAIL", r: reply(relay.Mail, 421, "4.3.2", "closing"), state: queue.Pending, verdict: relay.Next, kind: health.Session},
		{name: "451 at MAIL is about this message", r: reply(relay.Mail, 451, "4.3.0", "try later"), state: queue.Pending, verdict: relay.Next, refuse: true, counted: true},
		{name: "no such user", r: reply(relay.Rcpt, 550, "5.1.1", "no such user"), state: queue.Failed, verdict: relay.Bounce},
		{name: "mailbox busy waits, here and elsewhere", r: reply(relay.Rcpt, 450, "4.2.1", "busy"), state: queue.Pending, verdict: relay.Later, counted: true},
		{name: "relay denied is no bounce", r: reply(relay.Rcpt, 554, "5.7.1", "Relay access denied"), state: queue.Pending, verdict: relay.Next, refuse: true, counted: true},
		{name: "a bare 550 asks a second opinion", r: reply(relay.Rcpt, 550, "", "no"), state: queue.Pending, verdict: relay.Next, refuse: true, counted: true},
		{name: "two bare 550 end it", refused: []string{"b"}, r: reply(relay.Rcpt, 550, "", "no"), state: queue.Failed, verdict: relay.Bounce, counted: true},
		{name: "the same upstream twice is one opinion", refused: []string{"a"}, r: reply(relay.Rcpt, 550, "", "no"), state: queue.Pending, verdict: relay.Next, refuse: true, counted: true},
		{name: "the only upstream's opinion is enough", eligible: 1, r: reply(relay.Rcpt, 550, "", "no"), state: queue.Failed, verdict: relay.Bounce, counted: true},
		{name: "a bare 4xx never ends anything", eligible: 1, r: reply(relay.Rcpt, 451, "", "no"), state: queue.Pending, verdict: relay.Next, refuse: true, counted: true},
		{name: "lost at the dot", r: inDoubt, state: queue.Pending, verdict: relay.InDoubt, kind: health.Session, refuse: true, counted: true, doubted: true},
		{name: "delivered after all", doubt: at, r: reply(relay.Dot, 250, "2.0.0", "ok"), state: queue.Delivered, verdict: relay.Delivered},
		{name: "in doubt, a 4xx is later and only there", doubt: at, r: reply(relay.Dot, 451, "4.3.0", "later"), state: queue.Pending, verdict: relay.Next, refuse: true, counted: true, doubted: true},
		{name: "in doubt, unreachable", doubt: at, r: fault(relay.Connect, "refused"), state: queue.Pending, verdict: relay.Next, kind: health.Network, doubted: true},
		{name: "in doubt, the recipient is unknown", doubt: at, r: reply(relay.Rcpt, 550, "5.1.1", "no such user"), state: queue.Failed, verdict: relay.Bounce},
		{name: "in doubt, bad credentials release", doubt: at, r: reply(relay.Auth, 535, "5.7.8", "no"), state: queue.Pending, verdict: relay.Next, kind: health.Account, counted: true},
		{name: "after a crash the second refusal releases", doubt: crash, r: reply(relay.Mail, 451, "4.3.0", "later"), state: queue.Pending, verdict: relay.Next, counted: true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			m := message()
			m.Recipients[0].Doubt = tt.doubt
			for _, u := range tt.refused {
				m.Recipients[0].Said = append(m.Recipients[0].Said, queue.Answer{Upstream: u, Code: 550, Scope: "unknown"})
			}
			if tt.eligible == 0 {
				tt.eligible = 3
			}
			p := testPolicy()
			p.Routes = NewRoutes([]Route{{Name: "a"}, {Name: "b"}, {Name: "c"}}[:tt.eligible])
			j := p.Judge(Try{
				Message: &m, Upstream: "a", Rcpts: []int{0}, At: t0,
				Result: relay.Result{Rcpts: []relay.RcptResult{tt.r}},
			}, Now{Time: t0.Add(time.Second), Online: time.Hour})
			r := j.Results[0]
			if r.State != tt.state || j.Attempts[0].Verdict != string(tt.verdict) || j.Fault.Kind != tt.kind {
				t.Errorf("state %s, verdict %s, fault %q; want %s, %s, %q", r.State, j.Attempts[0].Verdict, j.Fault.Kind, tt.state, tt.verdict, tt.kind)
			}
			if got := len(j.Refusals) > 0; got != tt.refuse {
				t.Errorf("refusals %+v, want some: %v", j.Refusals, tt.refuse)
			}
			if j.Counted != tt.counted || (r.Doubt != nil) != tt.doubted {
				t.Errorf("counted %v, doubt %+v", j.Counted, r.Doubt)
			}
		})
	}
}

// Who writes to himself is named as sender or as recipient: that tells nothing.
func TestJudgeMailToOneself(t *testing.T) {
	p := testPolicy()
	p.Routes = NewRoutes([]Route{{Name: "a", Senders: []string{"@x"}, Rewrite: []Rewrite{{"*", "Ann@example.net"}}}, {Name: "b"}})
	for from, want := range map[string]queue.RcptState{
		"ann@example.net": queue.Pending, "sue@example.net": queue.Pending, // whose name becomes Ann's
		"": queue.Failed, "sue@x": queue.Failed,
	} {
		m := message("ann@example.net")
		m.ReversePath = from
		j := p.Judge(Try{
			Message: &m, Upstream: "a", Rcpts: []int{0}, At: t0,
			Result: relay.Result{Rcpts: []relay.RcptResult{reply(relay.Rcpt, 550, "", "<ann@example.net> may not do that")}},
		}, Now{Time: t0.Add(time.Second), Online: time.Hour})
		if got := j.Results[0].State; got != want {
			t.Errorf("from <%s>: %s, want %s", from, got, want)
		}
	}
}

// TestJudgeRecipientsApart holds that each recipient has its own fate.
func TestJudgeRecipientsApart(t *testing.T) {
	m := message("ok@example.net", "gone@example.net", "busy@example.net")
	j := testPolicy().Judge(Try{Message: &m, Upstream: "a", Rcpts: []int{0, 1, 2}, At: t0, Result: relay.Result{Rcpts: []relay.RcptResult{
		reply(relay.Dot, 250, "2.0.0", "ok"), reply(relay.Rcpt, 550, "5.1.1", "unknown"), reply(relay.Rcpt, 450, "4.2.1", "busy"),
	}}}, Now{Time: t0, Online: time.Hour})
	for i, want := range []queue.RcptState{queue.Delivered, queue.Failed, queue.Pending} {
		if j.Results[i].State != want {
			t.Errorf("recipient %d is %s, want %s", i, j.Results[i].State, want)
		}
	}
	if len(j.Attempts) != 3 || !j.Accepted || j.Spent != 1 {
		t.Errorf("%d attempts, accepted %v, spent %d", len(j.Attempts), j.Accepted, j.Spent)
	}
}

// TestAnswersAreHarmless holds that what an upstream says cannot steer a log.
func TestAnswersAreHarmless(t *testing.T) {
	m := message()
	j := testPolicy().Judge(Try{
		Message: &m, Upstream: "a", Rcpts: []int{0}, At: t0,
		Result: relay.Result{Rcpts: []relay.RcptResult{reply(relay.Mail, 451, "", "\x1b[2Jgone\r\nid=forged")}},
	}, Now{Time: t0})
	if got, want := j.Attempts[0].Text, `\x1b[2Jgone id=forged`; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}
