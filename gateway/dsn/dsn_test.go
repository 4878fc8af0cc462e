package dsn

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"net/mail"
	"net/textproto"
	"strings"
	"testing"
	"time"

	"mailroam/queue"
)

func report(ended ...queue.Recipient) Report {
	at := time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC)
	return Report{
		Hostname: "gw.example.org",
		Message:  queue.Message{ID: queue.NewID(), ReversePath: "ann@example.com", Accepted: at},
		Kind:     Failed, About: ended,
		Header: []byte("Subject: Grüße\r\nFrom: ann@example.com\r\nX-Long: " + strings.Repeat("x", 300) + "\r\n"),
		Now:    at.Add(time.Hour),
	}
}

func failed(address, text string) queue.Recipient {
	return queue.Recipient{Address: address, State: queue.Failed, Last: queue.Answer{Upstream: "work", Code: 550, Enhanced: "5.1.1", Text: text, At: time.Unix(1e9, 0).UTC()}}
}

// parts reads a notice the way a mail program does.
func parts(t *testing.T, body []byte) (mail.Header, []string, []string) {
	t.Helper()
	m, err := mail.ReadMessage(bytes.NewReader(body))
	if err != nil {
		t.Fatalf("%v\n%s", err, body)
	}
	kind, params, err := mime.ParseMediaType(m.Header.Get("Content-Type"))
	if err != nil || kind != "multipart/report" || params["report-type"] != "delivery-status" {
		t.Fatalf("Content-Type %q: %v", m.Header.Get("Content-Type"), err)
	}
	var kinds, texts []string
	for r := multipart.NewReader(m.Body, params["boundary"]); ; {
		p, err := r.NextPart() // decodes quoted-printable
		if err == io.EOF {
			return m.Header, kinds, texts
		}
		if err != nil {
			t.Fatalf("%v\n%s", err, body)
		}
		text, err := io.ReadAll(p)
		if err != nil {
			t.Fatal(err)
		}
		kind, _, _ := strings.Cut(p.Header.Get("Content-Type"), ";")
		kinds, texts = append(kinds, kind), append(texts, string(text))
	}
}

func TestNew(t *testing.T) {
	n := New(report(failed("bob@example.net", "no such user"), queue.Recipient{Address: "cy@example.net", State: queue.Expired}))
	if n.ReversePath != "" || !n.Notice || len(n.Recipients) != 1 || n.Recipients[0].Address != "ann@example.com" {
		t.Errorf("envelope %q → %v, notice %v", n.ReversePath, n.Recipients, n.Notice)
	}
	h, kinds, texts := parts(t, n.Body)
	if got := h.Get("Auto-Submitted"); got != "auto-replied" {
		t.Errorf("Auto-Submitted: %q", got)
	}
	if _, err := h.Date(); err != nil {
		t.Errorf("Date: %v", err)
	}
	if got := fmt.Sprint(kinds); got != "[text/plain message/delivery-status text/rfc822-headers]" {
		t.Fatalf("parts %s", got)
	}
	for _, want := range []string{"bob@example.net", "550 5.1.1 no such user", "by way of work", "No mail server took it in time"} {
		if !strings.Contains(texts[0], want) {
			t.Errorf("the text for people lacks %q:\n%s", want, texts[0])
		}
	}
	if !strings.Contains(texts[2], "Subject: Grüße") {
		t.Errorf("the header came back as %q", texts[2])
	}

	r := textproto.NewReader(bufio.NewReader(strings.NewReader(texts[1])))
	whole, err := r.ReadMIMEHeader()
	if err != nil || whole.Get("Reporting-MTA") != "dns; gw.example.org" {
		t.Errorf("per message: %v %v", whole, err)
	}
	for _, want := range []struct{ rcpt, status, diagnostic string }{
		{"rfc822; bob@example.net", "5.1.1", "smtp; 550 5.1.1 no such user"},
		{"rfc822; cy@example.net", "4.4.7", ""},
	} {
		one, err := r.ReadMIMEHeader()
		if err != nil && err != io.EOF {
			t.Fatal(err)
		}
		if one.Get("Final-Recipient") != want.rcpt || one.Get("Status") != want.status || one.Get("Action") != "failed" || one.Get("Diagnostic-Code") != want.diagnostic {
			t.Errorf("per recipient: %v, want %+v", one, want)
		}
	}
}

// TestHostileAnswer holds that no text from outside can add a field, a part or
// an octet that 7-bit mail cannot carry.
func TestHostileAnswer(t *testing.T) {
	evil := "no\r\nX-Evil: 1\r\n\r\n--=_\x00\x1b[2J Ümläut \u202e"
	r := report(failed("bob@example.net\r\nBcc: x", evil))
	r.Header = []byte("Subject: --=_boundary\r\n\r\n--=_x\r\nlone\rreturn\x00\r\n")
	n := New(r)
	_, kinds, texts := parts(t, n.Body)
	if len(kinds) != 3 {
		t.Errorf("parts %v", kinds)
	}
	if strings.Contains(texts[1], "\nX-Evil") || strings.Contains(texts[1], "\nBcc") {
		t.Errorf("a field was added:\n%s", texts[1])
	}
	for i, c := range n.Body {
		if c > '~' || c < ' ' && c != '\r' && c != '\n' && c != '\t' {
			t.Fatalf("octet %#x at %d: …%q", c, i, n.Body[max(0, i-40):i+1])
		}
		if c == '\n' && n.Body[i-1] != '\r' || c == '\r' && n.Body[i+1] != '\n' {
			t.Fatalf("a bare line end at %d: %q", i, n.Body[max(0, i-40):i+1])
		}
	}
}

// TestManyRecipientsStaySmall holds that the store takes a notice, whatever is
// in it, and that MaxRecipients always have room.
func TestManyRecipientsStaySmall(t *testing.T) {
	for _, n := range []int{MaxRecipients, 1000} {
		var rs []queue.Recipient
		for i := range n {
			rs = append(rs, failed(fmt.Sprintf("user%d@%s.example.net", i, strings.Repeat("é", 150)), strings.Repeat("ü=\x00", 500)))
		}
		r := report(rs...)
		r.Header = bytes.Repeat([]byte("X: é=\x00\r\n"), 10_000)
		body := New(r).Body
		if len(body) > queue.MaxNotice {
			t.Errorf("%d octets for %d recipients", len(body), n)
		}
		_, kinds, texts := parts(t, body)
		if len(kinds) != 3 {
			t.Errorf("parts %v", kinds)
		}
		if got := strings.Count(texts[1], "Final-Recipient:"); got < MaxRecipients {
			t.Errorf("%d of %d recipients are reported", got, n)
		}
	}
}
