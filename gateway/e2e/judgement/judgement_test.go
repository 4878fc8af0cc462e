package judgement

import (
	"strings"
	"testing"
	"time"
)

// TestAllRefuseTheSender: the message waits for a person; its sender and the
// operator hear of it at once. When it is mended, it goes, once.
func TestAllRefuseTheSender(t *testing.T) {
	refuses := "rcpt:" + bob + "=553 5.7.1 <ann@example.com>: Sender address rejected: not owned by user"
	a, b := &upstream{faults: []string{refuses}}, &upstream{faults: []string{refuses}}
	s := stage(t, "", a, b)
	s.submit(bob)
	s.want("a notice of the delay", func() bool { return a.got(ann)+b.got(ann) == 1 })
	m := s.message()
	if m.State != "queued" || m.Recipients[0].State != "pending" {
		t.Errorf("%+v", m)
	}
	s.wantSaid(s.says("queue", "show", "--to", bob), "not owned by user", "first", "second")
	s.wantSaid(s.says("status"), "refuse")
	for _, n := range append(a.Messages(), b.Messages()...) {
		s.wantSaid(string(n.Body), "Action: delayed", "not owned by user")
		if n.From != "" {
			t.Errorf("a notice from <%s>", n.From)
		}
	}
	s.restart()
	s.want("it waits on", func() bool { return s.message().State == "queued" })
	a.fail(t)
	b.fail(t)
	s.says("queue", "retry", "--to", bob)
	s.want("it arrived", func() bool { return a.got(bob)+b.got(bob) == 1 })
	s.want("nothing is left to be sent", func() bool { return strings.TrimSpace(s.says("queue", "list", "--json")) == "[]" })
	if n := a.got(bob) + b.got(bob); n != 1 {
		t.Errorf("%d copies", n)
	}
	if n := a.got(ann) + b.got(ann); n != 1 {
		t.Errorf("%d notices", n)
	}
}

// TestFirstChoiceRefusesTheSender: the mail goes by the next, and that is not to
// be overlooked: the upstreams are well, both of them. Before them is one for
// others.
func TestFirstChoiceRefusesTheSender(t *testing.T) {
	a, b := &upstream{faults: []string{"mail=553 5.7.1 not owned by user"}}, &upstream{}
	s := stage(t, "", &upstream{config: `recipients = ["branch.example"]`}, a, b)
	s.submit(bob)
	s.want("it arrived", func() bool { return b.got(bob) == 1 })
	s.want("status says so", func() bool { return strings.Contains(s.says("status"), `Running on "third" with mail from `+ann) })
	s.wantSaid(s.says("status"), `"second" relays nothing for this sender`, "not owned by user", "It is asked again after")
	a.fail(t)
	s.wantSaid(s.says("queue", "retry", "--all"), "are asked again")
	s.submit(bob)
	s.want("the next one at the first choice", func() bool { return a.got(bob) == 1 })
	s.want("status says no more of it", func() bool { return !strings.Contains(s.says("status"), ann) })
}

// TestQuotaIsRemembered: an account that is used up for the day is left alone,
// also by the next process, and status says until when.
func TestQuotaIsRemembered(t *testing.T) {
	a := &upstream{config: `profile = "gmail"`, faults: []string{`mail=550-5.4.5 Daily user sending limit exceeded. For more information on Gmail\n550 5.4.5 sending limits go to https://support.google.com/a/answer/166852 - gsmtp`}}
	b := &upstream{}
	s := stage(t, "", a, b)
	s.submit(bob)
	s.want("the second has it", func() bool { return b.got(bob) == 1 })
	m := s.message()
	if first := m.Timeline[0]; first.Scope != "quota" || !strings.HasPrefix(first.Rule, "gmail") {
		t.Errorf("%+v", first)
	}
	s.wantSaid(s.says("status"), "cooling", "Daily user sending limit exceeded")
	a.fail(t)
	s.restart()
	s.submit(bob)
	s.want("the second has both", func() bool { return b.got(bob) == 2 })
	if n := a.got(bob); n != 0 {
		t.Errorf("the first was asked though its day is not over: %d", n)
	}
	s.wantSaid(s.says("status"), "cooling")
}

// TestDateIsHonoured: an upstream that says when to come back is not asked
// before.
func TestDateIsHonoured(t *testing.T) {
	until := time.Now().Add(3 * time.Hour).UTC()
	a := &upstream{config: `profile = "mailgun"`, faults: []string{
		"data=421 Domain mg.example.com is not allowed to send: recipient limit exceeded, try again after " + until.Format("Mon, 02 Jan 2006 15:04:05 MST"),
	}}
	b := &upstream{}
	s := stage(t, "", a, b)
	s.submit(bob)
	s.want("the second has it", func() bool { return b.got(bob) == 1 })
	s.wantSaid(s.says("status"), "cooling", until.Local().Format("15:04:05"))
}

// TestBadPassword: one login, then the next upstream, and a person is told.
func TestBadPassword(t *testing.T) {
	a := &upstream{users: map[string]string{"ann": "right"}, config: "username = \"ann\"\npassword = \"not-this-one\""}
	b := &upstream{}
	s := stage(t, "", a, b)
	for n := range 5 {
		s.submit(bob)
		s.want("the second has it", func() bool { return b.got(bob) == n+1 })
	}
	s.wantSaid(s.says("status"), "535")
	if log := s.Log(); strings.Count(log, "code=535") > 2 || strings.Contains(log, "not-this-one") {
		t.Errorf("too many logins, or a secret:\n%s", log)
	}
}

// TestOwnRule: an operator who knows better says so, and is named.
func TestOwnRule(t *testing.T) {
	const kettle = "550 5.1.1 The kettle is empty"
	a := &upstream{
		faults: []string{"dot=" + kettle},
		config: "[[rule]]\nupstream = \"first\"\nstage = [\"dot\"]\ntext = [\"kettle\"]\nscope = \"quota\"\nwait = \"2h\"",
	}
	b := &upstream{}
	s := stage(t, "", a, b)
	s.submit(bob)
	s.want("the second has it", func() bool { return b.got(bob) == 1 })
	if first := s.message().Timeline[0]; first.Scope != "quota" || !strings.Contains(first.Rule, "rule 1") {
		t.Errorf("%+v", first)
	}
	s.wantSaid(s.says("status"), "cooling", "The kettle is empty")
	s.wantSaid(s.says("explain", "--upstream", "first", "--stage", "dot", kettle), "rule 1", "quota", "2h")
	s.wantSaid(s.says("explain", "--upstream", "second", "--stage", "dot", kettle), "5.1.1")
}

// TestExplain: what is printed is what happens.
func TestExplain(t *testing.T) {
	s := stage(t, "", &upstream{})
	s.wantSaid(s.says("explain", "--profile", "gmail", "--stage", "dot", "550 5.4.5 Daily user sending limit exceeded"), "quota", "gmail")
	s.wantSaid(s.says("explain", "--stage", "greeting", "550 5.1.1 no such user"), "greeting")
	s.wantSaid(s.says("explain", "--stage", "rcpt", "550 5.1.1 no such user"), "recipient", "5.1.1")
}

// TestKnobs holds what the keys of [queue] change.
func TestKnobs(t *testing.T) {
	unknown := "rcpt:" + bob + "=550 we do not say why"
	gone := "rcpt:" + bob + "=550 5.1.1 no such user"
	spam := "dot#1=554 5.7.1 Spam message rejected"
	for name, c := range map[string]struct {
		queue         string
		first, second string
		state         string // of the recipient
		held          bool
		at            int // who has it, from 1; 0: nobody
		notice        string
	}{
		"content: bounce":             {first: spam, state: "failed", notice: "failed"},
		"content: failover":           {queue: `content_reject = "failover"`, first: spam, state: "delivered", at: 2},
		"content: hold":               {queue: `content_reject = "hold"`, first: spam, state: "pending", held: true},
		"opinion: a second":           {first: unknown, state: "delivered", at: 2},
		"opinion: two agree":          {first: unknown, second: unknown, state: "failed", notice: "failed"},
		"opinion: never":              {queue: `second_opinion = "never"`, first: unknown, state: "failed", notice: "failed"},
		"opinion: recipient":          {first: gone, state: "failed", notice: "failed"},
		"opinion: always":             {queue: `second_opinion = "always"`, first: gone, state: "delivered", at: 2},
		"opinion: always, both agree": {queue: `second_opinion = "always"`, first: gone, second: gone, state: "failed", notice: "failed"},
		"soft bounce":                 {queue: `soft_bounce = true`, first: gone, second: gone, state: "pending"},
		"doubt: same upstream":        {first: "dot#1=close", state: "pending"},
		"doubt: failover":             {queue: `in_doubt = "failover"`, first: "dot#1=take; close", state: "delivered", at: 2},
		"doubt: hold":                 {queue: `in_doubt = "hold"`, first: "dot#1=close", state: "pending", held: true},
	} {
		t.Run(name, func(t *testing.T) {
			a, b := &upstream{faults: []string{c.first}}, &upstream{}
			if c.second != "" {
				b.faults = []string{c.second}
			}
			s := stage(t, c.queue, a, b)
			s.submit(bob)
			s.want("it is "+c.state, func() bool {
				m := s.message()
				return m.Recipients[0].State == c.state && (m.State == "held") == c.held
			})
			if c.notice != "" {
				s.want("a notice", func() bool { return a.got(ann)+b.got(ann) == 1 })
				for _, n := range append(a.Messages(), b.Messages()...) {
					s.wantSaid(string(n.Body), "Action: "+c.notice)
				}
			}
			want := map[bool]int{true: 1}
			if n := b.got(bob); n != want[c.at == 2] {
				t.Errorf("the second has %d", n)
			}
			if n := a.got(ann) + b.got(ann); c.notice == "" && n != 0 {
				t.Errorf("%d notices", n)
			}
		})
	}
}
