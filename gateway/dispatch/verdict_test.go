package dispatch

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"mailroam/gateway/relay"
	"mailroam/health"
	"mailroam/queue"
)

// What becomes of a message: at the first of three upstreams, at the second
// after one has refused it without saying why, and at the only one.
const (
	goesOn     = "next next next" // whoever else refuses it
	asksSecond = "next bounce bounce"
	fitsElse   = "next next bounce" // while another may take it
	ends       = "bounce bounce bounce"
	comesBack  = "later later later"
	isThere    = "delivered delivered delivered"
	mayBeThere = "in-doubt in-doubt in-doubt"
)

// What becomes of the upstream. One that rests is "cooling", with the kind and
// with its waits when each delivery that tries it meets the same.
const (
	unharmed = "up"
	forMail  = "up, but for this message"
	forOne   = "up, but for this sender"
	tallied  = "up, but for this message, and noted"
	gone     = "down network"
	impostor = "down identity"
)

// TestVerdictRows is the table of verdicts, row by row and written by hand: what
// each reply does to the message and to the upstream, from its words to the
// breaker. What probes see as well, and what they clear, is the reach's.
func TestVerdictRows(t *testing.T) {
	const (
		login  = "cooling account 1m 1h 2h 4h"
		lost   = "cooling session 5s 10s 20s 40s 1m20s 2m40s 5m 5m"
		closed = "cooling session 1m 2m 4m 5m 5m"
		quota  = "cooling quota 15m 30m 1h 2h 4h 4h"
		fived  = "cooling quota 5m 10m 20m 40m 1h 1h"
		hourly = "cooling quota 1h 2h 4h 8h 16h 24h 24h"
		listed = "cooling place 4h 8h 16h 24h 24h"
		place  = "cooling place 15m 30m 1h 2h 4h 4h"
		gmail  = "smtp.gmail.com"
		office = "smtp.office365.com"
		yahoo  = "smtp.mail.yahoo.com"
		ses    = "email-smtp.eu-west-1.amazonaws.com"
		grid   = "smtp.sendgrid.net"
		gun    = "smtp.mailgun.org"
	)
	stall := os.ErrDeadlineExceeded
	for _, c := range []struct {
		host    string
		at      relay.Stage
		said    any // a reply or an error
		message string
		charged string
	}{
		// DNS, connect, TLS.
		{"", relay.Resolve, errors.New("no such host"), goesOn, gone},
		{"", relay.Resolve, stall, goesOn, gone},
		{"", relay.Connect, errors.New("connection refused"), goesOn, gone},
		{"", relay.Connect, stall, goesOn, gone},

		// Banner.
		{"", relay.Greeting, "421 4.3.2 not now", goesOn, gone},
		{"", relay.Greeting, "451 not now", goesOn, gone},
		{"", relay.Greeting, "421 too many connections", goesOn, "cooling connections 30s 1m 2m 4m 5m"},
		{"", relay.Greeting, "554 5.7.1 go away", goesOn, gone},
		{"", relay.Greeting, "521 no mail here", goesOn, gone},
		{"", relay.Greeting, stall, goesOn, gone},

		// EHLO, STARTTLS.
		{"", relay.Hello, "421 closing", goesOn, gone},
		{"", relay.Hello, "450 later", goesOn, gone},
		{"", relay.Hello, "502 what", goesOn, gone},
		{"", relay.Hello, "550 bad helo", goesOn, gone},
		{"", relay.StartTLS, "454 not available", goesOn, gone},
		{"", relay.StartTLS, "502 no", goesOn, impostor},
		{"", relay.StartTLS, "554 no", goesOn, impostor},

		// AUTH.
		{"", relay.Auth, "421 not now", goesOn, fived},
		{"", relay.Auth, "454 4.7.0 temporary", goesOn, fived},
		{"", relay.Auth, "432 4.7.12 transition", goesOn, fived},
		{"", relay.Auth, "421 too many login attempts", goesOn, hourly},
		{"", relay.Auth, "535 5.7.8 wrong", goesOn, login},
		{"", relay.Auth, "534 5.7.9 too weak", goesOn, login},
		{"", relay.Auth, "538 5.7.11 encrypt", goesOn, login},
		{"", relay.Auth, "530 5.7.0 TLS first", goesOn, login},
		{"", relay.Auth, "550 5.7.30 basic is off", goesOn, login},
		{"", relay.Auth, "504 no such mechanism", goesOn, login},
		{"", relay.Auth, "571 no", goesOn, login},
		{"", relay.Auth, io.EOF, goesOn, lost},

		// MAIL.
		{"", relay.Mail, "421 4.3.2 closing", goesOn, closed},
		{"", relay.Mail, "450 later", goesOn, forMail},
		{"", relay.Mail, "452 4.3.1 no space", goesOn, forMail},
		{"", relay.Mail, "450 4.7.1 sending limit exceeded", goesOn, quota},
		{"", relay.Mail, "530 5.7.0 authentication required", goesOn, login},
		{"", relay.Mail, "550 5.7.57 not authenticated", goesOn, login},
		{"", relay.Mail, "550 5.7.0 authenticate", goesOn, login},
		{"", relay.Mail, "552 5.3.4 too big", fitsElse, forMail},
		{"", relay.Mail, "552 too big", fitsElse, forMail},
		{"", relay.Mail, "550 5.2.3 too big", fitsElse, forMail},
		{"", relay.Mail, "501 5.1.7 sender", goesOn, forOne},
		{"", relay.Mail, "550 5.1.8 sender", goesOn, forOne},
		{"", relay.Mail, "553 5.7.1 sender", goesOn, forOne},
		{"", relay.Mail, "550 5.7.60 send as", goesOn, forOne},
		{"", relay.Mail, "555 5.5.4 parameter", asksSecond, forMail},
		{"", relay.Mail, "550 no", asksSecond, forMail},
		{"", relay.Mail, io.EOF, goesOn, lost},
		{"", relay.Mail, stall, goesOn, lost},
		{"", relay.Mail, "354 what", goesOn, tallied},

		// RCPT.
		{"", relay.Rcpt, "421 closing", goesOn, closed},
		{"", relay.Rcpt, "452 4.5.3 too many", goesOn, forMail},
		{"", relay.Rcpt, "550 5.5.3 too many", goesOn, forMail},
		{"", relay.Rcpt, "450 4.2.1 busy", comesBack, unharmed},
		{"", relay.Rcpt, "451 4.2.0 busy", comesBack, unharmed},
		{"", relay.Rcpt, "452 4.2.2 full", comesBack, unharmed},
		{"", relay.Rcpt, "450 4.1.1 cannot tell", comesBack, unharmed},
		{"", relay.Rcpt, "450 4.7.1 greylisted", goesOn, forMail},
		{"", relay.Rcpt, "451 4.3.0 later", goesOn, forMail},
		{"", relay.Rcpt, "550 5.1.1 no such user", ends, unharmed},
		{"", relay.Rcpt, "552 5.2.2 full", ends, unharmed},
		{"", relay.Rcpt, "550 5.4.4 no route", ends, unharmed},
		{"", relay.Rcpt, "551 not here", ends, unharmed},
		{"", relay.Rcpt, "550 <bob@example.net> who?", ends, unharmed},
		{"", relay.Rcpt, "553 <bob@example.net> who?", ends, unharmed},
		{"", relay.Rcpt, "554 5.7.1 <bob@example.net>: Relay access denied", goesOn, forOne},
		{"", relay.Rcpt, "550 relaying denied", goesOn, forOne},
		{"", relay.Rcpt, "550 authentication required", goesOn, forOne},
		{"", relay.Rcpt, "530 5.7.0 authentication required", goesOn, forOne},
		{"", relay.Rcpt, "550 5.7.1 policy", goesOn, forMail},
		{"", relay.Rcpt, "521 takes no mail", ends, unharmed},
		{"", relay.Rcpt, "556 5.1.10 takes no mail", ends, unharmed},
		{"", relay.Rcpt, "550 no", asksSecond, forMail},
		{"", relay.Rcpt, io.EOF, goesOn, lost},
		{"", relay.Rcpt, "354 what", goesOn, tallied},

		// DATA, body.
		{"", relay.Data, "451 4.3.0 later", goesOn, forMail},
		{"", relay.Data, "421 closing", goesOn, closed},
		{"", relay.Data, "554 5.5.1 no", asksSecond, forMail},
		{"", relay.Data, "250 what", goesOn, tallied},
		{"", relay.Body, "552 5.3.4 too big", fitsElse, forMail},
		{"", relay.Body, "451 4.3.1 no space", goesOn, forMail},
		{"", relay.Body, "554 5.6.0 bad", ends, unharmed},
		{"", relay.Body, io.ErrUnexpectedEOF, goesOn, "cooling session 30s 5m 5m"},
		{"", relay.Body, stall, goesOn, "cooling session 30s 5m 5m"},

		// The dot.
		{"", relay.Dot, "250 2.0.0 ok", isThere, unharmed},
		{"", relay.Dot, "299 5.1.1 ok", isThere, unharmed},
		{"", relay.Dot, "421 4.3.2 closing", goesOn, closed},
		{"", relay.Dot, "451 4.3.0 later", goesOn, forMail},
		{"", relay.Dot, "552 5.3.4 too big", fitsElse, forMail},
		{"", relay.Dot, "554 5.2.3 too big", fitsElse, forMail},
		{"", relay.Dot, "554 5.6.0 bad", ends, unharmed},
		{"", relay.Dot, "554 5.4.6 loop", ends, unharmed},
		{"", relay.Dot, "552 5.7.0 attachment", ends, unharmed},
		{"", relay.Dot, "554 5.7.1 virus found", ends, unharmed},
		{"", relay.Dot, "550 5.7.1 no", asksSecond, forMail},
		{"", relay.Dot, "554 no", asksSecond, forMail},
		{"", relay.Dot, io.EOF, mayBeThere, "cooling session 30s 1m 2m 4m 5m"},
		{"", relay.Dot, stall, mayBeThere, "cooling session 30s 1m 2m 4m 5m"},

		// Enhanced codes that speak of more than the message.
		{"", relay.Rcpt, "550 5.1.90 daily", goesOn, quota},
		{"", relay.Rcpt, "550 5.3.2 not accepting", goesOn, forMail},
		{"", relay.Dot, "550 5.4.5 daily", goesOn, quota},
		{"", relay.Dot, "550 5.7.26 unauthenticated", goesOn, forOne},
		{"", relay.Dot, "550 5.7.8 no", goesOn, login},
		{"", relay.Dot, "550 5.7.232 tenant", goesOn, quota},
		{"", relay.Dot, "550 5.7.705 tenant", goesOn, login},
		{"", relay.Dot, "550 5.7.509 dmarc", goesOn, forOne},
		{"", relay.Rcpt, "550 5.7.136 not allowed", ends, unharmed},
		{"", relay.Mail, "450 4.7.500 busy", goesOn, quota},
		{"", relay.Dot, "554 5.6.7 no SMTPUTF8", fitsElse, forMail},

		// Providers.
		{gmail, relay.Mail, "421 4.3.0 Temporary System Problem", goesOn, "cooling session 5m 5m"},
		{gmail, relay.Dot, "451 4.3.0 temporarily rejected", goesOn, "cooling session 5m 5m"},
		{gmail, relay.Mail, "421 4.4.5 Server busy", goesOn, "cooling session 5m 5m"},
		{gmail, relay.Hello, "421 4.7.0 Try again later, closing connection. (EHLO)", goesOn, "cooling quota 15m 30m 1h 1h"},
		{gmail, relay.Dot, "421 4.7.28 unusual rate", goesOn, hourly},
		{gmail, relay.Rcpt, "450 4.2.1 The user is receiving mail at a rate", comesBack, unharmed},
		{gmail, relay.Mail, "450 4.2.1 Peak SMTP relay limit exceeded", goesOn, "cooling quota 15m 30m 1h 1h"},
		{gmail, relay.Rcpt, "452 4.5.3 too many recipients", goesOn, forMail},
		{gmail, relay.Auth, "454 4.7.0 Too many login attempts", goesOn, hourly},
		{gmail, relay.Auth, "454 4.7.0 Cannot authenticate due to temporary system problem", goesOn, fived},
		{gmail, relay.Auth, "534 5.7.9 Application-specific password required", goesOn, login},
		{gmail, relay.Dot, "550 5.4.5 Daily user sending limit exceeded", goesOn, hourly},
		{gmail, relay.Mail, "550 5.7.1 Mail relay denied", goesOn, login},
		{gmail, relay.Rcpt, "550 5.2.1 disabled", ends, unharmed},
		{gmail, relay.Dot, "550 5.7.1 likely unsolicited mail", ends, unharmed},
		{gmail, relay.Dot, "550 5.7.26 unauthenticated", goesOn, forOne},
		{gmail, relay.Dot, "552 5.2.3 size", fitsElse, forMail},
		{gmail, relay.Dot, "552 5.7.0 attachment", ends, unharmed},
		{office, relay.Dot, "432 4.3.2 Concurrent connections limit exceeded", goesOn, "cooling connections 30s 1m 2m 4m 5m"},
		{office, relay.Mail, "451 4.7.500 Server busy", goesOn, fived},
		{office, relay.Mail, "451 4.7.0 Temporary server error", goesOn, fived},
		{office, relay.Mail, "451 4.4.62 wrong region", goesOn, fived},
		{office, relay.Mail, "421 4.3.2 Service not active", goesOn, fived},
		{office, relay.Dot, "554 5.2.0 STOREDRV.Submission SubmissionQuotaExceededException", goesOn, hourly},
		{office, relay.Dot, "550 5.1.90 daily limit", goesOn, hourly},
		{office, relay.Auth, "535 5.7.139 SmtpClientAuthentication is disabled", goesOn, login},
		{office, relay.Mail, "530 5.7.57 not authenticated", goesOn, login},
		{office, relay.Dot, "554 5.2.252 SendAsDenied", goesOn, forOne},
		{office, relay.Dot, "554 5.2.2 mailbox full; STOREDRV.Submission QuotaExceededException", goesOn, login},
		{office, relay.Dot, "550 5.1.8 bad outbound sender", goesOn, login},
		{office, relay.Rcpt, "550 5.7.703 blocked", ends, unharmed},
		{office, relay.Rcpt, "550 5.4.1 Recipient address rejected", ends, unharmed},
		{yahoo, relay.Mail, "421 4.7.0 [TSS04] deferred", goesOn, "cooling quota 2h 4h 8h 16h 24h"},
		{yahoo, relay.Rcpt, "553 5.7.1 [BL21] not accepted", goesOn, "cooling place 2h 4h 8h 16h 24h"},
		{yahoo, relay.Auth, "535 5.7.0 (#AUTH005) Too many bad auth attempts", goesOn, login},
		{ses, relay.Dot, "454 Throttling failure: Maximum sending rate exceeded", goesOn, "cooling quota 5s 10s 20s"},
		{ses, relay.Dot, "454 Throttling failure: Daily message quota exceeded", goesOn, hourly},
		{ses, relay.Auth, "454 Temporary authentication failure", goesOn, "cooling quota 1m 2m"},
		{ses, relay.Dot, "554 Message rejected: Email address is not verified", goesOn, forOne},
		{ses, relay.Dot, "554 Message rejected: Sending suspended for this account", goesOn, login},
		{ses, relay.Dot, "552 Message is too long", fitsElse, forMail},
		{ses, relay.Rcpt, "501 Invalid RCPT TO address provided", ends, unharmed},
		{ses, relay.Dot, "554 Transaction failed: illegal header", ends, unharmed},
		{grid, relay.Auth, "451 Authentication failed: Maximum credits exceeded", goesOn, hourly},
		{grid, relay.Dot, "403 not a verified Sender Identity", goesOn, forOne},
		{grid, relay.Dot, "550 does not match a verified Sender Identity", goesOn, forOne},
		{grid, relay.Rcpt, "452 too many recipients received this hour", goesOn, hourly},
		{grid, relay.Mail, "550 Unauthenticated senders not allowed", goesOn, login},
		{gun, relay.Mail, "421 Domain x is not allowed to send: the domain is disabled", goesOn, hourly},
		{gun, relay.Rcpt, "554 add the address to authorized recipients", goesOn, forOne},
		{"smtp.mail.me.com", relay.Dot, "554 5.7.1 [CS01] Message rejected due to local policy", ends, unharmed},
		{"mail.gmx.net", relay.Greeting, "421 too many connections", goesOn, "cooling connections 30s 1m 2m 4m 5m"},

		// Anybody.
		{"", relay.Rcpt, "550 5.7.1 relaying denied: you are outside our network", goesOn, place},
		{"", relay.Rcpt, "554 5.7.1 Client host [192.0.2.7] blocked using zen.spamhaus.org", goesOn, listed},
		{"", relay.Dot, "554 5.7.1 message contains a link listed at URIBL", ends, unharmed},
		{"", relay.Dot, "554 5.7.1 Spam message rejected", ends, unharmed},
	} {
		name := strings.TrimSpace(fmt.Sprint(c.host, " ", c.at, ": ", c.said))
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				v := verdictRow{t: t, rules: rulesOf(t, c.host), result: resultOf(t, c.at, c.said)}
				if got := v.message(); got != c.message {
					t.Errorf("the message: %s, want %s", got, c.message)
				}
				if got := v.upstream(len(strings.Fields(c.charged)) - 2); got != c.charged {
					t.Errorf("the upstream: %s, want %s", got, c.charged)
				}
			})
		})
	}
}

// verdictRow is what an upstream said once, or says again and again.
type verdictRow struct {
	t      *testing.T
	rules  relay.Rules
	result relay.RcptResult
}

func rulesOf(t *testing.T, host string) relay.Rules {
	profiles, err := relay.Profiles()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range profiles {
		if p.Serves(host) {
			return relay.Rules{Profile: p}
		}
	}
	if host != "" {
		t.Fatalf("nothing is known of %s", host)
	}
	return relay.Rules{}
}

func resultOf(t *testing.T, at relay.Stage, said any) relay.RcptResult {
	if err, ok := said.(error); ok {
		return relay.RcptResult{Stage: at, Err: err, InDoubt: at == relay.Dot}
	}
	r, err := relay.ParseReply(said.(string))
	if err != nil {
		t.Fatal(err)
	}
	return relay.RcptResult{Stage: at, Reply: r}
}

func (v verdictRow) judge(upstreams int, said ...queue.Answer) Judgement {
	m := message()
	m.Recipients[0].Said = said
	p := testPolicy()
	p.Routes = NewRoutes([]Route{{Name: "a"}, {Name: "b"}, {Name: "c"}}[:upstreams])
	return p.Judge(Try{
		Message: &m, Upstream: "a", Rcpts: []int{0}, At: t0, Rules: v.rules,
		Result: relay.Result{Rcpts: []relay.RcptResult{v.result}},
	}, Now{Time: time.Now(), Online: time.Hour})
}

func (v verdictRow) message() string {
	before := queue.Answer{Upstream: "b", Code: 550, Scope: string(relay.ScopeUnknown)}
	return v.judge(3).Attempts[0].Verdict + " " + v.judge(3, before).Attempts[0].Verdict + " " + v.judge(1).Attempts[0].Verdict
}

// upstream says how one that was well is after the reply, and how long it rests
// each time when all who try it hear the same.
func (v verdictRow) upstream(times int) string {
	j := v.judge(3)
	switch {
	case j.Sender && j.Fault.OK():
		return forOne
	case j.Fault.OK() && len(j.Refusals) > 0:
		return forMail
	case j.Fault.Kind == health.Message:
		return tallied
	}
	h := health.New(health.Options{Targets: []health.Target{{Name: "a"}}})
	words := ""
	for range max(times, 1) {
		pass, ok := h.Start("a", 1)
		if !ok {
			v.t.Fatal("it is not asked again when its time has come")
		}
		pass.Done(v.judge(3).Fault)
		s := h.Status()[0]
		if s.State != health.Cooling {
			return strings.TrimSpace(s.State + " " + string(s.Kind))
		}
		if words == "" {
			words = s.State + " " + string(s.Kind)
		}
		rest := time.Until(s.Until)
		words += " " + strings.NewReplacer("m0s", "m", "h0m0s", "h").Replace(rest.String())
		time.Sleep(rest)
	}
	return words
}
