// Package dsn writes the notices mailroam sends: delivery status
// notifications (RFC 3464) in a multipart/report (RFC 6522). It is pure.
package dsn

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"mime/quotedprintable"
	"strings"
	"time"

	"mailroam/queue"
)

// Kind is what a notice says of its recipients (RFC 3464 2.3.3).
type Kind string

// The kinds.
const (
	Failed  Kind = "failed"
	Delayed Kind = "delayed"
	Relayed Kind = "relayed" // taken by a server that tells no more
)

// Report is what a notice tells.
type Report struct {
	Kind     Kind
	Hostname string
	Message  queue.Message     // the one that it is about
	About    []queue.Recipient // of its recipients, with what was said of them
	Header   []byte            // its header section; may be nil
	// Body is all of the message where the sender wants it back and it is not too
	// large; else nil.
	Body  []byte
	Until time.Time // when it will be given up, of a delay
	// Last says that no more notices go to this sender for a while: there were too
	// many.
	Last bool
	Now  time.Time
}

// MaxRecipients is of how many recipients a notice surely tells all. Of more it
// tells as long as there is room.
const MaxRecipients = 100

// A notice must stay below queue.MaxNotice. Quoted-printable makes three octets
// of one at worst, and soft line breaks.
const (
	maxHeader = 16 << 10
	maxHuman  = 24 << 10
	maxStatus = 96 << 10
	maxText   = 400 // octets of an upstream's answer
)

// New builds the notice to the sender of r.Message, which must not have
// the null reverse-path: a notice never answers a notice (RFC 5321 4.5.5). Its
// Filing is the caller's.
func New(r Report) queue.NewMessage {
	id := queue.NewID()
	return queue.NewMessage{
		ID: id, Accepted: r.Now.UTC(), Notice: true,
		Recipients: queue.To(r.Message.ReversePath),
		Body:       r.body(id),
	}
}

func (r Report) body(id queue.ID) []byte {
	human, status, header := r.human(), r.status(), quoted(cut(r.Header, maxHeader))
	// A boundary made of the content cannot be guessed by whoever wrote it.
	sum := sha256.Sum256(append(append(human, status...), header...))
	boundary := "=_" + hex.EncodeToString(sum[:16])

	var b bytes.Buffer
	line := func(format string, a ...any) { fmt.Fprintf(&b, format+"\r\n", a...) }
	line("From: Mail gateway <MAILER-DAEMON@%s>", r.Hostname)
	line("To: <%s>", printASCII(r.Message.ReversePath, 320))
	line("Subject: Not delivered: your message to %s", r.subject())
	line("Date: %s", r.Now.Format(time.RFC1123Z))
	line("Message-ID: <%s@%s>", id, r.Hostname)
	line("Auto-Submitted: auto-replied") // RFC 3834 5
	line("MIME-Version: 1.0")
	line("Content-Type: multipart/report; report-type=delivery-status;")
	line("\tboundary=\"%s\"", boundary)
	line("")
	part := func(kind, encoding string, body []byte) {
		line("--%s", boundary)
		line("Content-Type: %s", kind)
		if encoding != "" {
			line("Content-Transfer-Encoding: %s", encoding)
		}
		line("")
		b.Write(body)
		line("")
	}
	part("text/plain; charset=utf-8", "quoted-printable", quoted(human))
	part("message/delivery-status", "", status) // 7bit only (RFC 3464 2.1)
	if len(header) > 0 {
		part("text/rfc822-headers", "quoted-printable", header)
	}
	line("--%s--", boundary)
	return b.Bytes()
}

func (r Report) subject() string {
	first := printASCII(r.About[0].Address, 100)
	if n := len(r.About) - 1; n > 0 {
		return fmt.Sprintf("%s and %d more", first, n)
	}
	return first
}

// human is the part for people.
func (r Report) human() []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "Your message of %s could not be delivered to:\n", r.Message.Accepted.Format("2 January 2006, 15:04 MST"))
	for i, e := range r.About {
		if b.Len() > maxHuman {
			fmt.Fprintf(&b, "\n  … and %d more, see the report below.\n", len(r.About)-i)
			break
		}
		fmt.Fprintf(&b, "\n  %s\n", queue.Printable(e.Address, 320))
		if e.State == queue.Expired {
			fmt.Fprintf(&b, "    No mail server took it in time.\n")
		}
		if t := queue.Printable(e.Last.String(), maxText); t != "" {
			via := ""
			if e.Last.Upstream != "" {
				via = " by way of " + e.Last.Upstream
			}
			fmt.Fprintf(&b, "    The last answer%s was:\n    %s\n", via, t)
		}
	}
	fmt.Fprintf(&b, "\nYour mail gateway %s gives up on these recipients. Nothing else was\nreturned to you; to try again, send the message anew.\n", r.Hostname)
	return b.Bytes()
}

// status is the part for programs (RFC 3464 2.2 and 2.3).
func (r Report) status() []byte {
	var b bytes.Buffer
	line := func(format string, a ...any) { fmt.Fprintf(&b, format+"\r\n", a...) }
	line("Reporting-MTA: dns; %s", r.Hostname)
	line("Arrival-Date: %s", r.Message.Accepted.Format(time.RFC1123Z))
	for _, e := range r.About {
		if b.Len() > maxStatus {
			break
		}
		line("")
		line("Final-Recipient: rfc822; %s", printASCII(e.Address, 320))
		line("Action: failed")
		line("Status: %s", status(e))
		if e.Last.Code != 0 {
			line("Diagnostic-Code: smtp; %s", printASCII(e.Last.String(), maxText))
		}
		if !e.Last.At.IsZero() {
			line("Last-Attempt-Date: %s", e.Last.At.Format(time.RFC1123Z))
		}
	}
	return b.Bytes()
}

// status gives a code of class 5 or, for expiry, 4 (RFC 3464 2.3.4): a failed
// action must not carry a code that says success.
func status(e queue.Recipient) string {
	switch {
	case e.State == queue.Expired:
		return "4.4.7"
	case strings.HasPrefix(e.Last.Enhanced, "5."):
		return e.Last.Enhanced
	default:
		return "5.0.0"
	}
}

// printASCII is for header fields, which carry no other octets (RFC 5322 2.2).
func printASCII(s string, max int) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return '?'
		}
		return r
	}, queue.Printable(s, max))
}

// quoted encodes lines ending in LF or CRLF; what was in them cannot end a
// part, since no line of it can begin with "--=_" and the sum of itself.
func quoted(text []byte) []byte {
	if len(text) == 0 {
		return nil
	}
	var b bytes.Buffer
	w := quotedprintable.NewWriter(&b)
	_, _ = w.Write(bytes.ReplaceAll(text, []byte("\r\n"), []byte("\n"))) // a bytes.Buffer takes all
	_ = w.Close()
	return bytes.ReplaceAll(bytes.ReplaceAll(b.Bytes(), []byte("\r\n"), []byte("\n")), []byte("\n"), []byte("\r\n"))
}

// cut keeps whole lines.
func cut(b []byte, max int) []byte {
	if len(b) <= max {
		return b
	}
	return b[:bytes.LastIndexByte(b[:max], '\n')+1]
}
