package relay

import "testing"

// TestVerdictByPlace: refusals for where we are, as servers word them, and
// those that only look alike.
func TestVerdictByPlace(t *testing.T) {
	const rcpt = "bob@example.com"
	for _, c := range []struct {
		at      Stage
		reply   string
		verdict Verdict
		scope   Scope
	}{
		// Postfix, Exim, Sendmail and what their administrators write.
		{Rcpt, "554 5.7.1 Service unavailable; Client host [192.0.2.1] blocked using zen.spamhaus.org; https://www.spamhaus.org/query/ip/192.0.2.1", Next, ScopePlace},
		{Rcpt, "550 Client host [192.0.2.1] blocked using dnsbl.example.org", Next, ScopePlace},
		{Rcpt, "550 <bob@example.com>: Client host [192.0.2.1] blocked using dnsbl.example.org", Next, ScopePlace},
		{Rcpt, "554 5.7.1 <client.example[192.0.2.1]>: Client host rejected: listed at dnsbl.example.org", Next, ScopePlace},
		{Rcpt, "550 rejected because 192.0.2.1 is in a black list at zen.spamhaus.org\nhttps://www.spamhaus.org/sbl", Next, ScopePlace},
		{Rcpt, "550 5.7.1 Mail from 2001:db8::1 refused - see RBL http://rbl.example.org/", Next, ScopePlace},
		{Mail, "553 5.3.0 ann@example.com... Spam blocked see: http://spamcop.net/bl.shtml?192.0.2.1", Next, ScopePlace},
		{Mail, "550 5.7.1 Service unavailable; client [192.0.2.1] blocked using Spamhaus", Next, ScopePlace},
		{Mail, "451 4.7.1 Service unavailable; Client host [192.0.2.1] blocked using zen.spamhaus.org", Next, ScopePlace},
		{Dot, "554 5.7.1 Service unavailable; Client host [192.0.2.1] blocked using b.barracudacentral.org", Next, ScopePlace},
		// Providers.
		{Mail, "550 5.7.1 Unfortunately, messages from [192.0.2.1] weren't sent. Please contact your Internet service provider since part of their network is on our block list (S3150)", Next, ScopePlace},
		{Rcpt, "550 5.7.606 Access denied, banned sending IP [192.0.2.1]", Next, ScopePlace},
		{Mail, "553 5.7.1 [BL21] Connections will not be accepted from 192.0.2.1, because the ip is in Spamhaus's list", Next, ScopePlace},
		{Rcpt, "550 5.7.1 Your IP address is blacklisted", Next, ScopePlace},
		{Rcpt, "550 5.7.1 Client host/IP blocked", Next, ScopePlace},
		{Dot, "554 5.7.1 [192.0.2.1] is listed by example.org", Next, ScopePlace},
		// Internet providers whose own customers alone may send.
		{Rcpt, "550 5.7.1 Relaying denied from your location", Next, ScopePlace},
		{Rcpt, "550 relaying denied: you are outside our network", Next, ScopePlace},
		{Rcpt, "554 5.7.1 Relay access denied: 192.0.2.1 is not on our network", Next, ScopePlace},
		{Rcpt, "550 5.7.1 <bob@example.com>: mail from your network is not relayed", Next, ScopePlace},
		{Mail, "550 not local host, not a gateway", Next, ScopePlace},
		{Mail, "550 5.7.1 You cannot send from outside our network", Next, ScopePlace},

		// Said of where we are, but not what it looks like.
		{Rcpt, "554 5.7.1 <bob@example.com>: Relay access denied", Next, ScopeSender},
		{Rcpt, "550 Relaying denied", Next, ScopeSender},
		{Rcpt, "550 5.7.1 bob@example.com: Relaying denied. IP name lookup failed [192.0.2.1]", Next, ScopeSender},
		{Greeting, "554 5.7.1 Client host [192.0.2.1] blocked using zen.spamhaus.org", Next, ScopePolicy},
		{Hello, "550 5.7.1 [192.0.2.1] is listed in zen.spamhaus.org", Next, ScopePolicy},
		{Auth, "535 5.7.8 your IP address is blacklisted", Next, ScopeAccount},
		{Mail, "421 4.7.0 your IP address is blacklisted", Next, ScopeSession},
		{Rcpt, "530 5.7.0 Authentication required from your network", Next, ScopePlace},
		// The recipient's own fault, whatever else is said.
		{Rcpt, "550 5.1.1 <bob@example.com>: no such user here; your IP address 192.0.2.1 is listed in zen.spamhaus.org", Bounce, ScopeRecipient},
		{Rcpt, "550 5.1.1 <bob@example.com>: user not local", Bounce, ScopeRecipient},
		{Rcpt, "551 User not local; please try <bob@example.org>", Bounce, ScopeRecipient},
		{Rcpt, "551 <bob@example.com> is not on our network", Bounce, ScopeRecipient},
		{Rcpt, "521 not on our network", Bounce, ScopeRecipient},
		{Rcpt, "550 <bob@example.com>: mailbox not local", Bounce, ScopeRecipient},
		{Rcpt, "550 <bob@example.com> User not listed in public Name & Address Book, asks host [192.0.2.1]", Bounce, ScopeRecipient},
		{Rcpt, "550 5.2.1 <bob@example.com>: mailbox disabled, blacklisted by your IP address", Bounce, ScopeRecipient},
		{Rcpt, "556 5.1.10 not on our network", Bounce, ScopeRecipient},
		{Rcpt, "450 4.2.1 <bob@example.com> busy, not on our network", Later, ScopeRecipient},
		{Dot, "550 5.1.1 <bob@example.com>: unknown; Client host [192.0.2.1] blocked using x", Bounce, ScopeRecipient},
		// The message, or somebody's name in it.
		{Dot, "554 5.7.1 Message contains a URL listed in URIBL, from [192.0.2.1]", Bounce, ScopeMessage},
		{Dot, "550 5.7.1 blocked using dbl.spamhaus.org; 192.0.2.1", Bounce, ScopeMessage},
		{Dot, "554 5.6.0 content blocked using your ip address", Bounce, ScopeMessage},
		{Rcpt, "554 5.7.1 Service unavailable; Sender address [ann@example.com] blocked using dbl.spamhaus.org; 192.0.2.1", Next, ScopePolicy},
		{Rcpt, "554 5.7.1 <laptop>: Helo command rejected: blocked using 192.0.2.1", Next, ScopePolicy},
		{Rcpt, "550 5.7.1 <bob@example.com>: this group is on a block list", Next, ScopePolicy},
		{Mail, "552 5.3.4 too big for your ip address, blacklisted", Next, ScopeSize},
		{Rcpt, "550 5.4.5 your IP address is blacklisted for today", Next, ScopeQuota},
		{Mail, "550 5.7.501 your IP address is blacklisted", Next, ScopeAccount},
		// A word in an address says nothing.
		{Rcpt, "550 <spamhaus@blocklist.example>: your ip address is fine, the user is not", Next, ScopeUnknown},
	} {
		v, s := classify(c.at, reply(c.reply), nil, rcpt)
		if v != c.verdict || s != c.scope {
			t.Errorf("%s %q: got %s, %q; want %s, %q", c.at, c.reply, v, s, c.verdict, c.scope)
		}
	}
}
