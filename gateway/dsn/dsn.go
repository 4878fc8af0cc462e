// Package dsn writes the notices mailroam sends: delivery status
// notifications (RFC 3461, RFC 3464) in a multipart/report (RFC 6522), for
// addresses and messages beyond ASCII as well (RFC 6533). It is pure.
//
// A notice is what became of the message for people who know nothing of mail
// servers, the same for programs, and the header of the message or all of it.
// Everything in it that comes from outside is made harmless first: nothing can
// add a field or a part.
package dsn

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"mime"
	"strings"
	"time"
	"unicode/utf8"

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
	Body []byte
	// EightBit: octets above 127 can go all the way (RFC 6152). Without it what
	// holds some is encoded, or left out where that is not allowed.
	EightBit bool
	Until    time.Time // when it will be given up, of a delay
	// Last says that no more notices go to this sender for a while: there were too
	// many.
	Last bool
	// Alone: no other notice tells of those for whom this one has no room.
	Alone bool
	Now   time.Time

	untold int // of those
}

// A notice must stay below queue.MaxNotice, at any rate with the header that was
// cut. Quoted-printable makes three octets of one at worst, and soft line breaks.
const (
	maxHeader = 16 << 10
	maxHuman  = 24 << 10
	maxStatus = 96 << 10
	maxOuter  = 4 << 10 // the notice's own header, and the heads of its parts
	maxText   = 400     // octets of an upstream's answer
)

// New builds the notice to the sender of r.Message, which must not have
// the null reverse-path: a notice never answers a notice (RFC 5321 4.5.5). It
// tells of as many of r.About as there is room for, and says of how many; there
// is always room for one. Its Filing is the caller's.
func New(r Report) (n queue.NewMessage, told int) {
	status, told := r.status()
	if r.Alone {
		r.untold = len(r.About) - told
	}
	r.About = r.About[:told]
	n = queue.NewMessage{
		ID: queue.NewID(), Accepted: r.Now.UTC(), Notice: true,
		Recipients: queue.To(r.Message.ReversePath),
	}
	n.MessageID = n.ID.String() + "@" + r.Hostname
	n.Automatic = true
	// Only its own address can make a notice need SMTPUTF8: all else can be
	// written so that it passes everywhere, also where the message could not.
	n.UTF8 = !ascii(r.Message.ReversePath)
	r.EightBit = r.EightBit || n.UTF8 // which includes 8BITMIME (RFC 6531 3.1)
	n.Body = r.body(&n, status)
	n.EightBit = !ascii(string(n.Body))
	return n, told
}

func (r Report) body(n *queue.NewMessage, status []byte) []byte {
	parts := []part{
		quoted("text/plain; charset=utf-8", r.human()),
		r.encode(r.statusType(), status),
	}
	room := queue.MaxNotice - maxOuter
	for _, p := range parts {
		room -= len(p.body)
	}
	if p := r.returned(room); len(p.body) > 0 {
		parts = append(parts, p)
	}
	// A boundary made of the content cannot be guessed by whoever wrote it.
	sum := sha256.New()
	for _, p := range parts {
		sum.Write(p.body)
	}
	boundary := "=_" + hex.EncodeToString(sum.Sum(nil)[:16])

	var b bytes.Buffer
	r.header(&b, n)
	line(&b, "Content-Type: multipart/report; report-type=%s;", strings.TrimPrefix(r.statusType(), "message/")) // RFC 6522 3
	line(&b, "\tboundary=\"%s\"", boundary)
	line(&b, "")
	for _, p := range parts {
		line(&b, "--%s", boundary)
		line(&b, "Content-Type: %s", p.kind)
		line(&b, "Content-Transfer-Encoding: %s", p.encoding)
		line(&b, "")
		b.Write(p.body)
		line(&b, "")
	}
	line(&b, "--%s--", boundary)
	return b.Bytes()
}

// header is the notice's own, but for its Content-Type.
func (r Report) header(b *bytes.Buffer, n *queue.NewMessage) {
	line(b, "From: Mail gateway <MAILER-DAEMON@%s>", printASCII(r.Hostname, 255))
	to := printASCII
	if n.UTF8 {
		to = printable
	}
	line(b, "To: <%s>", to(r.Message.ReversePath, maxAddress))
	line(b, "Subject: %s", r.subject())
	line(b, "Date: %s", r.Now.Format(time.RFC1123Z))
	line(b, "Message-ID: <%s>", n.MessageID)
	if id := r.Message.MessageID; id != "" && len(id) < 500 && printASCII(id, 500) == id && !strings.ContainsAny(id, "<> ") {
		line(b, "In-Reply-To: <%s>", id) // RFC 3834 3.1.5
		line(b, "References: <%s>", id)
	}
	// It answers a message: "auto-generated" would be wrong (RFC 3834 5).
	line(b, "Auto-Submitted: auto-replied")
	line(b, "MIME-Version: 1.0")
}

var subjects = map[Kind]string{
	Failed:  "Not delivered: your message to ",
	Delayed: "Delayed, still being tried: your message to ",
	Relayed: "Passed on: your message to ",
}

func (r Report) subject() string {
	text := subjects[r.Kind] + queue.Printable(r.About[0].Address, 100)
	if n := len(r.About) - 1 + r.untold; n > 0 {
		text += fmt.Sprintf(" and %d more", n)
	}
	return mime.QEncoding.Encode("utf-8", text) // as it is where it is ASCII
}

func (r Report) statusType() string {
	if r.Message.UTF8 { // RFC 6533 4
		return "message/global-delivery-status"
	}
	return "message/delivery-status"
}

func line(b *bytes.Buffer, format string, a ...any) { fmt.Fprintf(b, format+"\r\n", a...) }

func ascii(s string) bool {
	for i := range len(s) {
		if s[i] >= utf8.RuneSelf {
			return false
		}
	}
	return true
}

// printASCII is for fields that carry no other octets (RFC 5322 2.2).
func printASCII(s string, max int) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return '?'
		}
		return r
	}, printable(s, max))
}

// printable bounds what comes out as well: an escape is longer than what it
// stands for.
func printable(s string, max int) string { return queue.Printable(queue.Printable(s, max), max) }
