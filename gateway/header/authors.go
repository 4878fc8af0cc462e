package header

import (
	"bytes"
	"mime"
	"slices"
	"strings"
)

// addAuthors adds the addresses of a From field (RFC 5322 3.6.2, and the old
// forms of 4.4) to a list, each once.
//
// They are asked for so that no message leaves in a name that is not the
// upstream's to use. So this takes for an address what readers of mail take for
// one, which is more than the grammar allows: what stands in brackets, or else a
// word with an @. One that is malformed is given in brackets, as it stands: it
// is nobody's then, while one left out would be anybody's.
func addAuthors(list []string, value []byte) []string {
	s := scanner{list: list}
	for len(value) > 0 && len(s.list) <= maxAuthors {
		n := 1
		switch c := value[0]; {
		case c == ' ', c == '\t', c == '\r', c == '\n':
			s.space = true
		case c == '(' && !s.plain:
			n = s.closed(comment(value))
			s.space = true
		case (c == '"' || c == '[') && !s.plain:
			if n = s.closed(enclosed(value)); n > 0 {
				s.add(value[:n])
			}
		case c == '<':
			s.open()
		case c == '>', c == ',', c == ';', c == ':':
			s.end(c)
		case c == '.', c == '@':
			s.add(value[:1])
		default:
			n = atom(value)
			s.add(value[:n])
		}
		value = value[n:]
	}
	s.end(',')
	return s.list
}

// scanner collects addresses. It never goes back: its cost is the length of the
// field, whatever stands in it.
type scanner struct {
	list  []string
	maybe []string // addresses of words that turn out to be a name if a bracket follows
	name  []string // the same, when one did: with nothing in the brackets they were addresses
	word  []byte
	ats   int  // the @ in word, outside quotes
	glued bool // word ends in a dot or an @, so what follows belongs to it
	space bool // a space or a comment came since
	angle bool // within brackets
	empty bool // nothing is in them
	bad   bool // word is no address
	plain bool // something was never closed: from there on such signs mean nothing
}

// closed notes whether an end was found; without one, the rest is read as
// words.
func (s *scanner) closed(n int) int {
	s.plain = n == 0
	return n
}

// add takes the next piece of a word. Around dots and @ there may be space (RFC
// 5322 4.4).
func (s *scanner) add(piece []byte) {
	mark := piece[0] == '.' || piece[0] == '@'
	if s.space && len(s.word) > 0 && !s.glued && !mark {
		if s.angle {
			s.word, s.bad = append(s.word, ' '), true
		} else {
			s.endWord()
		}
	}
	if piece[0] == '@' {
		s.ats++
		s.bad = s.bad || len(s.word) == 0
	}
	if len(s.word) < maxWord {
		s.word = append(s.word, piece[:min(len(piece), maxWord)]...)
	}
	s.glued, s.space, s.empty = mark, false, false
}

// open begins an address in brackets: what stood before it is a name.
func (s *scanner) open() {
	if s.angle {
		s.end(',')
	}
	s.endWord()
	s.name, s.maybe, s.angle, s.empty = s.maybe, nil, true, true
}

// end is the end of a mailbox, or what stands before a colon: the name of a
// group, or a route, which nobody goes by (RFC 5322 3.4, 4.4).
func (s *scanner) end(by byte) {
	route := s.angle && len(s.word) > 0 && s.word[0] == '@' && (by == ',' || by == ':')
	if route {
		s.drop()
		return
	}
	s.endWord()
	if s.empty && s.angle {
		s.maybe = s.name
	}
	for _, a := range s.maybe {
		switch {
		case slices.Contains(s.list, a), len(s.list) > maxAuthors:
		case len(s.list) == maxAuthors:
			s.list = append(s.list, tooMany)
		default:
			s.list = append(s.list, a)
		}
	}
	s.name, s.maybe, s.angle = nil, s.maybe[:0], s.angle && by == ':'
}

// tooMany stands for all authors that are not listed: nobody sends for them.
const tooMany = "<and more>"

// endWord keeps the word if it looks like an address, or would to a reader who
// decodes it (RFC 2047 5 allows no such word there, and readers do).
func (s *scanner) endWord() {
	encoded := bytes.HasPrefix(s.word, []byte("=?")) && hidesAt(s.word)
	if (s.ats > 0 || encoded || bytes.IndexByte(s.word, '@') >= 0) && len(s.maybe) <= maxAuthors {
		a := text(s.word)
		if s.bad || s.ats != 1 || s.word[len(s.word)-1] == '@' || len(s.word) >= maxWord {
			a = "<" + a + ">"
		}
		s.maybe = append(s.maybe, a)
	}
	s.drop()
}

// hidesAt says that an encoded word has an @ in it.
func hidesAt(word []byte) bool {
	d := mime.WordDecoder{CharsetReader: anyCharset}
	plain, err := d.DecodeHeader(string(word))
	return err == nil && strings.Contains(plain, "@")
}

func (s *scanner) drop() {
	s.word, s.ats, s.glued, s.bad = s.word[:0], 0, false, false
}

// atom is the length of what ends at a sign with a meaning.
func atom(value []byte) int {
	if i := bytes.IndexAny(value[1:], " \t\r\n(\"[<>,;:.@"); i >= 0 {
		return i + 1
	}
	return len(value)
}

// comment is the length of a comment, with those inside it (RFC 5322 3.2.2); 0
// when it has no end.
func comment(value []byte) int {
	depth := 0
	for i := 0; i < len(value); i++ {
		switch value[i] {
		case '\\':
			i++
		case '(':
			depth++
		case ')':
			if depth--; depth == 0 {
				return i + 1
			}
		}
	}
	return 0
}

// enclosed is the length of a quoted string or a domain literal (RFC 5322 3.2.4,
// 3.4.1); 0 when it has no end.
func enclosed(value []byte) int {
	end := byte('"')
	if value[0] == '[' {
		end = ']'
	}
	for i := 1; i < len(value); i++ {
		switch value[i] {
		case '\\':
			i++
		case end:
			return i + 1
		}
	}
	return 0
}
