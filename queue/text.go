package queue

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Printable makes text from outside safe to log, to store and to print on a
// terminal: line ends become spaces; control characters, marks that turn the
// direction of writing and broken UTF-8 become \x escapes; at most max octets
// of the input are kept.
func Printable(s string, max int) string {
	cut := ""
	if len(s) > max {
		s, cut = s[:max], "…"
		for len(s) > 0 && !utf8.RuneStart(s[len(s)-1]) {
			s = s[:len(s)-1]
		}
		if n := len(s); n > 0 && s[n-1] >= utf8.RuneSelf {
			s = s[:n-1] // a rune that was cut in the middle
		}
	}
	if !strings.ContainsFunc(s, unsafeRune) && cut == "" {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); {
		r, n := utf8.DecodeRuneInString(s[i:])
		switch {
		case r == utf8.RuneError && n == 1:
			fmt.Fprintf(&b, `\x%02x`, s[i])
		case r == '\r' && strings.HasPrefix(s[i:], "\r\n"):
		case r == '\n' || r == '\r' || r == '\t':
			b.WriteByte(' ')
		case unsafeRune(r) && r < utf8.RuneSelf:
			fmt.Fprintf(&b, `\x%02x`, r)
		case unsafeRune(r) && r != utf8.RuneError:
			fmt.Fprintf(&b, `\u%04x`, r)
		default: // also a real U+FFFD, which is three octets long
			b.WriteRune(r)
		}
		i += n
	}
	return b.String() + cut
}

// unsafeRune is anything that does not simply show itself. RuneError stands
// for broken UTF-8 as well; a real U+FFFD is shown.
func unsafeRune(r rune) bool {
	return r == utf8.RuneError || unicode.IsControl(r) || unicode.In(r, unicode.Cf, unicode.Zl, unicode.Zp, unicode.Co, unicode.Cs)
}
