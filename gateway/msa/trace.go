package msa

import (
	"net/netip"
	"strings"
	"time"

	"mailroam/queue"
)

// dateLayout is RFC 5322 3.3.
const dateLayout = "Mon, 02 Jan 2006 15:04:05 -0700"

// trace is what the fields on top of a message are made of.
type trace struct {
	hostname string
	client   netip.Addr
	helo     string // printable ASCII without spaces
	esmtp    bool
	utf8     bool // SMTPUTF8 was said
	private  bool
	id       queue.ID
	rcpt     string // the only recipient; "" when there are several
	at       time.Time
}

// block gives the Received field (RFC 5321 4.4), and Date and Message-ID when
// they are missing (RFC 6409 8.2, 8.3). It is made once, when the message is
// accepted, so every try sends the same octets.
func (t *trace) block(s seen) []byte {
	at := t.at.UTC().Format(dateLayout)
	b := make([]byte, 0, 512)
	b = append(b, "Received: "...)
	if !t.private {
		b = t.from(b)
		b = append(b, "\r\n\t"...)
	}
	b = append(b, "by "...)
	b = append(b, t.hostname...)
	b = append(b, " with "...)
	switch {
	case t.utf8:
		b = append(b, "UTF8"...) // RFC 6531 4.3
	case t.esmtp:
		b = append(b, 'E') // RFC 3848
	}
	b = append(b, "SMTP id "...)
	b = append(b, t.id.String()...)
	if t.rcpt != "" {
		// Of several none is named: the others could be Bcc (RFC 5321 7.6).
		b = append(b, "\r\n\tfor <"...)
		b = append(b, t.rcpt...)
		b = append(b, '>')
	}
	b = append(b, ";\r\n\t"...)
	b = append(b, at...)
	b = append(b, crlf...)
	if !s.date {
		b = append(b, "Date: "...)
		b = append(b, at...)
		b = append(b, crlf...)
	}
	if !s.messageID {
		b = append(b, "Message-ID: <"...)
		b = append(b, t.messageID()...)
		b = append(b, ">\r\n"...)
	}
	return b
}

// messageID is for a message that came without one.
func (t *trace) messageID() string { return t.id.String() + "@" + t.hostname }

// from names the client. A name that is no domain goes into a comment, where
// quoting makes any character harmless (RFC 5322 3.2.2).
func (t *trace) from(b []byte) []byte {
	b = append(b, "from "...)
	switch {
	case isDomain(t.helo):
		b = append(b, t.helo...)
		b = append(b, " ("...)
		b = append(b, literal(t.client)...)
	default:
		b = append(b, literal(t.client)...)
		b = append(b, " (helo="...)
		b = append(b, commentEscape.Replace(t.helo)...)
	}
	return append(b, ')')
}

var commentEscape = strings.NewReplacer(`\`, `\\`, `(`, `\(`, `)`, `\)`)
