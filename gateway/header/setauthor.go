package header

import (
	"bytes"
	"io"
	"mime"
	"net/mail"
	"slices"
	"strings"
	"unicode/utf8"
)

// SetAuthor makes address the author of a header section, with the name that
// was there, for a server that lets its account write in its own name alone.
// Answers still go to the author: Reply-To is added where there is none.
//
// What would then be untrue stays to be seen under X-Original-…: From as it
// was; Sender, which has no place beside an author who sends himself (RFC 5322
// 3.6.2); and DKIM-Signature, which always covers From (RFC 6376 5.4), so that
// it would look like a forgery. Everything else, the Resent- fields too, is left
// as it is, in its order. The same section gives the same octets each time.
func SetAuthor(section []byte, address string) []byte {
	out := make([]byte, 0, len(section)+512)
	done, answered := false, has(section, "Reply-To")
	for rest := section; len(rest) > 0; {
		var field []byte
		field, rest = Next(rest)
		switch name, value := Cut(field); {
		case bytes.EqualFold(name, []byte("From")):
			if !done {
				out = append(out, author(value, address)...)
			}
			if !done && !answered && len(mailboxes(value)) > 0 {
				out = add(out, "Reply-To", value) // a list of authors is a list to answer to (RFC 5322 3.6.2)
			}
			out, done = add(out, "X-Original-From", value), true
		case bytes.EqualFold(name, []byte("Sender")):
			out = add(out, "X-Original-Sender", value)
		case bytes.EqualFold(name, []byte("DKIM-Signature")):
			out = add(out, "X-Original-DKIM-Signature", value)
		default:
			out = append(append(out, field...), crlf...)
		}
	}
	if !done { // RFC 5322 3.6 asks for one
		out = append(out, author(nil, address)...)
	}
	return out
}

func has(section []byte, name string) bool {
	for len(section) > 0 {
		var field []byte
		field, section = Next(section)
		if n, _ := Cut(field); bytes.EqualFold(n, []byte(name)) {
			return true
		}
	}
	return false
}

// add adds a field to a section, with a value as it was under another name.
func add(section []byte, name string, value []byte) []byte {
	section = append(append(section, name...), ':')
	first, _, _ := bytes.Cut(value, crlf)
	if len(name)+1+len(first) > maxLine && len(bytes.TrimLeft(first, " \t")) > 0 {
		section = append(section, "\r\n "...)
	}
	return append(append(section, value...), crlf...)
}

// maxLine is what no line may exceed, without its CRLF (RFC 5322 2.1.1).
const maxLine = 998

// author writes the From field with the name that was in an old value. The name
// stays in the octets it came in, folds and encoded words and all: so its lines
// are no longer than they were, and no charset need be known.
func author(old []byte, address string) []byte {
	name := phrase(old)
	if len(name) == 0 {
		return []byte("From: " + address + "\r\n")
	}
	field := append([]byte("From:"), name...)
	last := field[bytes.LastIndexByte(field, '\n')+1:]
	if len(last)+len(" <>")+len(address) > 78 { // RFC 5322 2.1.1
		field = append(field, crlf...)
	}
	return append(field, " <"+address+">\r\n"...)
}

// phrase is the display name of the first mailbox of a value, as it is written;
// empty when there is none, or one that must not be copied.
func phrase(value []byte) []byte {
	var name []byte
	quoted, depth := false, 0
scan:
	for i := 0; i < len(value); i++ {
		switch c := value[i]; {
		case c == '\\' && (quoted || depth > 0):
			i++
		case c == '"' && depth == 0:
			quoted = !quoted
		case quoted:
		case c == '(':
			depth++
		case c == ')' && depth > 0:
			depth--
		case depth > 0:
		case c == '<':
			name = bytes.TrimRight(value[:i], " \t\r\n")
			break scan
		case c == ',' || c == ':' || c == ';':
			break scan
		}
	}
	if len(bytes.TrimSpace(name)) == 0 {
		// The name in a comment, an old custom: ann@example.com (Ann Smith).
		list := mailboxes(value)
		if len(list) == 0 || list[0].Name == "" || !utf8.ValidString(list[0].Name) {
			return nil
		}
		name = []byte(" " + strings.TrimSuffix((&mail.Address{Name: list[0].Name, Address: "a@b"}).String(), " <a@b>"))
	}
	// Held against a strict reader and a lenient one, so that nobody's name
	// becomes an address.
	whole := append(slices.Clone(name), " <a@b>"...)
	if len(name) > maxLine/2 || len(mailboxes(whole)) != 1 || !slices.Equal(addAuthors(nil, whole), []string{"a@b"}) {
		return nil
	}
	return name
}

// mailboxes reads a list of mailboxes, nil when it is none. Of charsets it need
// know nothing.
func mailboxes(value []byte) []*mail.Address {
	flat := strings.NewReplacer("\r\n ", " ", "\r\n\t", "\t").Replace(string(bytes.TrimRight(value, "\r\n")))
	if strings.ContainsAny(flat, "\r\n") {
		return nil
	}
	p := mail.AddressParser{WordDecoder: &mime.WordDecoder{CharsetReader: anyCharset}}
	list, err := p.ParseList(flat)
	if err != nil {
		return nil
	}
	return list
}

func anyCharset(_ string, r io.Reader) (io.Reader, error) { return r, nil }
