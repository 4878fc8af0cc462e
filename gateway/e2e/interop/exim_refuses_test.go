package interop

import (
	"path/filepath"
	"strings"
	"testing"

	"mailroam/gateway/e2e/peers"
)

// TestEximRefuses is TestPostfixRefuses with an Exim whose ACLs look at the
// subject at the end of the data and at the sender before. It gives no enhanced
// codes but those that are in a message.
func TestEximRefuses(t *testing.T) {
	w := needWorld(t)
	e := w.startEximRefusing(t, peers.EximConfig{
		Main: "recipients_max = 2\ndsn_advertise_hosts = *",
		MailACL: `  deny message = 550 5.7.1 this account may not send as $sender_address
    condition = ${if match{$sender_helo_name}{never}}
  defer message = 451 4.7.1 not at this time
    senders = mail-defer@example.net
  deny message = Sender ${quote:$sender_address} is not one of yours
    senders = mail-deny@example.net
`,
		RcptACL: `  deny message = 550 5.7.1 sending quota for today exceeded
    senders = rcpt-quota@example.net
  deny message = relay not permitted
    senders = rcpt-relay@example.net
  deny message = $sender_host_address is blacklisted at dnsbl.example.org, see http://dnsbl.example.org/?$sender_host_address
    senders = rcpt-listed@example.net
  defer message = please come back later
    senders = rcpt-defer@example.net
  deny message = administrative prohibition
    senders = rcpt-deny@example.net
  defer message = 450 4.7.1 Sender rate $sender_rate / $sender_rate_period exceeded, limit is $sender_rate_limit
    senders = rcpt-rate@example.net
    ratelimit = 2 / 1h / strict / per_rcpt / $sender_address
`,
		DataACL: `  deny message = 550 5.7.1 message has been classified as spam: Spam message rejected
    condition = ${if match{$h_subject:}{spam}}
  deny message = This message contains a virus (Eicar-Test-Signature).
    condition = ${if match{$h_subject:}{virus}}
  deny message = 554 5.7.1 we do not say why
    condition = ${if match{$h_subject:}{why}}
  defer message = 451 4.3.0 no time for this
    condition = ${if match{$h_subject:}{later}}
`,
	})
	for _, c := range []refusal{
		{from: "mail-defer", stage: "mail", says: "not at this time", scopes: []string{"temporary"}},
		{from: "mail-deny", stage: "mail", says: "not one of yours", scopes: []string{"sender", "unknown"}},
		{from: "rcpt-quota", stage: "rcpt", says: "quota for today", scopes: []string{"quota"}, status: "cooling"},
		{from: "rcpt-relay", stage: "rcpt", says: "relay not permitted", scopes: []string{"sender", "policy", "place"}},
		{from: "rcpt-listed", stage: "rcpt", says: "is blacklisted at", scopes: []string{"place"}, status: "cooling"},
		{from: "rcpt-defer", stage: "rcpt", says: "come back later", scopes: []string{"temporary"}},
		{from: "rcpt-deny", stage: "rcpt", says: "administrative prohibition", scopes: []string{"unknown"}},
		{from: "rcpt-rate", before: 2, stage: "rcpt", says: "Sender rate", scopes: []string{"quota", "temporary"}},
		{rcpt: "nobody-here", stage: "rcpt", says: "Unrouteable address", scopes: []string{"recipient", "unknown"}, bounces: true},
		{subject: "later", stage: "dot", says: "no time for this", scopes: []string{"temporary"}},
		{subject: "why", stage: "dot", says: "do not say why", scopes: []string{"unknown"}},
		{subject: "spam", stage: "dot", says: "Spam message rejected", scopes: []string{"message"}, bounces: true},
		{subject: "virus", stage: "dot", says: "contains a virus", scopes: []string{"message"}, bounces: true},
	} {
		t.Run(c.from+c.rcpt+c.subject, func(t *testing.T) {
			gw := w.startFailing(t, "", e.table, w.second())
			c.run(t, w, e.mail, gw)
		})
	}
}

// TestTooManyRecipients: what is one too many for a transaction goes in the next
// one, to the same upstream, and everybody gets one copy.
func TestTooManyRecipients(t *testing.T) {
	w := needWorld(t)
	r := w.startRefusing(t, nil, map[string]map[string]string{"many": {"smtpd_recipient_limit": "2", "smtpd_recipient_overshoot_limit": "1000"}})
	e := w.startEximRefusing(t, peers.EximConfig{Main: "recipients_max = 2"})
	for name, c := range map[string]struct {
		table string
		mail  mailbox
	}{"postfix": {plain("first", r.ports["many"]), r.mail}, "exim": {e.table, e.mail}} {
		t.Run(name, func(t *testing.T) {
			gw := w.startFailing(t, "", c.table, w.second())
			names := w.fresh(t, 8)
			from, to := names[0], names[1:]
			var addresses []string
			for _, n := range to {
				addresses = append(addresses, n+"@example.net")
			}
			submit(t, gw.gateway, from+"@example.net", addresses...)
			for _, n := range to {
				c.mail.await(t, n)
			}
			refusal{}.absent(t, from, c.mail, maildir(w.eximMail))
			for _, n := range to {
				refusal{}.absent(t, n, maildir(w.eximMail))
			}
		})
	}
}

// eximRefusing is an Exim that refuses, as an upstream.
type eximRefusing struct {
	mail  mailbox
	table string
}

func (w *world) startEximRefusing(t *testing.T, cfg peers.EximConfig) eximRefusing {
	t.Helper()
	binary, why := fetchExim(t.Context())
	if why != "" {
		t.Skip(why)
	}
	cert, key, err := w.ca.Server("refusing")
	if err != nil {
		t.Fatal(err)
	}
	dir := w.open(t)
	cfg.Binary, cfg.Dir, cfg.Cert, cfg.Key = binary, filepath.Join(dir, "exim"), cert, key
	cfg.Username, cfg.Password, cfg.Mail, cfg.Domains, cfg.Users = username, password, filepath.Join(dir, "mail"), []string{"example.net"}, recipients()
	for _, p := range []*int{&cfg.Port, &cfg.PortTLS} {
		if *p, err = peers.FreePort(); err != nil {
			t.Fatal(err)
		}
	}
	e, err := peers.StartExim(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := e.Close(); err != nil {
			t.Error(err)
		}
		if t.Failed() {
			t.Logf("Exim's log:\n%s", e.Log())
		}
	})
	table := strings.Replace(w.second(), `"second"`, `"first"`, 1)
	table = strings.Replace(table, w.url("smtp", w.ports.eximStartTLS), w.url("smtp", cfg.Port), 1)
	return eximRefusing{maildir(cfg.Mail), table}
}
