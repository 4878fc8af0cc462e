package dsn

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"time"

	"mailroam/queue"
)

func report(about ...queue.Recipient) Report {
	at := time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC)
	return Report{
		Hostname: "gw.example.org",
		Message: queue.Message{
			ID: queue.ID{1, 2, 3}, ReversePath: "ann@example.com", Accepted: at, Content: queue.Content{MessageID: "1@example.com"},
			Attempts: []queue.Attempt{{At: at.Add(time.Minute), Upstream: "work", Endpoint: "mail.example.com:465"}},
		},
		Kind: Failed, About: about,
		Header: []byte("Subject: Lunch\r\nFrom: ann@example.com\r\nX-Long: " + strings.Repeat("x", 300) + "\r\n"),
		Now:    at.Add(time.Hour),
	}
}

func failed(address, text string) queue.Recipient {
	return queue.Recipient{Address: address, State: queue.Failed, Last: queue.Answer{Upstream: "work", Code: 550, Enhanced: "5.1.1", Text: text, At: time.Unix(1e9, 0).UTC()}}
}

func TestFailed(t *testing.T) {
	r := report(failed("bob@example.net", "no such user"), queue.Recipient{Address: "cy@example.net", State: queue.Expired})
	r.Message.Return.EnvID = "QQ+2B31+3D"
	r.About[0].ORcpt = "rfc822;Bob+2Bx@example.net"
	r.About[0].Said = []queue.Answer{{Upstream: "backup", Code: 550, Text: "unknown"}, {Upstream: "work", Code: 450, Text: "an older answer"}}
	n, told := New(r)
	if n.ReversePath != "" || !n.Notice || !n.Automatic || len(n.Recipients) != 1 || n.Recipients[0].Address != "ann@example.com" || n.UTF8 || n.EightBit || told != 2 {
		t.Errorf("%+v, told of %d", n, told)
	}
	got := read(t, n.Body)
	for _, want := range [][2]string{
		{"From", "Mail gateway <MAILER-DAEMON@gw.example.org>"},
		{"To", "ann@example.com"},
		{"Subject", "Not delivered: your message to bob@example.net and 1 more"},
		{"Auto-Submitted", "auto-replied"},
		{"In-Reply-To", "<1@example.com>"},
		{"References", "<1@example.com>"},
		{"Message-ID", "<" + n.MessageID + ">"},
	} {
		if v := got.header(want[0]); v != want[1] {
			t.Errorf("%s: %s, want %s", want[0], v, want[1])
		}
	}
	if s := got.shape(); s != "delivery-status: text/plain message/delivery-status text/rfc822-headers" {
		t.Errorf("it is %s", s)
	}
	text := got.parts[0].text
	for _, want := range []string{
		"Your message “Lunch” of 2 January 2030, 03:04 UTC could not be delivered to:",
		"bob@example.net", "There is no such mailbox.", "work answered: 550 5.1.1 no such user", "backup answered: 550 unknown",
		"No mail server took it in time.", "mailroam queue show " + r.Message.ID.String(),
	} {
		if !strings.Contains(text, want) {
			t.Errorf("the text for people lacks %q:\n%s", want, text)
		}
	}
	if strings.Contains(text, "an older answer") {
		t.Errorf("the text for people has an old answer:\n%s", text)
	}
	if !strings.Contains(got.parts[2].text, "Subject: Lunch\n") {
		t.Errorf("the header came back as %q", got.parts[2].text)
	}
	got.wantStatus(
		t,
		[]string{"Original-Envelope-Id: QQ+31=", "Reporting-MTA: dns; gw.example.org", "Arrival-Date: Wed, 02 Jan 2030 03:04:05 +0000"},
		[]string{
			"Original-Recipient: rfc822; Bob+x@example.net", "Final-Recipient: rfc822; bob@example.net", "Action: failed", "Status: 5.1.1",
			"Remote-MTA: dns; mail.example.com", "Diagnostic-Code: smtp; 550 5.1.1 no such user",
			"Last-Attempt-Date: Wed, 02 Jan 2030 03:05:05 +0000", "Final-Log-ID: " + r.Message.ID.String(),
		},
		[]string{"Final-Recipient: rfc822; cy@example.net", "Action: failed", "Status: 4.4.7", "Final-Log-ID: " + r.Message.ID.String()},
	)
}

func TestDelayed(t *testing.T) {
	r := report(
		queue.Recipient{Address: "bob@example.net", State: queue.Pending, Last: queue.Answer{Upstream: "work", Code: 550, Enhanced: "5.7.1", Text: "not from you", Scope: "sender"}},
		queue.Recipient{Address: "cy@example.net", State: queue.Pending},
	)
	r.Kind, r.Until = Delayed, r.Now.Add(5*24*time.Hour)
	n, _ := New(r)
	got := read(t, n.Body)
	if s := got.header("Subject"); s != "Delayed, still being tried: your message to bob@example.net and 1 more" {
		t.Errorf("Subject: %s", s)
	}
	for _, want := range []string{"could not be delivered yet", "does not let you send with this sender address", "Send from another address of yours", "You need not send it again", "until 7 January 2030, 04:04 UTC"} {
		if !strings.Contains(got.parts[0].text, want) {
			t.Errorf("the text for people lacks %q:\n%s", want, got.parts[0].text)
		}
	}
	got.wantStatus(
		t,
		[]string{"Reporting-MTA: dns; gw.example.org", "Arrival-Date: Wed, 02 Jan 2030 03:04:05 +0000"},
		[]string{
			"Final-Recipient: rfc822; bob@example.net", "Action: delayed", "Status: 4.7.1", "Remote-MTA: dns; mail.example.com",
			"Diagnostic-Code: smtp; 550 5.7.1 not from you", "Last-Attempt-Date: Wed, 02 Jan 2030 03:05:05 +0000",
			"Final-Log-ID: " + r.Message.ID.String(), "Will-Retry-Until: Mon, 07 Jan 2030 04:04:05 +0000",
		},
		[]string{
			"Final-Recipient: rfc822; cy@example.net", "Action: delayed", "Status: 4.4.1",
			"Final-Log-ID: " + r.Message.ID.String(), "Will-Retry-Until: Mon, 07 Jan 2030 04:04:05 +0000",
		},
	)
}

func TestRelayed(t *testing.T) {
	r := report(queue.Recipient{Address: "bob@example.net", State: queue.Delivered, Last: queue.Answer{Upstream: "work", Code: 250, Enhanced: "2.0.0", Text: "queued"}})
	r.Kind = Relayed
	n, _ := New(r)
	got := read(t, n.Body)
	for _, want := range []string{"was passed on to the next mail server for:", "work answered: 250 2.0.0 queued", "tells no more"} {
		if !strings.Contains(got.parts[0].text, want) {
			t.Errorf("the text for people lacks %q:\n%s", want, got.parts[0].text)
		}
	}
	if s := strings.Join(got.status[1], "\n"); !strings.Contains(s, "Action: relayed\nStatus: 2.0.0\n") {
		t.Errorf("status:\n%s", s)
	}
}

// TestLast: who gets many notices hears when they end, and where the rest is.
func TestLast(t *testing.T) {
	r := report(failed("bob@example.net", "no"))
	r.Last = true
	n, _ := New(r)
	if text := read(t, n.Body).parts[0].text; !strings.Contains(text, "no more are sent to you for\na while") || !strings.Contains(text, "mailroam queue list --state done") {
		t.Errorf("%s", text)
	}
}

// TestReturned: what goes back of the message, and how it is written, by what
// its sender asked for and the way can carry.
func TestReturned(t *testing.T) {
	plain := "Subject: Lunch\r\n\r\nhello\r\n"
	umlaut := "Subject: Gr\u00fc\u00dfe\r\n\r\nhello\r\n"
	head := func(s string) string { return s[:strings.Index(s, "\r\n\r\n")+2] }
	cases := []struct {
		name     string
		message  string
		full     bool
		utf8     bool
		eightBit bool
		from     string

		kind, encoding, text string
		needs                string
	}{
		{"header only", plain, false, false, false, "", "text/rfc822-headers", "7bit", head(plain), ""},
		{"all of it", plain, true, false, false, "", "message/rfc822", "7bit", plain, ""},
		{"8-bit header", umlaut, false, false, false, "", "text/rfc822-headers", "quoted-printable", head(umlaut), ""},
		{"8-bit header on an 8-bit way", umlaut, false, false, true, "", "text/rfc822-headers", "8bit", head(umlaut), "8bit"},
		{"8-bit message on a 7-bit way", umlaut, true, false, false, "", "text/rfc822-headers", "quoted-printable", head(umlaut), ""},
		{"8-bit message on an 8-bit way", umlaut, true, false, true, "", "message/rfc822", "8bit", umlaut, "8bit"},
		{"UTF-8 header", umlaut, false, true, false, "", "message/global-headers", "quoted-printable", head(umlaut), ""},
		{"UTF-8 header on an 8-bit way", umlaut, false, true, true, "", "message/global-headers", "8bit", head(umlaut), "8bit"},
		{"UTF-8 message", umlaut, true, true, false, "", "message/global", "quoted-printable", umlaut, ""},
		{"UTF-8 message on an 8-bit way", umlaut, true, true, true, "", "message/global", "8bit", umlaut, "8bit"},
		{"UTF-8 sender", umlaut, true, true, false, "j\u00f6rg@example.com", "message/global", "8bit", umlaut, "8bit utf8"},
		{"too large", plain + strings.Repeat("a line\r\n", 40_000), true, false, false, "", "text/rfc822-headers", "7bit", head(plain), ""},
		{"an endless line", plain + strings.Repeat("x", 2000) + "\r\n", true, false, false, "", "text/rfc822-headers", "7bit", head(plain), ""},
	}
	var made []queue.NewMessage
	var bodies [][]byte
	for _, c := range cases {
		r := report(failed("bob@example.net", "no"))
		r.Header, r.EightBit, r.Message.UTF8 = []byte(head(c.message)), c.eightBit, c.utf8
		if c.full {
			r.Body = []byte(c.message)
		}
		if c.from != "" {
			r.Message.ReversePath = c.from
		}
		n, _ := New(r)
		made, bodies = append(made, n), append(bodies, n.Body)
	}
	trim := func(s string) string { return strings.TrimRight(strings.ReplaceAll(s, "\r\n", "\n"), "\n") }
	for i, got := range readAll(t, bodies...) {
		c, got := cases[i], got.parts[2]
		if got.kind != c.kind || got.encoding != c.encoding || trim(got.text) != trim(c.text) {
			t.Errorf("%s: %s, %s: %.200q\nwant %s, %s: %.200q", c.name, got.kind, got.encoding, got.text, c.kind, c.encoding, c.text)
		}
		needs := ""
		if made[i].EightBit {
			needs += " 8bit"
		}
		if made[i].UTF8 {
			needs += " utf8"
		}
		if strings.TrimSpace(needs) != c.needs {
			t.Errorf("%s: it needs %q, want %q", c.name, needs, c.needs)
		}
	}
}

// TestAddresses: the types of RFC 6533, by what the message was.
func TestAddresses(t *testing.T) {
	cases := []struct {
		name            string
		utf8            bool
		orcpt, address  string
		original, final string
	}{
		{"ASCII", false, "rfc822;bob+2Ba+40b@example.net", "bob@example.net", "rfc822; bob+a@b@example.net", "rfc822; bob@example.net"},
		{"ASCII for a UTF-8 message", true, "", "bob@example.net", "", "rfc822; bob@example.net"},
		{"UTF-8", true, "utf-8;j\u00f6rg@example.net", "j\u00f6rg@example.net", "utf-8; j\u00f6rg@example.net", "utf-8; j\u00f6rg@example.net"},
		{"UTF-8 that came in ASCII", true, `utf-8;j\x{F6}rg\x{2B}a@example.net`, "j\u00f6rg@example.net", "utf-8; j\u00f6rg+a@example.net", "utf-8; j\u00f6rg@example.net"},
		{"UTF-8 in an ASCII message", false, `utf-8;j\x{F6}rg\x{2B}a@example.net`, "bob@example.net", `utf-8; j\x{F6}rg\x{2B}a@example.net`, "rfc822; bob@example.net"},
		{"a recipient beyond ASCII of an ASCII report", false, "", "j\u00f6rg+a@example.net", "", `utf-8; j\x{F6}rg\x{2B}a@example.net`},
		{"another type", false, "x400;+2Fc=us", "bob@example.net", "x400; /c=us", "rfc822; bob@example.net"},
		{"no xtext", false, "rfc822;a+zz", "bob@example.net", "rfc822; a+zz", "rfc822; bob@example.net"},
		{"a hidden field", false, "rfc822;a+0D+0ABcc:+20x", "bob@example.net", "rfc822; a+0D+0ABcc:+20x", "rfc822; bob@example.net"},
		{"no type", false, "bob@example.net", "bob@example.net", "", "rfc822; bob@example.net"},
	}
	var bodies [][]byte
	for _, c := range cases {
		r := report(failed(c.address, "no"))
		r.Message.UTF8, r.About[0].ORcpt = c.utf8, c.orcpt
		n, _ := New(r)
		bodies = append(bodies, n.Body)
	}
	for i, got := range readAll(t, bodies...) {
		c := cases[i]
		want := []string{"Final-Recipient: " + c.final}
		if c.original != "" {
			want = []string{"Original-Recipient: " + c.original, want[0]}
		}
		if have := got.status[1][:len(want)]; strings.Join(have, "\n") != strings.Join(want, "\n") {
			t.Errorf("%s: %q\nwant %q", c.name, have, want)
		}
		kind := "delivery-status"
		if c.utf8 {
			kind = "global-delivery-status"
		}
		if got.reportType != kind || got.parts[1].kind != "message/"+kind {
			t.Errorf("%s: report-type %s, part %s, want %s", c.name, got.reportType, got.parts[1].kind, kind)
		}
	}
}

// TestAlone: of whom there is no room to tell, it is told how many they are.
func TestAlone(t *testing.T) {
	var rs []queue.Recipient
	for i := range 5000 {
		rs = append(rs, failed(fmt.Sprintf("user%d@example.net", i), "no"))
	}
	r := report(rs...)
	r.Alone = true
	n, told := New(r)
	got := parse(t, n.Body)
	if want := fmt.Sprintf("and %d more, for whom there is no room here", len(rs)-told); !strings.Contains(got.parts[0].text, want) || told == len(rs) {
		t.Errorf("it does not say %q", want)
	}
	if s := got.header("Subject"); !strings.HasSuffix(s, "user0@example.net and 4999 more") {
		t.Errorf("Subject: %s", s)
	}
}

// TestManyRecipientsStaySmall holds that the store takes a notice, whatever is
// in it, and that several tell of all.
func TestManyRecipientsStaySmall(t *testing.T) {
	for _, utf8 := range []bool{false, true} {
		var rs []queue.Recipient
		for i := range 200 {
			e := failed(fmt.Sprintf("user%d@%s.example.net", i, strings.Repeat("é", 150)), strings.Repeat("ü=\x00", 500))
			e.ORcpt = "utf-8;" + strings.Repeat(`\x{1F600}`, 50)
			for k := range 5 {
				e.Said = append(e.Said, queue.Answer{Upstream: fmt.Sprint("up", k), Code: 550, Text: strings.Repeat("ü=\x00", 200)})
			}
			rs = append(rs, e)
		}
		seen := 0
		for rest := rs; len(rest) > 0; {
			r := report(rest...)
			r.Message.UTF8 = utf8
			r.Header = bytes.Repeat([]byte("X: é=\x00\r\n"), 10_000)
			r.Body = r.Header
			n, told := New(r)
			if len(n.Body) > queue.MaxNotice || told < 10 && told < len(rest) {
				t.Fatalf("%d octets for %d recipients", len(n.Body), told)
			}
			got := parse(t, n.Body)
			if len(got.parts) != 3 || len(got.status) != told+1 {
				t.Errorf("%d parts, %d of %d recipients are reported", len(got.parts), len(got.status)-1, told)
			}
			seen += told
			rest = rest[told:]
		}
		if seen != len(rs) {
			t.Errorf("%d of %d recipients are reported", seen, len(rs))
		}
	}
}
