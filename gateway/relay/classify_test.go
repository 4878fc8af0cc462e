package relay

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestVerdictByStage is written from the table of stages and basic codes, not
// from the code.
func TestVerdictByStage(t *testing.T) {
	const rcpt = "Bob@Example.com"
	for _, c := range []struct {
		at      Stage
		reply   string
		verdict Verdict
		scope   Scope
	}{
		{Greeting, "421 too busy", Next, ScopeNetwork},
		{Greeting, "450 4.7.1 not now", Next, ScopeNetwork},
		{Greeting, "554 5.7.1 you are listed", Next, ScopePolicy},
		{Greeting, "521 no mail here", Next, ScopePolicy},
		{Hello, "421 4.3.2 closing", Next, ScopeTemporary},
		{Hello, "450 later", Next, ScopeTemporary},
		{Hello, "500 what", Next, ScopeSession},
		{Hello, "502 what", Next, ScopeSession},
		{Hello, "504 5.5.2 need a fully qualified name", Next, ScopePolicy},
		{Hello, "550 bad helo", Next, ScopePolicy},
		{StartTLS, "454 4.7.0 TLS not available", Next, ScopeTemporary},
		{StartTLS, "501 no", Next, ScopeIdentity},
		{StartTLS, "554 5.7.3 no", Next, ScopeIdentity},
		{Auth, "421 too many login attempts", Next, ScopeQuota},
		{Auth, "421 not now", Next, ScopeTemporary},
		{Auth, "432 4.7.12 transition", Next, ScopeTemporary},
		{Auth, "454 4.7.0 temporary", Next, ScopeTemporary},
		{Auth, "530 5.7.0 TLS first", Next, ScopeAccount},
		{Auth, "534 5.7.9 too weak", Next, ScopeAccount},
		{Auth, "535 5.7.8 wrong", Next, ScopeAccount},
		{Auth, "538 5.7.11 encrypt", Next, ScopeAccount},
		{Auth, "550 5.7.30 basic is off", Next, ScopeAccount},
		{Auth, "504 5.5.4 no such mechanism", Next, ScopeAccount},
		{Auth, "571 5.1.1 no", Next, ScopeAccount},
		{Auth, "334 more", Next, ScopeSession},

		{Mail, "421 4.3.2 closing", Next, ScopeSession},
		{Mail, "450 later", Next, ScopeTemporary},
		{Mail, "451 4.3.0 later", Next, ScopeTemporary},
		{Mail, "530 5.7.0 authentication required", Next, ScopeAccount},
		{Mail, "550 5.7.57 not authenticated", Next, ScopeAccount},
		{Mail, "550 5.7.0 authenticate", Next, ScopeAccount},
		{Mail, "552 too big", Next, ScopeSize},
		{Mail, "552 5.3.4 too big", Next, ScopeSize},
		{Mail, "554 5.3.4 too big", Next, ScopeSize},
		{Mail, "552 5.2.3 too big", Next, ScopeSize},
		{Mail, "550 5.1.7 sender", Next, ScopeSender},
		{Mail, "553 5.1.8 sender", Next, ScopeSender},
		{Mail, "501 5.1.7 sender", Next, ScopeSender},
		{Mail, "550 5.7.1 sender", Next, ScopeSender},
		{Mail, "550 5.7.60 send as", Next, ScopeSender},
		{Mail, "555 5.5.4 parameter", Next, ScopeUnknown},
		{Mail, "504 5.5.4 parameter", Next, ScopeUnknown},
		{Mail, "550 no", Next, ScopeUnknown},
		{Mail, "550 5.1.1 no", Next, ScopeUnknown}, // not an answer to a RCPT
		{Mail, "550 <Bob@example.com> unknown", Next, ScopeUnknown},
		{Mail, "354 what", Next, ScopeSession},

		{Rcpt, "421 closing", Next, ScopeSession},
		{Rcpt, "452 4.5.3 too many", Next, ScopeTemporary},
		{Rcpt, "552 too many", Next, ScopeTemporary},
		{Rcpt, "550 5.5.3 too many", Next, ScopeTemporary},
		{Rcpt, "450 4.2.1 busy", Later, ScopeRecipient},
		{Rcpt, "451 4.2.0 later", Later, ScopeRecipient},
		{Rcpt, "452 4.2.2 full", Later, ScopeRecipient},
		{Rcpt, "450 4.1.1 cannot tell", Later, ScopeRecipient},
		{Rcpt, "450 4.7.1 greylisted", Next, ScopeTemporary},
		{Rcpt, "451 4.3.0 later", Next, ScopeTemporary},
		{Rcpt, "450 later", Next, ScopeTemporary},
		{Rcpt, "550 5.1.1 no such user", Bounce, ScopeRecipient},
		{Rcpt, "553 5.1.2 bad domain", Bounce, ScopeRecipient},
		{Rcpt, "550 5.1.10 null MX", Bounce, ScopeRecipient},
		{Rcpt, "550 5.2.1 disabled", Bounce, ScopeRecipient},
		{Rcpt, "552 5.2.2 full", Bounce, ScopeRecipient},
		{Rcpt, "550 5.4.4 cannot route", Bounce, ScopeRecipient},
		{Rcpt, "551 try elsewhere", Bounce, ScopeRecipient},
		{Rcpt, "550 <bob@example.com>: unknown", Bounce, ScopeRecipient},
		{Rcpt, "553 BOB@EXAMPLE.COM?", Bounce, ScopeRecipient},
		{Rcpt, "550 no", Next, ScopeUnknown},
		{Rcpt, "554 bob@example.com", Next, ScopeUnknown},
		{Rcpt, "550 <alice@example.com>: unknown", Next, ScopeUnknown},
		{Rcpt, "554 5.7.1 <bob@example.com>: Relay access denied", Next, ScopeSender},
		{Rcpt, "550 Relaying denied", Next, ScopeSender},
		{Rcpt, "550 5.1.1 we do no RELAYING for bob@example.com", Next, ScopeSender},
		{Rcpt, "550 authentication required", Next, ScopeSender},
		{Rcpt, "530 5.7.0 Authentication required", Next, ScopeSender},
		{Rcpt, "550 5.7.1 policy", Next, ScopePolicy},
		{Rcpt, "554 5.7.5 policy", Next, ScopePolicy},
		{Rcpt, "521 5.3.2 takes no mail", Bounce, ScopeRecipient},
		{Rcpt, "556 5.1.10 takes no mail", Bounce, ScopeRecipient},
		{Rcpt, "354 what", Next, ScopeSession},

		{Data, "421 closing", Next, ScopeSession},
		{Data, "451 4.3.0 later", Next, ScopeTemporary},
		{Data, "554 no", Next, ScopeUnknown},
		{Data, "554 5.6.0 no", Next, ScopeUnknown}, // it has not seen the message
		{Data, "250 what", Next, ScopeSession},

		{Body, "552 5.3.4 too big", Next, ScopeSize},
		{Body, "554 5.6.0 bad", Bounce, ScopeMessage},
		{Body, "451 4.3.1 no space", Next, ScopeTemporary},

		{Dot, "250 2.0.0 taken", Delivered, ScopeNone},
		{Dot, "200 taken", Delivered, ScopeNone},
		{Dot, "251 5.1.1 taken", Delivered, ScopeNone},
		{Dot, "299 taken", Delivered, ScopeNone},
		{Dot, "354 what", InDoubt, ScopeSession},
		{Dot, "421 closing", Next, ScopeSession},
		{Dot, "451 4.3.0 later", Next, ScopeTemporary},
		{Dot, "452 4.2.2 full", Next, ScopeTemporary},
		{Dot, "552 5.3.4 too big", Next, ScopeSize},
		{Dot, "554 5.2.3 too big", Next, ScopeSize},
		{Dot, "552 too big", Next, ScopeSize},
		{Dot, "554 5.6.0 bad", Bounce, ScopeMessage},
		{Dot, "554 5.4.6 loop", Bounce, ScopeMessage},
		{Dot, "552 5.7.0 attachment", Bounce, ScopeMessage},
		{Dot, "550 5.7.1 no", Next, ScopeUnknown},
		{Dot, "550 no", Next, ScopeUnknown},
		{Dot, "554 no", Next, ScopeUnknown},
		{Dot, "550 <bob@example.com>: unknown", Next, ScopeUnknown}, // says nothing by code
		{Dot, "550 5.1.1 <bob@example.com>: unknown", Bounce, ScopeRecipient},
		{Dot, "550 5.1.1 <alice@example.com>: unknown", Next, ScopeUnknown},
	} {
		v, s := classify(c.at, reply(c.reply), nil, rcpt)
		if v != c.verdict || s != c.scope {
			t.Errorf("%s %q: got %s, %q; want %s, %q", c.at, c.reply, v, s, c.verdict, c.scope)
		}
	}
}

// reply makes a Reply of its first line.
func reply(line string) Reply {
	var r Reply
	if _, err := fmt.Sscanf(line, "%3d", &r.Code); err != nil {
		panic(err)
	}
	r.Text = strings.TrimPrefix(line[3:], " ")
	r.Enhanced = enhanced(r.Code, r.Text)
	return r
}

// TestVerdictByEnhancedCode is written from the table of enhanced codes, not
// from the code: what each says at MAIL, at RCPT and at the dot.
func TestVerdictByEnhancedCode(t *testing.T) {
	const (
		bounceR = "bounce recipient"
		bounceM = "bounce message"
		later   = "later recipient"
		unknown = "next unknown"
		sender  = "next sender"
		account = "next account"
		quota   = "next quota"
		size    = "next size"
		policy  = "next policy"
		temp    = "next temporary"
		message = "next message"
	)
	for codes, want := range map[string][3]string{
		"5.1.0 5.1.1 5.1.2 5.1.3 5.1.6 5.1.10": {unknown, bounceR, unknown},
		"5.1.4 5.1.5 5.1.9":                    {unknown, bounceR, unknown},
		"5.1.7 5.1.8":                          {sender, sender, sender},
		"4.1.0 4.1.1 4.1.8":                    {temp, later, temp},
		"5.1.90":                               {quota, quota, quota},
		"5.2.0":                                {unknown, unknown, unknown},
		"5.2.1 5.2.2":                          {account, bounceR, account},
		"5.2.4":                                {unknown, bounceR, unknown},
		"4.2.0 4.2.1 4.2.2":                    {temp, later, temp},
		"5.2.3 5.3.4":                          {size, size, size},
		"5.3.1 5.3.2 5.3.5 5.4.7":              {temp, temp, temp},
		"4.3.1 4.3.2 4.3.5 4.4.1 4.4.7":        {temp, temp, temp},
		"5.3.0 5.3.3":                          {unknown, unknown, unknown},
		"5.4.1 5.4.3":                          {unknown, unknown, unknown},
		"5.4.4":                                {unknown, bounceR, unknown},
		"5.4.5":                                {quota, quota, quota},
		"5.4.6":                                {unknown, message, bounceM},
		"5.5.0 5.5.1 5.5.2 5.5.4":              {unknown, unknown, unknown},
		"5.5.3 4.5.3":                          {temp, temp, temp},
		"5.6.0 5.6.1 5.6.3 5.6.5":              {message, message, bounceM},
		"5.6.7":                                {message, message, message},
		"5.7.0":                                {account, unknown, unknown},
		"5.7.1":                                {sender, policy, unknown},
		"5.7.2 5.7.3 5.7.30":                   {unknown, unknown, unknown},
		"5.7.8 5.7.9 5.7.10 5.7.11 5.7.12":     {account, account, account},
		"5.7.20 5.7.23 5.7.26 5.7.29":          {sender, sender, sender},
		"5.7.57 5.7.64 5.7.139":                {account, account, account},
		"5.7.60":                               {sender, sender, sender},
		"5.7.136":                              {unknown, bounceR, unknown},
		"5.7.232 5.7.233":                      {quota, quota, quota},
		"5.7.501 5.7.508 5.7.512 5.7.705 5.7.708 5.7.750": {account, account, account},
		"5.7.509":               {sender, sender, sender},
		"4.7.0 4.7.1 4.7.5":     {temp, temp, temp},
		"4.7.26 4.7.28 4.7.500": {quota, quota, quota},
		"5.0.0":                 {unknown, unknown, unknown},
	} {
		for code := range strings.FieldsSeq(codes) {
			for i, at := range []Stage{Mail, Rcpt, Dot} {
				r := reply(fmt.Sprintf("%c50 %s some text", code[0], code))
				v, s := classify(at, r, nil, "bob@example.com")
				if got := fmt.Sprint(v, " ", s); got != want[i] {
					t.Errorf("%s at %s: got %s, want %s", code, at, got, want[i])
				}
			}
		}
	}
	if v, s := classify(Dot, reply("554 5.7.0 Message content rejected"), nil, ""); v != Bounce || s != ScopeMessage {
		t.Errorf("5.7.0 for the content: %s %s", v, s)
	}
	if v, _ := classify(Rcpt, reply("550 4.2.2 of another class"), nil, ""); v != Next {
		t.Errorf("an enhanced code of another class: %s", v)
	}
}

func TestVerdictOfErrors(t *testing.T) {
	for _, c := range []struct {
		at      Stage
		err     error
		verdict Verdict
		scope   Scope
	}{
		{Resolve, errors.New("no such host"), Next, ScopeNetwork},
		{Connect, syscall.ECONNREFUSED, Next, ScopeNetwork},
		{TLS, fmt.Errorf("%w: %w", errHandshake, errors.New("unknown authority")), Next, ScopeIdentity},
		{TLS, fmt.Errorf("%w: %w", errHandshake, io.EOF), Next, ScopeNetwork},
		{StartTLS, fmt.Errorf("%w: %w", errHandshake, errors.New("wrong name")), Next, ScopeIdentity},
		{StartTLS, errNoStartTLS, Next, ScopeIdentity},
		{StartTLS, errInjected, Next, ScopeIdentity},
		{Greeting, errReplySyntax, Next, ScopeIdentity},
		{Greeting, errReplySize, Next, ScopeIdentity},
		{Greeting, os.ErrDeadlineExceeded, Next, ScopeNetwork},
		{Hello, errReplySyntax, Next, ScopeSession},
		{Auth, errMechanism, Next, ScopeAccount},
		{Auth, errClear, Next, ScopeAccount},
		{Auth, ErrPassword, Next, ScopeAccount},
		{Auth, io.EOF, Next, ScopeNetwork},
		{Mail, io.EOF, Next, ScopeNetwork},
		{Rcpt, errUnexpected, Next, ScopeSession},
		{Body, os.ErrDeadlineExceeded, Next, ScopeNetwork},
		{Body, errEarly, Next, ScopeSession},
		{Body, fmt.Errorf("%w: %w", ErrStopped, errForm), Later, ScopeNone},
		{Mail, errPath, Later, ScopeNone},
		{Connect, ErrGivenUp, Next, ScopeNetwork},
		{Dot, io.EOF, InDoubt, ScopeSession},
		{Dot, os.ErrDeadlineExceeded, InDoubt, ScopeSession},
		{Dot, errReplySyntax, InDoubt, ScopeSession},
	} {
		if v, s := classify(c.at, Reply{}, c.err, ""); v != c.verdict || s != c.scope {
			t.Errorf("%s, %v: got %s, %q; want %s, %q", c.at, c.err, v, s, c.verdict, c.scope)
		}
	}
}

// FuzzClassify holds what must be true of every reply, whatever is known of the
// upstream.
func FuzzClassify(f *testing.F) {
	f.Add(uint8(Rcpt), uint16(550), "5.1.1 <b@c> relaying", "b@c", uint8(0))
	f.Add(uint8(Dot), uint16(451), "4.2.2 content", "", uint8(1))
	f.Add(uint8(Dot), uint16(550), "5.7.1 likely unsolicited, gcdp", "", uint8(2))
	f.Add(uint8(Auth), uint16(550), "5.1.1 <b@c>: unknown, a virus", "b@c", uint8(3))
	f.Add(uint8(Rcpt), uint16(450), "4.2.1 try again in 1h", "b@c", uint8(4))
	f.Add(uint8(Mail), uint16(553), "[BL21] spam message rejected, too many connections", "b@c", uint8(5))
	all := []Rules{{}}
	for _, p := range slices.SortedFunc(maps.Values(profiles(f)), func(a, b *Profile) int { return strings.Compare(a.Name, b.Name) }) {
		all = append(all, Rules{Profile: p})
	}
	for _, s := range Scopes() { // an operator may say anything of anything
		all = append(all, Rules{Operator: []Rule{{Name: "any", Code: "4", Scope: s}, {Name: "any", Code: "5", Scope: s}}})
	}
	now := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	f.Fuzz(func(t *testing.T, at uint8, code uint16, text, rcpt string, which uint8) {
		stage := Stage(at % uint8(len(stageNames)))
		r := Reply{Code: int(code) % 1000, Text: text}
		r.Enhanced = enhanced(r.Code, text)
		rules := all[int(which)%len(all)]
		began := time.Now()
		m := rules.Classify(stage, r, nil, rcpt, now)
		if took := time.Since(began); took > 5*time.Second {
			t.Errorf("it took %v", took)
		}
		v, s := m.Verdict, m.Scope
		switch {
		case v == Bounce && stage < Rcpt:
			t.Error("a bounce before RCPT")
		case v == Bounce && r.Code/100 != 5:
			t.Error("a bounce without a 5xx")
		case v == Bounce && s == ScopeMessage && stage < Body:
			t.Error("a message refused that nobody has seen")
		case v == Bounce && s != ScopeRecipient && s != ScopeMessage:
			t.Error("a bounce for the fault of somebody else")
		case v == Delivered && (stage != Dot || r.Code/100 != 2):
			t.Error("delivered without a 2xx to the dot")
		case v == InDoubt && stage != Dot:
			t.Error("in doubt before the dot")
		case stage == Dot && r.Code/100 == 2 && v != Delivered:
			t.Error("a 2xx to the dot is no delivery")
		case v == Next && s == ScopeRecipient, v == Later && (s != ScopeRecipient || r.Code/100 != 4):
			t.Error("a recipient's fault sends it elsewhere, or another one makes it wait")
		case stage < Mail && s.aboutMail():
			t.Error("mail is blamed before there is any")
		case v == "" || s == ScopeNone && v != Delivered:
			t.Error("nobody is at fault")
		case m.Rule == "":
			t.Error("nobody says so")
		case !m.Until.IsZero() && (!m.Until.After(now) || m.Until.Sub(now) > longestWait || !s.passes(r.Code/100 == 5)):
			t.Errorf("until %v", m.Until)
		}
		if again := rules.Classify(stage, r, nil, rcpt, now); again != m {
			t.Errorf("%+v, and then %+v", m, again)
		}
	})
}

// TestBeforeMailNothingBounces sends a million replies.
func TestBeforeMailNothingBounces(t *testing.T) {
	t.Parallel()
	ps := slices.Collect(maps.Values(profiles(t)))
	random := rand.New(rand.NewPCG(1, 2))
	tails := []string{
		"no such user bob@example.com", "virus found", "as spam", "mailbox full", "relaying denied", "message contains a virus", "[BL21]", "gcdp",
		"try again in 5 minutes", "Daily user sending limit exceeded", "too large", "", "content rejected",
	}
	n := 1_000_000
	if testing.Short() {
		n = 50_000
	}
	for range n {
		r := Reply{Code: 200 + random.IntN(400)}
		r.Text = fmt.Sprintf("%d.%d.%d %s", r.Code/100, random.IntN(8), random.IntN(40), tails[random.IntN(len(tails))])
		r.Enhanced = enhanced(r.Code, r.Text)
		at := Stage(random.IntN(int(Mail)))
		if m := (Rules{Profile: ps[random.IntN(len(ps))]}).Classify(at, r, nil, "bob@example.com", time.Time{}); m.Verdict != Next || m.Scope.aboutMail() {
			t.Fatalf("%s %s: %+v", at, r, m)
		}
	}
}

// TestLongRepliesAreQuick: a server cannot make us work by talking. The best of
// some tries counts: the others tell of what else the machine had to do.
func TestLongRepliesAreQuick(t *testing.T) {
	ps := profiles(t)
	limit := 200 * time.Millisecond // a twentieth of it is needed
	if raced {
		limit = 4 * time.Second
	}
	for _, word := range []string{"wait ", "a", "try again in ", "1 Jan ", "@ ", "192.0.2.1 blocked ", "spam ", "\n", "1h"} {
		r := Reply{Code: 550, Text: strings.Repeat(word, maxReplyBytes/len(word))}
		took := time.Duration(math.MaxInt64)
		for n := 0; n < 5 && took > limit; n++ {
			began := time.Now()
			for _, p := range ps {
				Rules{Profile: p}.Classify(Dot, r, nil, "bob@example.com", began)
			}
			took = min(took, time.Since(began)/time.Duration(len(ps)))
		}
		if took > limit {
			t.Errorf("%q: %v", word, took)
		}
	}
}
