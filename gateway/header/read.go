package header

import (
	"bytes"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Facts are what a header section says of its message.
type Facts struct {
	// Authors are the addresses of From (RFC 5322 3.6.2), nil when there is
	// nothing like one. One that is malformed stands in brackets.
	Authors   []string
	MessageID string // without its brackets, "" when there is none
	UTF8      bool   // it is UTF-8 beyond ASCII (RFC 6532); other octets above 127 are only 8-bit
	// Automatic: a program made it, and nobody reads an answer (RFC 3834;
	// Precedence: bulk, junk or list).
	Automatic bool
}

const (
	maxAuthors = 100
	// maxWord is where what a header says is cut off: no path is as long (RFC
	// 5321 4.5.3.1.3).
	maxWord = 512
)

// Read gathers the facts of a header section.
func Read(section []byte) Facts {
	var f Facts
	for rest := section; len(rest) > 0; {
		var field []byte
		field, rest = Next(rest)
		switch name, value := Cut(field); {
		case bytes.EqualFold(name, []byte("From")):
			f.Authors = addAuthors(f.Authors, value)
		case bytes.EqualFold(name, []byte("Message-ID")):
			if f.MessageID == "" {
				f.MessageID = messageID(value)
			}
		case bytes.EqualFold(name, []byte("Auto-Submitted")):
			w := word(value)
			f.Automatic = f.Automatic || w != "" && !strings.EqualFold(w, "no") // RFC 3834 5
		case bytes.EqualFold(name, []byte("Precedence")):
			switch strings.ToLower(word(value)) {
			case "bulk", "junk", "list":
				f.Automatic = true
			}
		}
	}
	f.UTF8 = utf8.RuneCount(section) < len(section) && utf8.Valid(section)
	return f
}

// word is the first word of a value, before parameters and comments.
func word(value []byte) string {
	const space = " \t\r\n"
	value = bytes.TrimLeft(value, space)
	if i := bytes.IndexAny(value, space+";("); i >= 0 {
		value = value[:i]
	}
	return text(value)
}

// messageID takes what stands between the brackets, or all of it: some programs
// forget them.
func messageID(value []byte) string {
	if _, in, ok := bytes.Cut(value, []byte("<")); ok {
		value, _, _ = bytes.Cut(in, []byte(">"))
	}
	return text(bytes.TrimSpace(value))
}

// text makes a string of octets from outside: bounded, and with U+FFFD in place
// of control characters and of what is no UTF-8, so that it equals nothing that
// it is not.
func text(b []byte) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return utf8.RuneError
		}
		return r
	}, string(b[:min(len(b), maxWord)])) // Map turns each broken octet into U+FFFD
}
