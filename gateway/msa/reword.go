package msa

import (
	"bytes"
	"fmt"

	"github.com/emersion/go-smtp"

	"mailroam/queue"
)

// maxReplyText keeps a reply within 512 octets (RFC 5321 4.5.3.1.5).
const maxReplyText = 480

// format makes the line of a reply. Only texts of a Permit error are not ours.
func format(r *smtp.SMTPError) []byte {
	e := r.EnhancedCode
	return fmt.Appendf(nil, "%d %d.%d.%d %s\r\n", r.Code, e[0], e[1], e[2], r.Message)
}

// reword mends the lines of go-smtp that are at odds with a standard, and
// those that quote an address.
func reword(line []byte, hostname string) []byte {
	switch {
	case bytes.HasPrefix(line, []byte("250-Hello ")):
		// Our name comes first (RFC 5321 4.1.1.1).
		return []byte("250-" + hostname + " greets you\r\n")
	case bytes.HasPrefix(line, []byte("250 2.0.0 Hello ")):
		// A reply to HELO has no enhanced code (RFC 2034 4).
		return []byte("250 " + hostname + " greets you\r\n")
	case bytes.HasPrefix(line, []byte("250 2.0.0 Roger, ")):
		return []byte("250 2.1.0 sender ok\r\n")
	case bytes.HasPrefix(line, []byte("250 2.0.0 I'll make sure ")):
		return []byte("250 2.1.5 recipient ok\r\n")
	case bytes.HasPrefix(line, []byte("502 ")):
		// It knows every command that the gate lets pass: what it does not
		// like is their order (RFC 5321 4.3.2).
		return append([]byte("503 "), line[4:]...)
	}
	return line
}

// plain makes a text from elsewhere fit for a reply: one line of ASCII.
func plain(text string) string {
	b := []byte(queue.Printable(text, maxReplyText))
	for i, c := range b {
		if c > '~' {
			b[i] = '?'
		}
	}
	return string(b[:min(len(b), maxReplyText)])
}
