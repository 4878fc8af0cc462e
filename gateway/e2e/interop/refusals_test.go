package interop

import (
	"cmp"
	"slices"
	"strings"
	"testing"
	"time"
)

// refusal is a way in which a real server refuses a message that it would take
// otherwise, and what follows from the tables of verdicts.
type refusal struct {
	listener string
	// The message.
	header  string // added
	subject string
	from    string // local part; "" is one that has a mailbox
	rcpt    string // a mailbox; "" is one that exists
	domain  string // of the recipient; "" is example.net
	large   bool
	before  int // messages that it takes first

	stage   string
	says    string   // part of the reply
	scopes  []string // whose fault it is; one of them
	bounces bool     // else the second upstream has it,
	waits   bool     // or nobody
	status  string   // of the upstream afterwards, in a word; "" for up
	probed  bool     // a probe saw it as well, and maybe first
	passed  bool     // its EHLO said so, and a probe may have heard that first
	counted bool     // a probe's connection counts, and must come first
}

// TestPostfixRefuses: whatever a Postfix refuses for, the message arrives by the
// second upstream, once, or bounces where every upstream would refuse it; and
// `queue show` and `status` say why.
func TestPostfixRefuses(t *testing.T) {
	w := needWorld(t)
	static := func(action string) string { return "static:{" + action + "}" }
	r := w.startRefusing(t, map[string]string{
		"header_checks":                "regexp:" + file(t, "header_checks", []byte("/^X-Refuse: content/ REJECT\n/^X-Refuse: spam/ REJECT Spam message rejected\n/^X-Refuse: form/ REJECT 5.6.0 this form of message is not taken\n/^X-Refuse: why/ REJECT we do not say why\n")),
		"smtpd_client_restrictions":    "",
		"anvil_rate_time_unit":         "600s",
		"smtpd_soft_error_limit":       "100",
		"smtpd_error_sleep_time":       "0",
		"smtpd_recipient_limit":        "1000",
		"smtpd_client_port_logging":    "no",
		"smtpd_reject_unlisted_sender": "no",
	}, map[string]map[string]string{
		"open":         {},
		"sender":       {"smtpd_sender_restrictions": "check_sender_access " + static("REJECT 5.7.1 not owned by you")},
		"sender-defer": {"smtpd_sender_restrictions": "check_sender_access " + static("DEFER 4.7.1 not now")},
		"sender-quota": {"smtpd_sender_restrictions": "check_sender_access " + static("REJECT 5.7.1 daily sending limit exceeded")},
		"client":       {"smtpd_client_restrictions": "reject"},
		"greeting":     {"smtpd_client_restrictions": "reject", "smtpd_delay_reject": "no"},
		"helo":         {"smtpd_helo_restrictions": "check_helo_access " + static("REJECT no such name")},
		"recipient":    {"smtpd_recipient_restrictions": "check_recipient_access " + static("REJECT 5.7.1 not from you")},
		"busy":         {"smtpd_recipient_restrictions": "check_recipient_access " + static("450 4.2.1 mailbox busy")},
		"data":         {"smtpd_data_restrictions": "check_sender_access " + static("REJECT 5.7.1 no data from you")},
		"shut":         {"smtpd_sender_restrictions": "check_sender_access " + static("421 4.3.2 closing for today")},
		"rate":         {"smtpd_client_message_rate_limit": "1", "smtpd_client_event_limit_exceptions": ""},
		"connections":  {"smtpd_client_connection_rate_limit": "1", "smtpd_client_event_limit_exceptions": ""},
		"size":         {"message_size_limit": "2000"},
		"policy":       {"smtpd_recipient_restrictions": "check_policy_service inet:" + policyServer(t, "REJECT Your daily quota of 300 messages is exceeded")},
		"policy-defer": {"smtpd_recipient_restrictions": "check_policy_service inet:" + policyServer(t, "DEFER_IF_PERMIT Hourly limit reached, please try again later")},
		"policy-away":  {"smtpd_recipient_restrictions": "check_policy_service inet:127.0.0.1:9"},
		"end-of-data":  {"smtpd_end_of_data_restrictions": "check_policy_service inet:" + policyServer(t, "REJECT 5.7.1 Your account has sent too much today")},
	})
	for _, c := range []refusal{
		{listener: "sender", stage: "rcpt", says: "Sender address rejected: not owned by you", scopes: []string{"sender"}},
		{listener: "sender-defer", stage: "rcpt", says: "Sender address rejected: not now", scopes: []string{"temporary"}},
		{listener: "sender-quota", stage: "rcpt", says: "daily sending limit exceeded", scopes: []string{"quota", "sender"}},
		{listener: "client", stage: "rcpt", says: "Client host rejected", scopes: []string{"policy", "place"}},
		{listener: "greeting", probed: true, says: "Client host rejected"},
		{listener: "helo", stage: "rcpt", says: "Helo command rejected", scopes: []string{"policy"}},
		{listener: "open", domain: "example.com", stage: "rcpt", says: "Relay access denied", scopes: []string{"sender"}},
		{listener: "recipient", stage: "rcpt", says: "Recipient address rejected", scopes: []string{"policy"}},
		{listener: "open", rcpt: "nobody-here", stage: "rcpt", says: "User unknown", scopes: []string{"recipient"}, bounces: true},
		{listener: "busy", stage: "rcpt", says: "mailbox busy", scopes: []string{"recipient"}, waits: true},
		{listener: "connections", counted: true, stage: "greeting", says: "too many connections", scopes: []string{"connections"}, status: "cooling"},
		{listener: "data", stage: "data", says: "no data from you", scopes: []string{"policy", "unknown", "sender"}},
		{listener: "shut", stage: "rcpt", says: "closing for today", scopes: []string{"session"}, status: "cooling"},
		{listener: "rate", before: 1, stage: "mail", says: "too much mail", scopes: []string{"quota", "temporary"}},
		{listener: "size", large: true, passed: true, stage: "mail", says: "5.3.4", scopes: []string{"size"}},
		{listener: "policy", stage: "rcpt", says: "daily quota", scopes: []string{"quota"}, status: "cooling"},
		{listener: "policy-defer", stage: "rcpt", says: "Hourly limit", scopes: []string{"quota", "temporary"}},
		{listener: "policy-away", stage: "rcpt", says: "Server configuration problem", scopes: []string{"temporary"}},
		{listener: "end-of-data", stage: "dot", says: "sent too much today", scopes: []string{"quota", "unknown", "account"}},
		{listener: "open", header: "X-Refuse: why\n", stage: "dot", says: "do not say why", scopes: []string{"unknown"}},
		{listener: "open", header: "X-Refuse: content\n", stage: "dot", says: "message content rejected", scopes: []string{"message"}, bounces: true},
		{listener: "open", header: "X-Refuse: spam\n", stage: "dot", says: "Spam message rejected", scopes: []string{"message"}, bounces: true},
		{listener: "open", header: "X-Refuse: form\n", stage: "dot", says: "5.6.0", scopes: []string{"message"}, bounces: true},
	} {
		t.Run(strings.TrimSpace(c.listener+" "+strings.TrimSpace(c.header)+c.rcpt+c.domain), func(t *testing.T) {
			gw := w.startFailing(t, "", plain("first", r.ports[c.listener]), w.second())
			c.run(t, w, r.mail, gw)
		})
	}
}

// run sends a message and holds what became of it.
func (c refusal) run(t *testing.T, w *world, first mailbox, gw *failing) {
	domain := "@example.net"
	if c.domain != "" {
		domain = "@" + c.domain
	}
	for range c.before {
		to := w.fresh(t, 1)[0]
		c.submit(t, gw, cmp.Or(c.from, to)+"@example.net", to+domain)
		first.await(t, to)
	}
	if c.counted {
		awaitLog(t, gw.Log, func(log string) bool { return strings.Contains(log, "upstream=first state=up") })
	}
	names := w.fresh(t, 2)
	names[0], names[1] = cmp.Or(c.from, names[0]), cmp.Or(c.rcpt, names[1])
	from, to := names[0]+"@example.net", names[1]+domain
	c.submit(t, gw, from, to)
	second := maildir(w.eximMail)
	switch {
	case c.waits:
		awaitLog(t, gw.Log, func(log string) bool { return strings.Contains(log, "deferred") })
		c.absent(t, names[1], first, second)
		c.absent(t, names[0], first, second)
	case c.bounces:
		n := c.notice(t, second, first, names[0])
		for _, want := range []string{to, c.says} {
			if !strings.Contains(n.text, want) {
				t.Errorf("the notice does not say %q:\n%s", want, n.text)
			}
		}
		c.absent(t, names[1], first, second)
	default:
		second.await(t, names[1])
		c.absent(t, names[0], first, second) // no notice
		c.absent(t, names[1], first)
	}
	m, status := gw.to(t, to), gw.says(t, "status")
	if c.probed {
		if !strings.Contains(status, c.says) || strings.Contains(line(status, "first"), " up ") {
			t.Errorf("`status` does not say %q:\n%s", c.says, status)
		}
		return
	}
	a := m.Timeline[0]
	if c.passed && a.Upstream == "second" {
		return
	}
	if a.Upstream != "first" || a.Stage != c.stage || !strings.Contains(a.Text, c.says) || !slices.Contains(c.scopes, a.Scope) {
		t.Errorf("first attempt %+v, want %q at %s for one of %q", a, c.says, c.stage, c.scopes)
	}
	if a.Rule == "" || a.Why == "" {
		t.Errorf("nobody is told why: %+v", a)
	}
	if shown := gw.says(t, "queue", "show", m.ID); !strings.Contains(shown, a.Why) || !strings.Contains(shown, c.says) {
		t.Errorf("`queue show` does not say why:\n%s", shown)
	}
	if want := cmp.Or(c.status, "up"); len(c.scopes) == 1 && !strings.Contains(line(status, "first"), " "+want+" ") {
		t.Errorf("`status` does not say that first is %s:\n%s", want, status)
	}
	if c.status != "" && !strings.Contains(status, c.says) {
		t.Errorf("`status` does not say why:\n%s", status)
	}
}

// TestNobodyTakesThatMuch: a message that is too large for every upstream ends,
// and its sender is told the limit.
func TestNobodyTakesThatMuch(t *testing.T) {
	w := needWorld(t)
	r := w.startRefusing(t, map[string]string{"message_size_limit": "5000"}, map[string]map[string]string{"a": {}, "b": {}})
	gw := w.startFailing(t, "", plain("first", r.ports["a"]), plain("second", r.ports["b"]))
	c := refusal{large: true, says: "5000"}
	names := w.fresh(t, 2)
	c.submit(t, gw, names[0]+"@example.net", names[1]+"@example.net")
	n := c.notice(t, r.mail, maildir(w.eximMail), names[0])
	if n.Fields[1]["status"] != "5.3.4" || !strings.Contains(n.text, c.says) {
		t.Errorf("the notice does not tell the limit:\n%s", n.text)
	}
	c.absent(t, names[1], r.mail)
}

// line is the first that begins so.
func line(text, prefix string) string {
	for l := range strings.Lines(text) {
		if strings.HasPrefix(l, prefix) {
			return l
		}
	}
	return ""
}

func (c refusal) submit(t *testing.T, gw *failing, from, to string) {
	t.Helper()
	_, port, _ := strings.Cut(gw.addr, ":")
	m := message{name: "refusal", from: from, header: "From: " + from + "\nSubject: " + c.subject + "\n" + c.header, body: "text\n"}
	if c.large {
		m.body = strings.Repeat(strings.Repeat("x", 70)+"\n", 100)
	}
	if err := goSMTPClient(t, port, m, []string{to}); err != nil {
		t.Fatal(err)
	}
}

// humanNotice is what a person reads of a notice.
type humanNotice struct {
	report
	text string
}

// notice waits for the one notice to a sender, which may come by either.
func (c refusal) notice(t *testing.T, a, b mailbox, name string) humanNotice {
	t.Helper()
	both := mailbox(func(name string) ([][]byte, error) {
		got, err := a(name)
		more, err2 := b(name)
		if err == nil {
			err = err2
		}
		return append(got, more...), err
	})
	raw := both.await(t, name)
	n := humanNotice{parseReport(t, raw), string(raw)}
	if n.ReportType != "delivery-status" || len(n.Defects) > 0 || len(n.Fields) < 2 || n.Fields[1]["action"] != "failed" {
		t.Errorf("no readable notice of failure: %+v", n.report)
	}
	return n
}

// absent says that nothing for a name is anywhere, and stays so for a moment.
func (c refusal) absent(t *testing.T, name string, boxes ...mailbox) {
	t.Helper()
	time.Sleep(200 * time.Millisecond)
	for _, m := range boxes {
		if got, err := m(name); err != nil || len(got) > 0 {
			t.Errorf("%s got %d messages (%v)", name, len(got), err)
		}
	}
}
