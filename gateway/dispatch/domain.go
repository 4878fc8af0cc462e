package dispatch

import (
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// canonical is the one form in which addresses, and patterns of them, are
// compared. Domains are the same in any case, with or without a final dot, and
// in A-labels as in U-labels (RFC 5890 2.3.2.4): these are shown in the second,
// in which a * still stands for characters. So are local parts in any case,
// because a person who writes Ann@ and ann@ means one mailbox. Nothing goes on
// the wire in this form.
func canonical(address string) string {
	if malformed(address) {
		return address
	}
	address = strings.ToLower(address)
	local, domain, ok := cutAddress(address)
	if !ok {
		return address
	}
	if c := canonicalDomain(domain); c != domain {
		return local + "@" + c
	}
	return address
}

// same says that two addresses mean one mailbox.
func same(a, b string) bool { return canonical(a) == canonical(b) }

func canonicalDomain(domain string) string {
	domain = strings.TrimSuffix(strings.ToLower(domain), ".")
	if !strings.Contains(domain, acePrefix) {
		return domain
	}
	labels := strings.Split(domain, ".")
	for i, l := range labels {
		if ace, ok := strings.CutPrefix(l, acePrefix); ok {
			if u, ok := uLabel(ace); ok {
				labels[i] = u
			}
		}
	}
	return strings.Join(labels, ".")
}

const acePrefix = "xn--"

// uLabel decodes what stands behind the prefix of an A-label, which is in lower
// case. False where it is none: what no U-label gives must not be taken for one
// (RFC 5891 5.4), or a made-up name could pass for somebody's domain.
func uLabel(ace string) (string, bool) {
	label, ok := punycode(ace)
	if !ok || len(label) == 0 {
		return "", false
	}
	beyond := false
	for _, r := range label {
		beyond = beyond || r >= utf8.RuneSelf
		if !utf8.ValidRune(r) || unicode.ToLower(r) != r || r >= utf8.RuneSelf && !unicode.In(r, unicode.L, unicode.M, unicode.N, unicode.P) && r != '\u200c' && r != '\u200d' {
			return "", false
		}
	}
	return string(label), beyond
}

// punycode decodes as RFC 3492 6.2 does. A label has at most 63 octets, so
// nothing longer is looked at.
func punycode(s string) (out []rune, ok bool) {
	const base, tMin, tMax, skew, damp = 36, 1, 26, 38, 700
	if len(s) > 63-len(acePrefix) {
		return nil, false
	}
	if i := strings.LastIndexByte(s, '-'); i >= 0 {
		for _, c := range s[:i] {
			if c >= utf8.RuneSelf {
				return nil, false
			}
			out = append(out, c)
		}
		s = s[i+1:]
	}
	n, at, bias := 0x80, 0, 72
	for first := true; s != ""; first = false {
		was, w := at, 1
		for k := base; ; k += base {
			if s == "" {
				return nil, false
			}
			digit := strings.IndexByte("abcdefghijklmnopqrstuvwxyz0123456789", s[0])
			s = s[1:]
			if digit < 0 || digit > (unicode.MaxRune*64-at)/w { // far above all that can be meant
				return nil, false
			}
			at += digit * w
			t := min(max(k-bias, tMin), tMax)
			if digit < t {
				break
			}
			if w > unicode.MaxRune*64/(base-t) {
				return nil, false
			}
			w *= base - t
		}
		delta, count := at-was, len(out)+1
		if first {
			delta /= damp
		} else {
			delta /= 2
		}
		delta += delta / count
		bias = 0
		for ; delta > (base-tMin)*tMax/2; bias += base {
			delta /= base - tMin
		}
		bias += (base - tMin + 1) * delta / (delta + skew)
		n, at = n+at/count, at%count
		if n > unicode.MaxRune {
			return nil, false
		}
		out = slices.Insert(out, at, rune(n))
		at++
	}
	return out, true
}
