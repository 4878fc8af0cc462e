package dispatch

import (
	"strings"
	"unicode/utf8"

	"golang.org/x/net/idna"
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

// domains reads names as people write them (RFC 5895), with * and _ let through.
var domains = idna.New(idna.MapForLookup(), idna.StrictDomainName(false))

// canonicalDomain leaves alone what no U-label gives (RFC 5891 5.4): a made-up
// A-label, or a wide ＠, could pass for somebody's domain.
func canonicalDomain(domain string) string {
	domain = strings.TrimSuffix(strings.ToLower(domain), ".")
	plain := !strings.ContainsFunc(domain, func(r rune) bool { return r >= utf8.RuneSelf })
	if plain && !strings.Contains(domain, "xn--") {
		return domain
	}
	u, err := domains.ToUnicode(domain)
	if a, _ := domains.ToASCII(u); err != nil || plain && a != domain || strings.Contains(u, "@") {
		return domain
	}
	return u
}
