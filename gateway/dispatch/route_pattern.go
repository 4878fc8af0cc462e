package dispatch

import (
	"slices"
	"strings"
)

// matches holds an address against a pattern of senders: a whole address,
// @domain, or either with * for any run of characters. Both are canonical.
func matches(pattern, address string) bool {
	if malformed(address) {
		return pattern == "*"
	}
	if !strings.HasPrefix(pattern, "@") {
		return glob(pattern, address)
	}
	_, domain, ok := cutAddress(address)
	return ok && glob(pattern[1:], domain)
}

func matchesAny(patterns []string, address string) bool {
	return slices.ContainsFunc(patterns, func(p string) bool { return matches(p, address) })
}

// leadsTo holds the domain of a recipient against patterns of domains.
func leadsTo(patterns []string, recipient string) bool {
	_, domain, _ := cutAddress(canonical(recipient))
	return slices.ContainsFunc(patterns, func(p string) bool { return glob(p, domain) })
}

// glob matches s, where each * of the pattern stands for any run of characters.
// It goes back to the last * only, so it is quick for every pattern.
func glob(pattern, s string) bool {
	p, i, star, from := 0, 0, -1, 0
	for i < len(s) {
		switch {
		case p < len(pattern) && pattern[p] == '*':
			star, from = p, i
			p++
		case p < len(pattern) && pattern[p] == s[i]:
			p++
			i++
		case star >= 0:
			from++
			p, i = star+1, from
		default:
			return false
		}
	}
	return strings.Trim(pattern[p:], "*") == ""
}

// realDomain says whether mail to the address could come back over the
// Internet: root, pi@raspberry and ann@box.local could not.
func realDomain(address string) bool {
	_, domain, ok := cutAddress(canonical(address))
	if !ok || domain == "" {
		return false
	}
	if strings.HasPrefix(domain, "[") {
		return true
	}
	label := domain[strings.LastIndexByte(domain, '.')+1:]
	// RFC 6761, RFC 6762 and RFC 8375 reserve names for use at home.
	return label != domain && !slices.Contains([]string{"local", "localdomain", "lan", "internal", "home", "localhost", "invalid"}, label) &&
		!strings.HasSuffix(domain, ".home.arpa")
}

func cutAddress(address string) (local, domain string, ok bool) {
	i := strings.LastIndexByte(address, '@')
	if i < 0 {
		return address, "", false
	}
	return address[:i], address[i+1:], true
}
