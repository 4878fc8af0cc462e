package gateway

import (
	"errors"
	"strings"
	"testing"
	"time"
)

// TestExplainReply holds the words to what happens, for each scope.
func TestExplainReply(t *testing.T) {
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC) // the only clock there is: a wait is told as it is, however slow the machine
	cfg := parseGood(t, `
[[rule]]
text = ["house full"]
scope = "quota"
wait = "90m"
[[upstream]]
name = "only"
urls = ["smtps://smtp.gmail.com"]
`)
	for _, c := range []struct {
		q                                       ReplyQuestion
		verdict, scope, message, upstream, rule string
	}{
		{ReplyQuestion{Profile: "gmail", Stage: "dot", Reply: "550 5.4.5 Daily user sending limit exceeded"}, "next", "quota", "at once, and nothing is held against it", "left alone for 1h, and twice", "gmail: daily limit"},
		{ReplyQuestion{Stage: "dot", Reply: "550 no"}, "next", "unknown", "a second one that refuses it for good bounces it", "stays in use", "550 in answer to the final dot"},
		{ReplyQuestion{Config: cfg, Upstream: "only", Stage: "dot", Reply: "550 no"}, "bounce", "unknown", "no other upstream may carry it", "stays in use", "550"},
		{ReplyQuestion{Config: cfg, Upstream: "only", Stage: "dot", Reply: "550 House full"}, "next", "quota", "nothing is held against it", "left alone for 1h30m", "rule 1 of the config"},
		{ReplyQuestion{Config: cfg, Upstream: "only", Stage: "mail", Reply: "550 5.7.1 no"}, "next", "sender", "1d later it bounces", "not for this sender", "enhanced code 5.7.1"},
		{ReplyQuestion{Stage: "rcpt", Reply: "550 5.1.1 no such user"}, "bounce", "recipient", "bounces at once", "stays in use", "enhanced code 5.1.1"},
		{ReplyQuestion{Stage: "rcpt", Reply: "550 <bob@example.org>: no", Rcpt: "bob@example.org"}, "bounce", "recipient", "bounces at once", "stays in use", "550"},
		{ReplyQuestion{Stage: "rcpt", Reply: "450 4.2.1 busy"}, "later", "recipient", "would hear the same", "stays in use", "enhanced code 4.2.1"},
		{ReplyQuestion{Stage: "rcpt", Reply: "451 4.7.1 try again in 5 minutes"}, "next", "temporary", "tried again later", "comes back to it after 5m", "451"},
		{ReplyQuestion{Stage: "dot", Reply: "552 5.3.4 too big"}, "next", "size", "when all refuse it for good", "stays in use", "enhanced code 5.3.4"},
		{ReplyQuestion{Stage: "auth", Reply: "535 5.7.8 no"}, "next", "account", "nothing is held against it", "changed password", "535"},
		{ReplyQuestion{Stage: "dot", Reply: "450 4.7.1 daily limit reached, try again in 2 hours"}, "next", "quota", "at once", "for 2h, as it asks", "the words for"},
		{ReplyQuestion{Stage: "mail", Reply: "554 5.7.1 Client host [192.0.2.1] blocked using zen.example.org"}, "next", "place", "at once", "in another network at once", "the words for"},
		{ReplyQuestion{Stage: "mail", Reply: "421 4.3.2 too many connections"}, "next", "connections", "at once", "fewer connections", "the words for"},
		{ReplyQuestion{Stage: "ehlo", Reply: "550 5.1.1 no such user"}, "next", "policy", "at once", "until a probe", "550"},
		{ReplyQuestion{Stage: "starttls", Reply: "550 5.4.5 Daily user sending limit exceeded", Profile: "gmail"}, "next", "identity", "at once", "proves who it is", "550"},
		{ReplyQuestion{Stage: "dot", Reply: "250 2.0.0 taken"}, "delivered", "", "is delivered", "stays in use", "2xx"},
		{ReplyQuestion{Stage: "greeting", Reply: "220 hello"}, "continue", "", "goes on", "stays in use", "220 as the greeting"},
		{ReplyQuestion{Stage: "auth", Reply: "334"}, "continue", "", "goes on", "stays in use", "334"},
		{ReplyQuestion{Stage: "data", Reply: "354 go on"}, "continue", "", "goes on", "stays in use", "354"},
		{ReplyQuestion{Stage: "data", Reply: "250 ok"}, "next", "session", "at once", "left alone", "250"},
		{ReplyQuestion{Stage: "rcpt", Reply: "354 go on"}, "next", "session", "at once", "left alone", "354"},
		{ReplyQuestion{Config: cfg, Upstream: "only", Stage: "mail", Reply: "421 4.7.0 no"}, "next", "session", "there is no other", "left alone", "421"},
		{ReplyQuestion{Stage: "dot", Reply: "354 go on"}, "in-doubt", "session", "may have been taken", "left alone", "354"},
	} {
		a, err := ExplainReply(c.q, now)
		if err != nil || len(a.Stages) != 1 {
			t.Fatalf("%+v: %+v, %v", c.q, a, err)
		}
		s := a.Stages[0]
		if s.Stage != c.q.Stage || s.Verdict != c.verdict || s.Scope != c.scope || !strings.Contains(s.Message, c.message) || !strings.Contains(s.Upstream, c.upstream) || !strings.Contains(s.Rule, c.rule) {
			t.Errorf("%s at %s: %+v", c.q.Reply, c.q.Stage, s)
		}
	}
	if a, err := ExplainReply(ReplyQuestion{Reply: "550 no"}, now); err != nil || len(a.Stages) != 9 {
		t.Errorf("%d stages, %v", len(a.Stages), err)
	}
}

// TestExplainRemedy: where a provider wants something else than the account's
// password, that is said.
func TestExplainRemedy(t *testing.T) {
	for _, c := range []struct{ profile, reply, remedy string }{
		{"microsoft", "535 5.7.139 Authentication unsuccessful, SmtpClientAuthentication is disabled for the Tenant. Visit https://aka.ms/smtp_auth_disabled", `switch on "Authenticated SMTP" for this mailbox`},
		{"microsoft", "535 5.7.139 Authentication unsuccessful, SmtpClientAuthentication is disabled for the Mailbox.", "by another upstream, since mailroam does not log in by OAuth"},
		{"microsoft", "535 5.7.139 Authentication unsuccessful, basic authentication is disabled.", "takes no password any more"},
		{"microsoft", "535 5.7.139 Authentication unsuccessful, user is locked by your organization's security defaults policy.", "turn off security defaults"},
		{"microsoft", "535 5.7.139 Authentication unsuccessful, the request did not meet the criteria to be authenticated successfully.", "which policy refuses this login"},
		{"microsoft", "535 5.7.139 Authentication unsuccessful, the user credentials were incorrect.", "correct username and password"},
		{"microsoft", "535 5.7.3 Authentication unsuccessful", "app password where the account has a second factor"},
		{"microsoft", "550 5.7.30 Basic authentication is not supported for Client Submission.", "OAuth"},
		{"gmail", "534 5.7.9 Application-specific password required.", "myaccount.google.com/apppasswords"},
		{"gmail", "534 5.7.14 Please log in via your web browser", "by a browser"},
		{"gmail", "535 5.7.8 Username and Password not accepted. https://support.google.com/mail/?p=BadCredentials", "app password and not the account's own"},
		{"icloud", "535 5.7.8 Error: authentication failed:", "account.apple.com"},
		{"yahoo", "535 5.7.0 (#AUTH005) Too many bad auth attempts.", "give an app password"},
		{"mailru", "535 5.7.0 Application password is REQUIRED", "external applications"},
		{"yandex", "535 5.7.8 Error: authentication failed: This user does not have access rights to this service", "allow mail programs"},
		{"gmx", "535 Authentication credentials invalid", "correct username and password; if they are right, allow POP3 and IMAP"},
		{"zoho", "535 Authentication Failed", ""},
	} {
		a, err := ExplainReply(ReplyQuestion{Profile: c.profile, Stage: "auth", Reply: c.reply}, time.Now())
		if err != nil {
			t.Fatal(err)
		}
		if s := a.Stages[0]; s.Scope != "account" || !strings.Contains(s.Remedy, c.remedy) || c.remedy == "" && s.Remedy != "" {
			t.Errorf("%s: %s: %+v", c.profile, c.reply, s)
		}
	}
}

// TestExplainKnobs: what the config says of bounces and doubts is told as well.
func TestExplainKnobs(t *testing.T) {
	for _, c := range []struct{ knob, stage, reply, verdict, message string }{
		{`in_doubt = "same-upstream"`, "dot", "354 go on", "in-doubt", "this upstream alone"},
		{`in_doubt = "failover"`, "dot", "354 go on", "in-doubt", "the next upstream gets it at once, and a second copy"},
		{`in_doubt = "hold"`, "dot", "354 go on", "in-doubt", "held"},
		{`second_opinion = "never"`, "dot", "550 no", "bounce", "second_opinion is never"},
		{`second_opinion = "always"`, "rcpt", "550 5.1.1 no", "next", "a second one that refuses it for good bounces it"},
		{`content_reject = "failover"`, "dot", "554 5.6.0 no", "next", "a second one that refuses it for good bounces it"},
		{`content_reject = "hold"`, "dot", "554 5.6.0 no", "hold", "held"},
		{`soft_bounce = true`, "dot", "554 5.6.0 no", "next", "it does not bounce"},
		{`soft_bounce = true`, "rcpt", "550 5.1.1 no", "next", "it does not bounce"},
	} {
		cfg := parseGood(t, "[queue]\n"+c.knob+`
[[upstream]]
name = "a"
urls = ["smtps://mail.example.com"]
[[upstream]]
name = "b"
urls = ["smtps://mail.example.org"]
`)
		a, err := ExplainReply(ReplyQuestion{Config: cfg, Upstream: "a", Stage: c.stage, Reply: c.reply}, time.Now())
		if err != nil {
			t.Fatal(err)
		}
		if s := a.Stages[0]; s.Verdict != c.verdict || !strings.Contains(s.Message, c.message) {
			t.Errorf("%s: %s at %s: %+v", c.knob, c.reply, c.stage, s)
		}
	}
}

func TestExplainNobody(t *testing.T) {
	cfg := parseGood(t, oneUpstream)
	for what, q := range map[string]ReplyQuestion{
		"profile": {Profile: "gmial", Reply: "550 no"}, "stage": {Stage: "dots", Reply: "550 no"}, "upstream": {Config: cfg, Upstream: "home", Reply: "550 no"},
	} {
		_, err := ExplainReply(q, time.Now())
		if no, ok := errors.AsType[*ChoiceError](err); !ok || no.What != what || len(no.Have) == 0 {
			t.Errorf("%s: %v", what, err)
		}
	}
	if _, err := ExplainReply(ReplyQuestion{Reply: "no such user"}, time.Now()); err == nil {
		t.Error("what is no reply is explained")
	}
}
