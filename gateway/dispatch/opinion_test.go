package dispatch

import (
	"slices"
	"strings"
	"testing"
	"time"

	"mailroam/gateway/relay"
	"mailroam/queue"
)

// heard makes answers out of "upstream scope" pairs, parted by commas; a 4xx has
// a star behind it.
func heard(words string) (said []queue.Answer) {
	for w := range strings.SplitSeq(words, ",") {
		u, scope, ok := strings.Cut(strings.TrimSpace(w), " ")
		if !ok {
			continue
		}
		scope, temporary := strings.CutSuffix(scope, "*")
		a := queue.Answer{Upstream: u, Code: 550, Scope: scope}
		if temporary {
			a.Code = 451
		}
		said = append(said, a)
	}
	return said
}

// TestOpinion is when refusals end a recipient, and when they bar it, among the
// upstreams a, b and c. (verdicts 2.2)
func TestOpinion(t *testing.T) {
	const ends, bars, open = "ends", "bars", ""
	for _, tt := range []struct {
		among, said, blocked string
		second               SecondOpinion
		want                 string
	}{
		{among: "a", said: "", want: open},
		{among: "a b c", said: "", want: open},
		{among: "a", said: "a unknown", want: ends},
		{among: "a b", said: "a unknown", want: open},
		{among: "a b", said: "a unknown", second: NeverAsk, want: ends},
		{among: "a b c", said: "a unknown, c unknown", want: ends},
		{among: "a b c", said: "a unknown, c unknown*", want: open},
		{among: "a b", said: "gone unknown, a unknown", want: open},
		{among: "a b", said: "a recipient", second: Always, want: open},
		{among: "a b", said: "a recipient, b unknown", second: Always, want: ends},
		{among: "a", said: "a recipient", second: Always, want: ends},

		// Each upstream's own limits: all count.
		{among: "a b c", said: "a size, b size", want: open},
		{among: "a b c", said: "a size, b size, c size", want: ends},
		{among: "a b", said: "a size, b message", want: ends},
		{among: "a b c", said: "a size, b size", second: NeverAsk, want: open},
		{among: "a b", said: "a size, b unknown", want: ends},

		// Those that never end it while somebody is left.
		{among: "a b", said: "a sender", want: open},
		{among: "a", said: "a sender", want: bars},
		{among: "a b", said: "a sender, b policy", want: bars},
		{among: "a b", said: "a policy, b unknown", want: bars},
		{among: "a b", said: "a policy, b unknown", second: NeverAsk, want: ends},
		{among: "a b c", said: "a policy, b unknown, c unknown", want: ends},
		{among: "a b", said: "a sender, b size", want: bars},
		{among: "a b", said: "a sender, b sender*", want: open},
		{among: "a b", said: "a sender", blocked: "b", want: bars},
		{among: "a b", said: "", blocked: "a b", want: bars},
		{among: "a b", said: "", blocked: "b", want: open},

		// Those that are about the upstream weigh nothing.
		{among: "a", said: "a quota", want: open},
		{among: "a", said: "a account", want: open},
		{among: "a", said: "a place", want: open},
		{among: "a", said: "a session", want: open},
		{among: "a", said: "a connections", want: open},
		{among: "a", said: "a network", want: open},
		{among: "a", said: "a temporary", want: open},
		{among: "a b", said: "a quota, b unknown", want: open},
		{among: "a b", said: "a quota, b sender", want: open},
		{among: "a", said: "a ", want: open}, // what was said before a change
	} {
		p := testPolicy()
		p.SecondOpinion = tt.second
		var routes []Route
		for _, n := range strings.Fields(tt.among) {
			routes = append(routes, Route{Name: n})
		}
		p.Routes = NewRoutes(routes)
		var blocked []queue.Refusal
		for _, n := range strings.Fields(tt.blocked) {
			blocked = append(blocked, queue.Refusal{Upstream: n, Perm: true, Place: true})
		}
		m := message()
		o := p.opinion(&m, 0, heard(tt.said), blocked)
		got := open
		switch {
		case o.ends():
			got = ends
		case o.bars():
			got = bars
		}
		if got != tt.want {
			t.Errorf("among %s, said %q, blocked %q, %s: %q, want %q; %+v", tt.among, tt.said, tt.blocked, tt.second, got, tt.want, o)
		}
		if final := o.final() && o.bars(); final && tt.blocked != "" {
			t.Errorf("among %s, said %q: %s was not asked, and yet all have refused", tt.among, tt.said, tt.blocked)
		}
	}
}

// TestOpinionByRecipient: who may not carry mail to a recipient has no say.
func TestOpinionByRecipient(t *testing.T) {
	p := testPolicy()
	p.Routes = NewRoutes([]Route{{Name: "a", Recipients: []string{"example.org"}}, {Name: "b"}})
	m := message("bob@example.net", "cy@example.org")
	said := heard("b unknown")
	if o := p.opinion(&m, 0, said, nil); !o.ends() {
		t.Errorf("nobody else may be asked: %+v", o)
	}
	if o := p.opinion(&m, 1, said, nil); o.ends() {
		t.Errorf("the other one was not asked: %+v", o)
	}
}

// TestKnobs: what people may want otherwise.
func TestKnobs(t *testing.T) {
	spam := reply(relay.Dot, 554, "5.6.0", "this is spam")
	nobody := reply(relay.Rcpt, 550, "5.1.1", "no such user")
	bare := reply(relay.Rcpt, 550, "", "no")
	for _, tt := range []struct {
		name  string
		knob  func(*Policy)
		r     relay.RcptResult
		state queue.RcptState
		hold  bool
	}{
		{"content", nil, spam, queue.Failed, false},
		{"content, failover", func(p *Policy) { p.ContentReject = FailOverContent }, spam, queue.Pending, false},
		{"content, hold", func(p *Policy) { p.ContentReject = HoldContent }, spam, queue.Pending, true},
		{"recipient", nil, nobody, queue.Failed, false},
		{"recipient, always a second opinion", func(p *Policy) { p.SecondOpinion = Always }, nobody, queue.Pending, false},
		{"unattributed", nil, bare, queue.Pending, false},
		{"unattributed, never a second opinion", func(p *Policy) { p.SecondOpinion = NeverAsk }, bare, queue.Failed, false},
		{"soft bounce of a recipient", func(p *Policy) { p.SoftBounce = true }, nobody, queue.Pending, false},
		{"soft bounce of content", func(p *Policy) { p.SoftBounce = true }, spam, queue.Pending, false},
	} {
		p := testPolicy()
		if tt.knob != nil {
			tt.knob(&p)
		}
		m := message()
		j := p.Judge(Try{Message: &m, Upstream: "a", Rcpts: []int{0}, At: t0, Result: relay.Result{Rcpts: []relay.RcptResult{tt.r}}}, Now{Time: t0})
		if j.Results[0].State != tt.state || (j.Hold != "") != tt.hold {
			t.Errorf("%s: %s, hold %q", tt.name, j.Results[0].State, j.Hold)
		}
		if waits := tt.state == queue.Pending && !tt.hold; waits != (len(j.Refusals) > 0) || waits && j.Attempts[0].Verdict != "next" {
			t.Errorf("%s: refusals %+v, attempts %+v", tt.name, j.Refusals, j.Attempts)
		}
		if why := j.Attempts[0].Why; why == "" {
			t.Errorf("%s: it is not said why", tt.name)
		}
	}
}

// TestDoubtKnobs: mail in doubt by evidence and by choice.
func TestDoubtKnobs(t *testing.T) {
	for _, tt := range []struct {
		name    string
		choice  InDoubt
		unacked bool
		doubted bool
		retry   time.Duration
	}{
		{"acknowledged", SameUpstream, false, true, 10 * time.Minute},
		{"not acknowledged", SameUpstream, true, true, time.Minute},
		{"failover", FailOver, false, false, 10 * time.Minute},
		{"hold", HoldInDoubt, false, true, 10 * time.Minute},
	} {
		p := testPolicy()
		p.InDoubt = tt.choice
		m := message()
		r := relay.RcptResult{Stage: relay.Dot, Err: errLargeHeader, InDoubt: true, Unacked: tt.unacked}
		now := Now{Time: t0.Add(time.Second), Online: time.Hour}
		j := p.Judge(Try{Message: &m, Upstream: "a", Rcpts: []int{0}, At: t0, Result: relay.Result{Rcpts: []relay.RcptResult{r}}}, now)
		if (j.Results[0].Doubt != nil) != tt.doubted || !j.Counted || j.Spent != 1 || j.Attempts[0].Verdict != "in-doubt" {
			t.Errorf("%s: %+v", tt.name, j)
		}
		if d := j.Results[0].Doubt; d != nil && d.Unacked != tt.unacked {
			t.Errorf("%s: %+v", tt.name, d)
		}
		if got := j.Refusals[0].Until.Sub(now.Time); got != tt.retry {
			t.Errorf("%s: asked again after %v, want %v", tt.name, got, tt.retry)
		}
		m.Record(j.Results)
		if hold := p.doubtHold(&m) != ""; hold != (tt.choice == HoldInDoubt) {
			t.Errorf("%s: held %v", tt.name, hold)
		}
		if m.Released = now.Time.Add(time.Minute); p.doubtHold(&m) != "" {
			t.Errorf("%s: held again after its release", tt.name)
		}
	}
}

// TestReleaseOfDoubt: how long only the upstream in doubt is asked.
func TestReleaseOfDoubt(t *testing.T) {
	p := testPolicy()
	m := message()
	for _, tt := range []struct {
		name   string
		d      queue.Doubt
		locked []string
		choice InDoubt
		want   time.Duration
	}{
		{"witnessed", queue.Doubt{Upstream: "a"}, nil, "", 2 * time.Hour},
		{"not acknowledged", queue.Doubt{Upstream: "a", Unacked: true}, nil, "", 15 * time.Minute},
		{"after a crash", queue.Doubt{Upstream: "a", Crash: true}, nil, "", 15 * time.Minute},
		{"gone from the config", queue.Doubt{Upstream: "gone"}, nil, "", 15 * time.Minute},
		{"bad credentials", queue.Doubt{Upstream: "a"}, []string{"a"}, "", 0},
		{"bad credentials elsewhere", queue.Doubt{Upstream: "a"}, []string{"b"}, "", 2 * time.Hour},
		{"failover", queue.Doubt{Upstream: "a", Crash: true}, nil, FailOver, 0},
	} {
		p.InDoubt = tt.choice
		if got := p.doubtWait(&m, &tt.d, Now{Time: t0, Online: time.Hour, Locked: tt.locked}); got != tt.want {
			t.Errorf("%s: %v, want %v", tt.name, got, tt.want)
		}
	}
}

// TestAgain is when an upstream that refused a message is asked once more.
func TestAgain(t *testing.T) {
	p := testPolicy()
	m := message()
	now := Now{Time: t0}
	usual := p.Schedule.Wait(m.ID, 1)
	for _, tt := range []struct {
		name string
		m    relay.Meaning
		want time.Duration
	}{
		{"its back-off", relay.Meaning{}, usual},
		{"a rule's wait", relay.Meaning{Wait: 3 * time.Hour}, 3 * time.Hour},
		{"a rule's shorter wait", relay.Meaning{Wait: time.Second}, usual},
		{"its own word", relay.Meaning{Until: t0.Add(5 * time.Hour)}, 5 * time.Hour},
		{"its own word, which is over", relay.Meaning{Until: t0.Add(-time.Hour)}, usual},
		{"its own word, at once", relay.Meaning{Until: t0.Add(time.Second)}, 30 * time.Second},
		{"its own word, next year", relay.Meaning{Until: t0.Add(365 * 24 * time.Hour)}, 24 * time.Hour},
	} {
		if got := p.again(Try{Message: &m}, tt.m, now).Sub(t0); got != tt.want {
			t.Errorf("%s: after %v, want %v", tt.name, got, tt.want)
		}
	}
}

// TestEveryStepSaysWhy: no line of a timeline leaves its reader alone.
func TestEveryStepSaysWhy(t *testing.T) {
	for _, rs := range [][]relay.RcptResult{setupTroubles, mailTroubles, rcptTroubles, dataTroubles, dotTroubles} {
		for _, r := range rs {
			for _, names := range [][]Route{{{Name: "a"}}, {{Name: "a"}, {Name: "b"}}} {
				p := testPolicy()
				p.Routes = NewRoutes(names)
				m := message()
				j := p.Judge(Try{Message: &m, Upstream: "a", Rcpts: []int{0}, At: t0, Result: relay.Result{Rcpts: []relay.RcptResult{r}}}, Now{Time: t0})
				if a := j.Attempts[0]; a.Why == "" || a.Scope == "" || strings.HasPrefix(a.Why, ":") || strings.HasPrefix(a.Why, ",") {
					t.Errorf("%s %d %s: why %q, scope %q", a.Stage, a.Code, a.Text, a.Why, a.Scope)
				}
				if said := j.Results[0].Said; j.Results[0].State == queue.Pending && !slices.ContainsFunc(said, func(a queue.Answer) bool { return a.Upstream == "a" }) &&
					j.Attempts[0].Why != "we broke it off: any other may take it" {
					t.Errorf("%s %d is not kept: %+v", j.Attempts[0].Stage, j.Attempts[0].Code, said)
				}
			}
		}
	}
}

// TestShownSizeEndsNothing: who seems to take less than a message has, but never
// said so, is asked before it bounces, after all who take as much have refused it
// for good. Who said so need not be asked.
func TestShownSizeEndsNothing(t *testing.T) {
	for _, tt := range []struct {
		name  string
		shown bool
		after []string // who may be asked when a has refused the first recipient
	}{
		{"it said so", false, []string{"a"}},
		{"it seems so", true, []string{"a", "b"}},
	} {
		p := testPolicy()
		p.Routes = p.Routes.Knowing(func(n string) (o relay.Offers) {
			if n == "b" {
				o = relay.Offers{Known: true, Size: 10 << 20, Shown: tt.shown}
			}
			return o
		})
		m := message("one@example.net", "two@example.net")
		m.Size = 20 << 20
		if got := p.Routes.Eligible(&m); !slices.Equal(got, []string{"a"}) {
			t.Errorf("%s: at first for %v", tt.name, got)
		}
		asked := func(u string, i int) queue.RcptState {
			r := reply(relay.Dot, 554, "", "no thanks")
			j := p.Judge(Try{Message: &m, Upstream: u, Rcpts: []int{i}, At: t0, Result: relay.Result{Rcpts: []relay.RcptResult{r}}}, Now{Time: t0})
			m.Record(j.Results)
			return j.Results[0].State
		}
		if got := asked("a", 0); (got == queue.Pending) != tt.shown {
			t.Errorf("%s: refused by one, it is %s", tt.name, got)
		}
		if got := p.Routes.Eligible(&m); !slices.Equal(got, tt.after) {
			t.Errorf("%s: then for %v", tt.name, got)
		}
		if !tt.shown {
			continue
		}
		if got := p.Routes.askable(&m, "b"); !slices.Equal(got, []int{0}) {
			t.Errorf("%s: b is asked for %v", tt.name, got)
		}
		if got := asked("b", 0); got != queue.Failed {
			t.Errorf("%s: refused by both, it is %s", tt.name, got)
		}
	}
}
