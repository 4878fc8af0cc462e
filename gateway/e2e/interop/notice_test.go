package interop

import (
	"encoding/json"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// report is what Python's email package reads in a notice (RFC 3464).
type report struct {
	ContentType string              `json:"type"`
	ReportType  string              `json:"report"`
	Defects     []string            `json:"defects"`
	Parts       []string            `json:"parts"`
	From        string              `json:"from"`
	To          string              `json:"to"`
	Header      map[string]string   `json:"header"`
	Fields      []map[string]string `json:"fields"` // of message/delivery-status: per message, then per recipient
	Returned    string              `json:"returned"`
}

func parseReport(t *testing.T, message []byte) report {
	t.Helper()
	const script = `
import email, email.policy, json, sys
m = email.message_from_binary_file(open(sys.argv[1], "rb"), policy=email.policy.default)
parts = list(m.iter_parts())
fields = [dict((k.lower(), str(v)) for k, v in block.items()) for block in parts[1].get_payload()] if len(parts) > 1 else []
print(json.dumps(dict(
    type=m.get_content_type(), report=m.get_param("report-type") or "",
    defects=[repr(d) for p in m.walk() for d in p.defects],
    parts=[p.get_content_type() for p in parts],
    header=dict((k.lower(), str(v)) for k, v in m.items()),
    fields=[f for f in fields if f], returned=parts[2].as_string() if len(parts) > 2 else "",
    **{"from": str(m["from"]), "to": str(m["to"])})))
`
	out, err := exec.CommandContext(t.Context(), "python3", "-c", script, file(t, "notice", message)).CombinedOutput()
	if err != nil {
		t.Fatalf("python3: %v: %s", err, out)
	}
	var r report
	if err := json.Unmarshal(out, &r); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return r
}

// TestUnknownRecipient: one of two recipients does not exist. The other gets the
// mail, the sender gets a notice that another program can read, and nobody else
// gets anything.
func TestUnknownRecipient(t *testing.T) {
	w := needWorld(t)
	for _, c := range []struct {
		name   string
		up     upstream
		mail   mailbox
		status string
	}{
		{"postfix", upstream{url: w.url("smtp", w.ports.postfixStartTLS)}, maildir(w.postfixMail), "5.1.1"},
		// Exim gives no enhanced status code; RFC 3463 then leaves the class.
		{"exim", upstream{url: w.url("smtp", w.ports.eximStartTLS)}, maildir(w.eximMail), "5."},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.up.name, c.up.auth, c.up.password = c.name, "plain", password
			gw := w.startGateway(t, c.up)
			names := w.fresh(t, 2)
			from, known := names[0], names[1]
			submit(t, gw, from+"@example.net", "nobody-here@example.net", known+"@example.net")
			c.mail.await(t, known)
			notice := c.mail.await(t, from)
			r := parseReport(t, notice)
			if r.ContentType != "multipart/report" || r.ReportType != "delivery-status" {
				t.Errorf("type %s; report-type=%s", r.ContentType, r.ReportType)
			}
			if len(r.Defects) > 0 {
				t.Errorf("Python finds defects: %v", r.Defects)
			}
			if len(r.Parts) != 3 || !slices.Equal(r.Parts[:2], []string{"text/plain", "message/delivery-status"}) {
				t.Errorf("parts %v", r.Parts)
			}
			if !strings.Contains(r.To, from+"@example.net") {
				t.Errorf("To: %s", r.To)
			}
			if got := r.Header["auto-submitted"]; !strings.HasPrefix(got, "auto-replied") {
				t.Errorf("Auto-Submitted: %s", got)
			}
			if c.name == "postfix" && r.Header["return-path"] != "<>" {
				t.Errorf("Return-Path: %s, want the null reverse-path (RFC 3464 2)", r.Header["return-path"])
			}
			if len(r.Fields) != 2 {
				t.Fatalf("delivery-status has %d blocks, want one for the message and one for the recipient that failed: %v", len(r.Fields), r.Fields)
			}
			if got := r.Fields[0]["reporting-mta"]; !strings.Contains(got, hostname) {
				t.Errorf("Reporting-MTA: %s", got)
			}
			failed := r.Fields[1]
			for field, want := range map[string]string{
				"final-recipient": "rfc822; nobody-here@example.net",
				"action":          "failed",
			} {
				if squeeze(failed[field]) != squeeze(want) {
					t.Errorf("%s: %s, want %s", field, failed[field], want)
				}
			}
			if !strings.HasPrefix(failed["status"], c.status) {
				t.Errorf("Status: %s, want %s", failed["status"], c.status)
			}
			if !strings.Contains(failed["diagnostic-code"], "550") {
				t.Errorf("Diagnostic-Code: %s, want the upstream's 550", failed["diagnostic-code"])
			}
			if !strings.Contains(r.Returned, "Subject: ordinary") {
				t.Errorf("the notice does not return the header: %s", r.Returned)
			}
			if t.Failed() {
				t.Logf("%s", notice)
			}
		})
	}
}

func squeeze(s string) string { return strings.ReplaceAll(strings.ToLower(s), " ", "") }
