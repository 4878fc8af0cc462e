package relay

import (
	"testing"
	"time"
)

// What others can put into a reply must neither bounce mail nor cost us an
// upstream.
func TestWordsOfOthers(t *testing.T) {
	now := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	for _, tt := range []struct {
		at          Stage
		reply, rcpt string
		verdict     Verdict
		scope       Scope
	}{
		// A server that checks recipients quotes whoever it asked.
		{Rcpt, "450 4.7.1 <bob@example.net>: unverified address: host mx.example.net[192.0.2.1] said: 450 hourly limit reached, try again after 24 hours", "bob@example.net", Next, ScopeTemporary},
		{Rcpt, "550 5.7.1 <bob@example.net>: host mx.example.net[192.0.2.1] said: 550 your account is suspended", "bob@example.net", Next, ScopePolicy},
		{Dot, "554 5.7.1 host mx.example.net[192.0.2.1] said: 550 virus found", "bob@example.net", Next, ScopeUnknown},
		// Filters are called after what they look for.
		{Dot, "554 5.7.1 delivery not authorised by antivirus3.example.com", "bob@example.net", Next, ScopeUnknown},
		{Dot, "554 5.7.1 not permitted, see https://example.com/virus-policy", "bob@example.net", Next, ScopeUnknown},
		{Dot, "554 5.7.1 virus Eicar.Test found by mx1.example.com", "bob@example.net", Bounce, ScopeMessage},
		// An address within another one is somebody else's.
		{Rcpt, "550 <joann@example.com> is not permitted here", "ann@example.com", Next, ScopeUnknown},
		{Rcpt, "550 <jo.ann@example.com> is not permitted here", "ann@example.com", Next, ScopeUnknown},
		{Rcpt, "550 <bob@example.com.br> is not permitted here", "bob@example.com", Next, ScopeUnknown},
		{Rcpt, "550 no joann@example.com, no ann@example.com.", "ann@example.com", Bounce, ScopeRecipient},
		{Rcpt, "550 ann@example.com... no such user", "ann@example.com", Bounce, ScopeRecipient},
		{Rcpt, "550 who is ann@example.com?", "ann@example.com", Bounce, ScopeRecipient},
		{Rcpt, "550 no user 'ann@example.com'", "Ann@Example.com", Bounce, ScopeRecipient},
		{Rcpt, "550 RCPT TO:<ann@example.com>: unknown", "ann@example.com", Bounce, ScopeRecipient},
	} {
		r, err := ParseReply(tt.reply)
		if err != nil {
			t.Fatal(err)
		}
		m := Rules{}.Classify(tt.at, r, nil, tt.rcpt, now)
		if m.Verdict != tt.verdict || m.Scope != tt.scope || !m.Until.IsZero() {
			t.Errorf("%v %s: %s %s until %v (%s), want %s %s", tt.at, tt.reply, m.Verdict, m.Scope, m.Until, m.Rule, tt.verdict, tt.scope)
		}
	}
}
