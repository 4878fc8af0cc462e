package dsn

import (
	"bytes"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"mailroam/queue"
)

// FuzzNew holds that nothing from outside can add a field or a part, or an octet
// or a line that the way does not carry.
func FuzzNew(f *testing.F) {
	evil := "no\r\nX-Evil: 1\r\n\r\n--=_\x00\x1b[2J Ümläut \u202e\xff"
	f.Add("bob@example.net", "550 no", "5.1.1", "rfc822;bob@example.net", "QQ314159", "1@example.com", "Subject: x\r\n", "a body\r\n", "ann@example.com", uint8(0))
	f.Add("jörg@example.net", "no", "5.1.1", `utf-8;j\x{F6}rg@example.net`, "+0D+0Ax", "1", "Subject: =?utf-8?q?J=F6?=\r\n", "Subject: ü\r\n\r\nü\r\n", "jörg@example.com", uint8(0xff))
	for i := range uint8(16) {
		f.Add(evil, evil, evil, "rfc822;"+evil, evil, evil, evil, evil, evil, i)
		f.Add(strings.Repeat("ü", 700), strings.Repeat("\u202e", 700), "5.1.1", "utf-8;"+strings.Repeat(`ü`, 700), strings.Repeat("+20", 700), "", strings.Repeat("x", 2000), strings.Repeat("é=", 90_000), strings.Repeat("a", 2000), i)
	}
	f.Fuzz(func(t *testing.T, address, text, enhanced, orcpt, envid, messageID, header, body, from string, flags uint8) {
		answer := queue.Answer{Upstream: text, Code: 550, Enhanced: enhanced, Text: text, Scope: []string{"", "size", "message", "unknown"}[flags>>6]}
		e := queue.Recipient{Address: address, State: queue.Failed, ORcpt: orcpt, Last: answer, Said: []queue.Answer{{Upstream: "b", Text: text}, answer}}
		r := Report{
			Kind: []Kind{Failed, Delayed, Relayed}[int(flags)%3], Hostname: "gw.example.org",
			Message: queue.Message{
				ID: queue.ID{1}, ReversePath: from, Accepted: time.Unix(1e9, 0),
				Content:  queue.Content{MessageID: messageID, UTF8: flags&1 != 0},
				Return:   queue.Return{EnvID: envid},
				Attempts: []queue.Attempt{{At: time.Unix(1e9, 0), Upstream: text, Endpoint: address + ":25"}},
			},
			About: []queue.Recipient{e, e}, Header: []byte(header), EightBit: flags&2 != 0,
			Until: time.Unix(2e9, 0), Last: flags&8 != 0, Now: time.Unix(1e9, 0),
		}
		if flags&4 != 0 {
			r.Body = []byte(body)
		}
		n, told := New(r)
		if len(n.Body) > queue.MaxNotice || told != 2 {
			t.Errorf("%d octets, told of %d", len(n.Body), told)
		}
		octets(t, n)
		got := parse(t, n.Body)
		if len(got.parts) > 3 || len(got.status) != 3 {
			t.Fatalf("%d parts, status %q", len(got.parts), got.status)
		}
		names := func(fields []string) []string {
			var list []string
			for _, f := range fields {
				name, _, _ := strings.Cut(f, ":")
				list = append(list, name)
			}
			return list
		}
		for _, name := range names(got.fields) {
			if !slices.Contains([]string{"From", "To", "Subject", "Date", "Message-Id", "In-Reply-To", "References", "Auto-Submitted", "Mime-Version", "Content-Type"}, name) {
				t.Errorf("a field was added to the header: %s", name)
			}
		}
		if strings.HasPrefix(got.parts[1].text, "\r\n") || !utf8.ValidString(got.parts[0].text) || !utf8.ValidString(got.parts[1].text) {
			t.Errorf("%q", got.parts[1].text)
		}
		if !r.Message.UTF8 && !ascii(got.parts[1].text) {
			t.Errorf("a status for 7 bits has others: %q", got.parts[1].text)
		}
		known := []string{"Original-Recipient", "Final-Recipient", "Action", "Status", "Remote-MTA", "Diagnostic-Code", "Last-Attempt-Date", "Final-Log-ID", "Will-Retry-Until"}
		for _, block := range got.status[1:] {
			next := 0
			for _, name := range names(block) {
				i := slices.Index(known[next:], name)
				if i < 0 {
					t.Fatalf("a field was added to the status, or it came twice: %q", block)
				}
				next += i + 1
			}
		}
	})
}

// octets holds that a notice is lines that pass where it says it does.
func octets(t *testing.T, n queue.NewMessage) {
	t.Helper()
	head, _, _ := bytes.Cut(n.Body, []byte("\r\n\r\n"))
	if !n.UTF8 && !ascii(string(head)) || !utf8.Valid(head) {
		t.Errorf("its header needs SMTPUTF8, or is no UTF-8 at all: %q", head)
	}
	if !n.EightBit && !ascii(string(n.Body)) {
		t.Error("it has octets above 127 and does not say so")
	}
	for l := range bytes.Lines(n.Body) {
		text, whole := bytes.CutSuffix(l, []byte("\r\n"))
		if !whole || len(text) > maxLine || bytes.ContainsAny(text, "\r\n\x00") {
			t.Fatalf("a line of %d octets, or one that ends in the middle: %.200q", len(l), l)
		}
	}
}
