package msa

import (
	"net/netip"
	"strings"
	"unicode/utf8"
)

const (
	maxDomain = 255 // RFC 5321 4.5.3.1.2
	// maxPath is more than the 256 of RFC 5321 4.5.3.1.3: forwarders build
	// longer ones, and the limit there is only what must be accepted.
	maxPath = 512
)

// cutPath splits the argument of MAIL or RCPT into the path, without its
// brackets and source route, and the parameters behind it. Many devices leave
// the brackets out.
func cutPath(s string) (path, params string, ok bool) {
	s = strings.TrimLeft(s, " ")
	bracket := strings.HasPrefix(s, "<")
	if bracket {
		s = s[1:]
		if strings.HasPrefix(s, "@") { // RFC 5321 4.1.2, appendix C: accepted and ignored
			_, s, ok = strings.Cut(s, ":")
			if !ok {
				return "", "", false
			}
		}
	}
	end := pathEnd(s, bracket)
	path, params = s[:end], s[end:]
	if bracket {
		if params, ok = strings.CutPrefix(params, ">"); !ok {
			return "", "", false
		}
	}
	return path, params, (bracket || path != "") && (params == "" || params[0] == ' ')
}

// pathEnd finds what ends a path outside its quoted string.
func pathEnd(s string, bracket bool) int {
	quoted := false
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '"':
			quoted = !quoted
		case c == '\\' && quoted:
			i++
		case !quoted && (bracket && c == '>' || !bracket && c == ' '):
			return i
		}
	}
	return len(s)
}

// isMailbox holds RFC 5321 4.1.2 against an address, with what RFC 6531 3.3 adds
// to it; checkOctets has passed it. The address is kept as the client wrote it: only its owner may read the local part (2.3.11), and a
// quoted one stays quoted, so that it can be written into a command again.
func isMailbox(s string) bool {
	local, domain, ok := cutMailbox(s)
	return ok && isLocalPart(local) && isDomain(domain)
}

// cutMailbox splits at the @ behind the local part.
func cutMailbox(s string) (local, domain string, ok bool) {
	i := strings.LastIndexByte(s, '@') // no domain holds one
	if i < 0 || len(s) > maxPath {
		return "", "", false
	}
	return s[:i], s[i+1:], true
}

func isLocalPart(s string) bool {
	if q, ok := strings.CutPrefix(s, `"`); ok {
		return isQuoted(q)
	}
	for atom := range strings.SplitSeq(s, ".") {
		if atom == "" || strings.ContainsFunc(atom, func(r rune) bool { return !isAtext(r) }) {
			return false
		}
	}
	return true
}

// isQuoted checks a quoted string from behind its first quote.
func isQuoted(s string) bool {
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c < ' ' || c == 0x7f:
			return false
		case c == '"':
			return i == len(s)-1
		case c == '\\':
			if i++; i == len(s) || s[i] < ' ' || s[i] > '~' {
				return false
			}
		}
	}
	return false
}

func isAtext(r rune) bool {
	return isLetterDigit(r) || r >= utf8.RuneSelf || strings.ContainsRune("!#$%&'*+-/=?^_`{|}~", r)
}

func isLetterDigit(r rune) bool {
	return 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9'
}

// isDomain takes names of one label too, and the underscore that some
// networks have in theirs; whether a name leads anywhere is the upstream's.
func isDomain(s string) bool {
	if strings.HasPrefix(s, "[") {
		return isLiteral(s)
	}
	if len(s) > maxDomain {
		return false
	}
	for label := range strings.SplitSeq(s, ".") {
		if label == "" || utf8.RuneCountInString(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' ||
			strings.ContainsFunc(label, func(r rune) bool { return !isLetterDigit(r) && r < utf8.RuneSelf && r != '-' && r != '_' }) {
			return false
		}
	}
	return true
}

// isLiteral checks an address literal (RFC 5321 4.1.3).
func isLiteral(s string) bool {
	in, ok := strings.CutSuffix(s[1:], "]")
	if !ok {
		return false
	}
	text, six := strings.CutPrefix(in, "IPv6:")
	a, err := netip.ParseAddr(text)
	return err == nil && a.Is6() == six && a.Zone() == ""
}

// literal writes the address literal of a.
func literal(a netip.Addr) string {
	if a.Is6() {
		return "[IPv6:" + a.String() + "]"
	}
	return "[" + a.String() + "]"
}

// sameMailbox compares as RFC 5321 2.4 does: domains in any case.
func sameMailbox(a, b string) bool {
	if len(a) != len(b) {
		return false
	}
	at := strings.LastIndexByte(a, '@')
	return a[:at+1] == b[:at+1] && strings.EqualFold(a[at+1:], b[at+1:])
}
