package gateway

import (
	"reflect"
	"slices"
	"testing"
	"time"

	"mailroam/gateway/relay"
)

func TestRules(t *testing.T) {
	c := parseGood(t, `
[[rule]]
text = ["Too Many", "today"]
scope = "quota"
wait = "90m"
[[rule]]
upstream = "b"
stage = ["dot", "rcpt"]
code = "55"
enhanced = "5.7"
scope = "sender"
[[upstream]]
name = "a"
urls = ["smtps://a.example.com"]
[[upstream]]
name = "b"
urls = ["smtps://b.example.com"]
`)
	all := []relay.Stage{relay.Mail, relay.Rcpt, relay.Data, relay.Body, relay.Dot}
	first := relay.Rule{Name: "rule 1 of the config", Stages: all, Text: []string{"Too Many", "today"}, Scope: relay.ScopeQuota, Wait: 90 * time.Minute}
	second := relay.Rule{Name: "rule 2 of the config", Stages: []relay.Stage{relay.Rcpt, relay.Dot}, Code: "55", Enhanced: "5.7", Scope: relay.ScopeSender}
	if got := c.Upstreams[0].Rules; !reflect.DeepEqual(got, []relay.Rule{first}) {
		t.Errorf("a has %+v", got)
	}
	if got := c.Upstreams[1].Rules; !reflect.DeepEqual(got, []relay.Rule{first, second}) {
		t.Errorf("b has %+v", got)
	}
	m := c.Upstreams[1].rules().Classify(relay.Dot, relay.Reply{Code: 554, Enhanced: "5.7.1", Text: "5.7.1 too many\nTODAY"}, nil, "", time.Now())
	if m.Rule != first.Name || m.Scope != relay.ScopeQuota || m.Wait != first.Wait {
		t.Errorf("%+v", m)
	}
}

func TestProfileOfUpstream(t *testing.T) {
	const end = "\n[[upstream]]\nname = \"z\"\nurls = [\"smtps://z.example.com\"]\n"
	for text, want := range map[string]struct {
		profile                 string
		connections, recipients int
	}{
		`urls = ["smtps://smtp.gmail.com"]`:                                                                       {"gmail", 16, 100},
		`urls = ["smtp://SMTP.office365.com"]`:                                                                    {"microsoft", 3, 0},
		`urls = ["smtp://smtp.office365.com"]` + "\n" + `profile = "none"`:                                        {"", 16, 0},
		`urls = ["smtp://smtp.office365.com"]` + "\n" + `limits = { connections = 9 }`:                            {"microsoft", 9, 0},
		`urls = ["smtp://127.0.0.1:25025"]` + "\n" + `profile = "ses"`:                                            {"ses", 16, 50},
		`urls = ["smtps://smtp.gmail.com", "smtps://mail.example.com"]`:                                           {"", 16, 0},
		`urls = ["smtps://email-smtp.eu-west-1.amazonaws.com", "smtp://email-smtp.eu-west-1.amazonaws.com:2587"]`: {"ses", 16, 50},
	} {
		u := parseGood(t, "[[upstream]]\nname = \"a\"\n"+text+end).Upstreams[0]
		got := ""
		if u.Profile != nil {
			got = u.Profile.Name
		}
		if got != want.profile || u.Limits.Connections != want.connections || u.Limits.Recipients != want.recipients {
			t.Errorf("%s: %q, %+v", text, got, u.Limits)
		}
	}
}

// TestStagesCanBeSaid: what a rule can name is what upstreams answer at.
func TestStagesCanBeSaid(t *testing.T) {
	if names := replyStages(); !slices.Equal(names, []string{"greeting", "ehlo", "starttls", "auth", "mail", "rcpt", "data", "body", "dot"}) {
		t.Errorf("%q", names)
	}
}
