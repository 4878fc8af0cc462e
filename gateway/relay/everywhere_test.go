package relay

import (
	"testing"
	"time"
)

// TestVerdictByWords: what words mean whoever says them, and what they do not.
func TestVerdictByWords(t *testing.T) {
	const rcpt = "bob@example.com"
	for _, c := range []struct {
		at      Stage
		reply   string
		verdict Verdict
		scope   Scope
	}{
		{Greeting, "554 5.7.0 Error: too many connections from 192.0.2.1", Next, ScopeConnections},
		{Mail, "421 4.7.0 too many concurrent sessions", Next, ScopeConnections},
		{Rcpt, "452 4.3.2 recipient thread limit exceeded, too many concurrent deliveries", Next, ScopeTemporary},
		{Rcpt, "550 You have exceeded your daily limit for <bob@example.com>", Next, ScopeQuota},
		{Rcpt, "554 5.7.1 <bob@example.com>: Recipient address rejected: you exceeded 100 mails per hour", Next, ScopeQuota},
		{Dot, "550 Domain example.org has exceeded the max emails per hour (100/100 (100%)) allowed. Message discarded.", Next, ScopeQuota},
		{Data, "554 5.7.1 <DATA>: Data command rejected: limit of 400 rcpts per 24 hours reached", Next, ScopeQuota},
		{Dot, "450 4.7.1 Error: too much mail from 192.0.2.1", Next, ScopeQuota},
		{Auth, "550 Too many messages. Try again in 92 seconds.", Next, ScopeQuota},
		{Auth, "535 Too many messages. Try again in 92 seconds.", Next, ScopeAccount},
		{Rcpt, "550 5.2.2 <bob@example.com> exceeded its daily limit", Bounce, ScopeRecipient},
		{Rcpt, "450 4.2.1 the user is receiving mail at a rate that exceeds the hourly limit", Later, ScopeRecipient},
		{Rcpt, "550 5.5.3 too many recipients for the daily limit", Next, ScopeTemporary},
		{Rcpt, "550 too many recipients", Next, ScopeTemporary},
		{Dot, "550 Your account has been suspended for sending spam", Next, ScopeAccount},
		{Rcpt, "550 5.2.1 <bob@example.com>: this account is disabled", Bounce, ScopeRecipient},
		{Mail, "550 5.7.1 Authentication required", Next, ScopeAccount},
		{Rcpt, "550 5.7.1 Authentication required", Next, ScopeSender},
		{Rcpt, "550 5.7.64 TenantAttribution; Relay Access Denied", Next, ScopeAccount},
		{Rcpt, "553 5.7.1 <ann@example.com>: Sender address rejected: not owned by user ann", Next, ScopeSender},
		{Rcpt, "553 <bob@example.com>: Sender address rejected: not owned by user ann", Next, ScopeSender}, // mail to oneself
		{Rcpt, "550 5.7.1 sender is not allowed to write to this group", Next, ScopePolicy},
		{Dot, "554 message too large", Next, ScopeSize},
		{Dot, "554 5.7.1 message rejected as spam", Bounce, ScopeMessage},
		{Dot, "554 5.7.1 virus found", Bounce, ScopeMessage},
		{Data, "554 5.7.1 message rejected as spam", Next, ScopeUnknown},
		{Rcpt, "554 5.7.1 message rejected as spam", Next, ScopePolicy},
		{Dot, "451 4.7.1 message rejected as spam", Next, ScopeTemporary},
		{Dot, "554 5.7.1 <spam-message@virus.example> may not", Next, ScopeUnknown}, // an address may have any name
	} {
		v, s := classify(c.at, reply(c.reply), nil, rcpt)
		if v != c.verdict || s != c.scope {
			t.Errorf("%s %q: got %s, %q; want %s, %q", c.at, c.reply, v, s, c.verdict, c.scope)
		}
	}
}

// TestWhatIsSaidOfUsBouncesNothing: not in any order, and with no words about
// the message beside it.
func TestWhatIsSaidOfUsBouncesNothing(t *testing.T) {
	ours := []string{
		"your account is suspended", "your IP has been sending this", "client host [192.0.2.1] is listed at zen.example.org", "sender address rejected",
		"you have exceeded your daily limit", "try again in 2 hours", "too many connections", "the reputation of your server is low",
		"sending quota exceeded", "not owned by user ann", "your domain is blacklisted",
	}
	theirs := []string{
		"message rejected as spam", "this is likely unsolicited mail", "a virus was found", "message contains phishing", "listed in URIBL", "message content rejected",
	}
	for _, us := range ours {
		for _, it := range theirs {
			for _, text := range []string{us + ", " + it, it + ", " + us} {
				for _, code := range []string{"550 ", "554 5.7.1 ", "554 5.0.0 ", "550 5.2.0 "} {
					r := reply(code + text)
					if m := (Rules{}).Classify(Dot, r, nil, "bob@example.com", time.Time{}); m.Verdict == Bounce {
						t.Errorf("%q bounces, by %s", r, m.Rule)
					}
				}
			}
		}
	}
}
