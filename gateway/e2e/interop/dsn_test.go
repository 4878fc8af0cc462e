package interop

import (
	"os/exec"
	"strings"
	"testing"
	"time"
)

// asksFor submits a message with the parameters of RFC 3461, by Python's
// smtplib.
func asksFor(t *testing.T, gw *failing, mail, rcpt []string, from string, to ...string) {
	t.Helper()
	const script = `
import ast, smtplib, sys
port, mail, rcpt, sender, to = int(sys.argv[1]), sys.argv[2].split(), sys.argv[3].split(), sys.argv[4], sys.argv[5:]
with smtplib.SMTP("127.0.0.1", port, local_hostname="client.example", timeout=30) as s:
    s.ehlo()
    if not s.has_extn("dsn"): sys.exit("the gateway does not offer DSN")
    def must(reply):
        if reply[0] // 100 not in (2, 3): sys.exit("refused: %r" % (reply,))
    must(s.mail(sender, mail))
    for r in to: must(s.rcpt(r, rcpt))
    must(s.data(b"From: " + sender.encode() + b"\r\nSubject: asks for notices\r\n\r\ntext\r\n"))
`
	_, port, _ := strings.Cut(gw.addr, ":")
	args := append([]string{"-c", script, port, strings.Join(mail, " "), strings.Join(rcpt, " "), from}, to...)
	if out, err := exec.CommandContext(t.Context(), "python3", args...).CombinedOutput(); err != nil {
		t.Fatalf("python3: %v: %s", err, out)
	}
}

var (
	asksMail = []string{"RET=HDRS", "ENVID=QQ314159+2B1"}
	asksRcpt = []string{"NOTIFY=SUCCESS,DELAY", "ORCPT=rfc822;Bob+2BJr@example.org"}
)

// TestNoticesArePassedOn: where the upstream offers DSN, what the sender asked
// for goes with the message, and the notice of success is the upstream's.
func TestNoticesArePassedOn(t *testing.T) {
	w := needWorld(t)
	r := w.startRefusing(t, nil, map[string]map[string]string{"open": {}})
	gw := w.startFailing(t, "", plain("first", r.ports["open"]))
	names := w.fresh(t, 2)
	asksFor(t, gw, asksMail, asksRcpt, names[0]+"@example.net", names[1]+"@example.net")
	r.mail.await(t, names[1])
	n := parseReport(t, r.mail.await(t, names[0]))
	if len(n.Fields) != 2 || !strings.Contains(n.Fields[0]["reporting-mta"], "postfix.test") || n.Fields[1]["action"] != "delivered" {
		t.Fatalf("want Postfix's notice of success, got %+v", n)
	}
	if got := n.Fields[0]["original-envelope-id"]; got != "QQ314159+1" { // decoded, RFC 3461 6.3
		t.Errorf("Original-Envelope-Id: %s", got)
	}
	if got := squeeze(n.Fields[1]["original-recipient"]); got != "rfc822;bob+jr@example.org" {
		t.Errorf("Original-Recipient: %s", got)
	}
	if n.Parts[2] != "text/rfc822-headers" { // RET=HDRS
		t.Errorf("it returns %s", n.Parts[2])
	}
	if log := gw.Log(); strings.Contains(log, "notified") {
		t.Error("a second notice, by the gateway")
	}
}

// TestNoticesWhereNoneAreOffered: an upstream without DSN cannot be asked, so
// the gateway says itself that the message was relayed (RFC 3461 5.2.2).
func TestNoticesWhereNoneAreOffered(t *testing.T) {
	w := needWorld(t)
	r := w.startRefusing(t, nil, map[string]map[string]string{"mute": {"smtpd_discard_ehlo_keywords": "dsn"}})
	gw := w.startFailing(t, "", plain("first", r.ports["mute"]))
	names := w.fresh(t, 2)
	asksFor(t, gw, asksMail, asksRcpt, names[0]+"@example.net", names[1]+"@example.net")
	r.mail.await(t, names[1])
	raw := r.mail.await(t, names[0])
	n := parseReport(t, raw)
	if len(n.Fields) != 2 || !strings.Contains(n.Fields[0]["reporting-mta"], hostname) || n.Fields[1]["action"] != "relayed" {
		t.Fatalf("want our notice that it was relayed, got %+v", n)
	}
	if got := n.Fields[0]["original-envelope-id"]; got != "QQ314159+1" {
		t.Errorf("Original-Envelope-Id: %s", got)
	}
	if got := squeeze(n.Fields[1]["original-recipient"]); got != "rfc822;bob+jr@example.org" {
		t.Errorf("Original-Recipient: %s", got)
	}
	if len(n.Defects) > 0 || n.Header["return-path"] != "<>" || !strings.HasPrefix(n.Fields[1]["status"], "2.") {
		t.Errorf("%+v", n)
	}
	if len(n.Parts) != 3 || n.Parts[2] != "text/rfc822-headers" {
		t.Errorf("parts %v", n.Parts)
	}
}

// TestNoticesNobodyAskedFor: NOTIFY=NEVER is silence, also about a failure.
func TestNoticesNobodyAskedFor(t *testing.T) {
	w := needWorld(t)
	r := w.startRefusing(t, nil, map[string]map[string]string{"open": {}, "mute": {"smtpd_discard_ehlo_keywords": "dsn"}})
	for name, port := range r.ports {
		t.Run(name, func(t *testing.T) {
			gw := w.startFailing(t, "", plain("first", port))
			names := w.fresh(t, 2)
			asksFor(t, gw, nil, []string{"NOTIFY=NEVER"}, names[0]+"@example.net", "nobody-here@example.net", names[1]+"@example.net")
			r.mail.await(t, names[1])
			// A notice would have come into the queue with the end of the message.
			for deadline := time.Now().Add(time.Minute); strings.TrimSpace(gw.says(t, "queue", "list", "--json")) != "[]"; time.Sleep(20 * time.Millisecond) {
				if time.Now().After(deadline) {
					t.Fatal(gw.says(t, "queue", "list"))
				}
			}
			if got, err := r.mail(names[0]); err != nil || len(got) > 0 {
				t.Errorf("%d notices (%v), none were wanted: %s", len(got), err, got)
			}
			if m := gw.to(t, "nobody-here@example.net"); m.State != "done" {
				t.Errorf("it is %s", m.State)
			}
		})
	}
}
