package dsn

import (
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"
)

// typed writes an address with its type (RFC 3464 2.1.2, RFC 6533 3): as it is
// where the report takes UTF-8, else in ASCII.
func (r Report) typed(address string) string {
	switch {
	case ascii(address):
		return "rfc822; " + printASCII(address, maxAddress)
	case r.Message.UTF8:
		return "utf-8; " + printable(address, maxAddress)
	default:
		return "utf-8; " + toXtext(printable(address, maxAddress))
	}
}

// maxAddress is more than an address can have (RFC 5321 4.5.3.1), and than
// ORCPT (RFC 3461 4.2).
const maxAddress = 500

// original is the recipient as the sender gave it in ORCPT, "" for none.
func (r Report) original(orcpt string) string {
	kind, given, ok := strings.Cut(orcpt, ";")
	if !ok {
		return ""
	}
	if strings.EqualFold(kind, "utf-8") {
		// It came in one of three forms (RFC 6533 3): up to UTF-8 and down again.
		return r.typed(fromXtext(given))
	}
	address, ok := unxtext(given)
	if !ok {
		address = given
	}
	return printASCII(kind, 40) + "; " + printASCII(address, maxAddress)
}

// unxtext undoes what keeps a value in one parameter (RFC 3461 4). It fails
// for what is no xtext, or hides what cannot stand in a field.
func unxtext(s string) (string, bool) {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		c := s[i]
		if c == '+' {
			if i+2 >= len(s) {
				return "", false
			}
			n, err := strconv.ParseUint(s[i+1:i+3], 16, 8)
			if err != nil {
				return "", false
			}
			c = byte(n)
			i += 2
		}
		if c < ' ' || c > '~' {
			return "", false
		}
		b.WriteByte(c)
	}
	return b.String(), true
}

// toXtext writes an address beyond ASCII as utf-8-addr-xtext: what is not
// QCHAR becomes \x{…} (RFC 6533 3). It is cut where a field's line would end.
func toXtext(s string) string {
	var b strings.Builder
	for _, r := range s {
		if r <= ' ' || r > '~' || strings.ContainsRune(`\+=`, r) {
			fmt.Fprintf(&b, `\x{%X}`, r)
		} else {
			b.WriteRune(r)
		}
		if b.Len() > 900 {
			break
		}
	}
	return b.String()
}

// fromXtext undoes toXtext. What is malformed stays as it is.
func fromXtext(s string) string {
	var b strings.Builder
	for s != "" {
		if rest, ok := strings.CutPrefix(s, `\x{`); ok {
			if hex, rest, ok := strings.Cut(rest, "}"); ok {
				if n, err := strconv.ParseUint(hex, 16, 32); err == nil && n <= utf8.MaxRune && utf8.ValidRune(rune(n)) {
					b.WriteRune(rune(n))
					s = rest
					continue
				}
			}
		}
		b.WriteByte(s[0])
		s = s[1:]
	}
	return b.String()
}
