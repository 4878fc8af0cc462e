package relay

import (
	"errors"
	"unicode/utf8"
)

var errPath = errors.New("an address that cannot be sent")

// checkPath asserts that an address is only itself on the wire: printable, and
// outside of quotes neither space nor angle bracket, which could end the path
// and begin a parameter. Beyond ASCII it is UTF-8 (RFC 6531 3.3).
func checkPath(path string) error {
	quoted := false
	for i := 0; i < len(path); i++ {
		c := path[i]
		switch {
		case c >= utf8.RuneSelf:
			n := wide(path[i:])
			if n == 0 {
				return errPath
			}
			i += n - 1
		case c < ' ' || c > '~':
			return errPath
		case c == '"':
			quoted = !quoted
		case c == '\\' && quoted:
			i++
			if i == len(path) || path[i] < ' ' || path[i] > '~' {
				return errPath
			}
		case !quoted && (c == ' ' || c == '<' || c == '>'):
			return errPath
		}
	}
	if quoted {
		return errPath
	}
	return nil
}

// wide is the length of the character beyond ASCII that s begins with, 0 for
// what is not UTF-8 and for the control characters U+0080 to U+009F.
func wide(s string) int {
	switch r, n := utf8.DecodeRuneInString(s); {
	case r == utf8.RuneError && n <= 1, r < 0xa0:
		return 0
	default:
		return n
	}
}

// isASCII says that a path needs no SMTPUTF8.
func isASCII(s string) bool {
	for i := 0; i < len(s); i++ {
		if s[i] >= utf8.RuneSelf {
			return false
		}
	}
	return true
}
