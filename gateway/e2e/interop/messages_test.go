package interop

import (
	"encoding/base64"
	"fmt"
	"math/rand/v2"
	"strings"
)

// message is what a person hands to a client: an envelope and a text with the
// line ends of the wire. A client that composes its own header uses body alone.
type message struct {
	name       string
	from       string // "" is the null reverse-path
	recipients int
	header     string
	body       string
}

func (m message) data() []byte { return crlf(m.header + "\n" + m.body) }

const sender = "ann@example.org"

// messages are the shapes of mail that have been damaged somewhere before.
func messages() []message {
	header := func(subject string) string {
		return "Date: Sun, 22 Nov 2026 08:00:00 +0100\n" +
			"From: Ann <ann@example.org>\n" +
			"To: undisclosed-recipients:;\n" +
			"Message-ID: <" + subject + "@client.example>\n" +
			"Subject: " + subject + "\n"
	}
	const eightBit = "MIME-Version: 1.0\nContent-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: 8bit\n"
	// Dots at the start of a line, alone and in rows, trailing blanks, empty lines
	// at the end, and text lines of the longest size allowed (RFC 5321 4.5.3.1.6).
	dots := ".\n..\n...\n.leading\n\n.\nFrom the start\n>From quoted\ntrailing blanks  \t\n" +
		strings.Repeat("x", 998) + "\n." + strings.Repeat("y", 996) + "\n\n\n"
	utf8 := "Grüße aus Köln — žluťoučký kůň, 日本語, 🙂\n.ä\nÿ\n"
	return []message{
		{name: "dots-and-long-lines", from: sender, recipients: 1, header: header("dots"), body: dots},
		{name: "utf8-8bit", from: sender, recipients: 1, header: header("utf8") + eightBit, body: utf8},
		{name: "attachment-1MiB", from: sender, recipients: 1, header: header("large") + "MIME-Version: 1.0\n" +
			"Content-Type: application/octet-stream\nContent-Transfer-Encoding: base64\n", body: attachment(1 << 20)},
		{name: "no-date-no-message-id", from: sender, recipients: 1, header: "From: ann@example.org\nSubject: bare\n", body: "text\n"},
		{name: "three-recipients", from: sender, recipients: 3, header: header("three"), body: "text\n"},
		{name: "null-reverse-path", from: "", recipients: 1, header: header("null"), body: "text\n"},
	}
}

// attachment is size octets of base64 in lines of 76.
func attachment(size int) string {
	raw := make([]byte, size*3/4)
	// The seed is fixed: a failure shows the same octets again.
	_, _ = rand.NewChaCha8([32]byte{1}).Read(raw)
	text := base64.StdEncoding.EncodeToString(raw)
	var b strings.Builder
	for len(text) > 76 {
		fmt.Fprintln(&b, text[:76])
		text = text[76:]
	}
	fmt.Fprintln(&b, text)
	return b.String()
}
