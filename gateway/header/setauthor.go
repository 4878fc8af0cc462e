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
	fields := split(section)
	answered := slices.ContainsFunc(fields, func(f []byte) bool { return isField(f, "Reply-To") })
	out := make([]byte, 0, len(section)+512)
	done := false
	for _, f := range fields {
		switch {
		case isField(f, "From"):
			if !done {
				out = append(out, author(value(f), address)...)
			}
			if !done && !answered && len(addresses(value(f))) > 0 {
				out = renamed(out, "Reply-To", f) // an author list is a list to answer to (RFC 5322 3.6.2)
			}
			out, done = renamed(out, "X-Original-From", f), true
		case isField(f, "Sender"):
			out = renamed(out, "X-Original-Sender", f)
		case isField(f, "DKIM-Signature"):
			out = renamed(out, "X-Original-DKIM-Signature", f)
		default:
			out = append(out, f...)
		}
	}
	if !done {
		if len(out) > 0 && !bytes.HasSuffix(out, []byte("\r\n")) {
			out = append(out, "\r\n"...)
		}
		out = append(out, author(nil, address)...)
	}
	return out
}

// maxLine is what no line may exceed, without its CRLF (RFC 5322 2.1.1).
const maxLine = 998

// author writes the From field with the name that was in an old value. The name
// stays in the octets it came in, folds and encoded words and all: so its lines
// are no longer than they were, and no charset need be known.
func author(old []byte, address string) []byte {
	name := phrase(old)
	field := append([]byte("From:"), name...)
	last := field[bytes.LastIndexByte(field, '\n')+1:]
	if len(name) > 0 && len(last)+len(" <>")+len(address) > 78 {
		field = append(field, "\r\n"...)
	}
	if len(name) == 0 {
		return append(field, " "+address+"\r\n"...)
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
		list := addresses(value)
		if len(list) == 0 || list[0].Name == "" || !utf8.ValidString(list[0].Name) {
			return nil
		}
		name = []byte(" " + strings.TrimSuffix((&mail.Address{Name: list[0].Name, Address: "a@b"}).String(), " <a@b>"))
	}
	// Held against a reader, so that nobody's name becomes an address.
	if list := addresses(append(slices.Clone(name), " <a@b>"...)); len(list) != 1 || list[0].Address != "a@b" || len(name) > maxLine/2 {
		return nil
	}
	return name
}

// addresses reads a list of mailboxes, nil when it is none. Of charsets it need
// know nothing.
func addresses(value []byte) []*mail.Address {
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

// renamed adds a field under another name, with its value as it is.
func renamed(out []byte, name string, field []byte) []byte {
	v := value(field)
	first, _, _ := bytes.Cut(v, []byte("\r\n"))
	out = append(out, name...)
	out = append(out, ':')
	if len(name)+1+len(first) > maxLine && len(bytes.TrimLeft(first, " \t")) > 0 {
		out = append(out, "\r\n "...)
	}
	out = append(out, v...)
	if !bytes.HasSuffix(v, []byte("\r\n")) {
		out = append(out, "\r\n"...)
	}
	return out
}

// split cuts a section into its fields, each with its folded lines and the CRLF
// at its end. Lines that are no field are pieces of their own.
func split(section []byte) (fields [][]byte) {
	for begin, i := 0, 0; begin < len(section); {
		j := bytes.Index(section[i:], []byte("\r\n"))
		if j < 0 {
			return append(fields, section[begin:])
		}
		i += j + 2
		if i == len(section) || section[i] != ' ' && section[i] != '\t' {
			fields = append(fields, section[begin:i])
			begin = i
		}
	}
	return fields
}

func isField(field []byte, name string) bool {
	i := bytes.IndexByte(field, ':')
	// RFC 5322 4.5 allows the space before the colon.
	return i > 0 && strings.EqualFold(string(bytes.TrimRight(field[:i], " \t")), name)
}

func value(field []byte) []byte { return field[bytes.IndexByte(field, ':')+1:] }
