package relay

import (
	"slices"
	"strings"
)

// domainOf is what stands behind the @ of an address, all of it where there is
// none.
func domainOf(address string) string {
	return strings.ToLower(address[strings.LastIndexByte(address, '@')+1:])
}

// mayName says whether a session may name a recipient of the domain: some
// upstreams limit how many domains one has (RFC 9422, RCPTDOMAINMAX).
func (c *conn) mayName(domain string) bool {
	return c.caps.domains == 0 || len(c.named) < c.caps.domains || slices.Contains(c.named, domain)
}

// name notes that a recipient of the domain is about to be named; false: it may
// not be.
func (c *conn) name(domain string) bool {
	if !c.mayName(domain) {
		return false
	}
	if c.caps.domains > 0 && !slices.Contains(c.named, domain) {
		c.named = append(c.named, domain)
	}
	return true
}

// parted is those of the recipients whom the session may name, and those for
// another one.
func (t *transaction) parted(rcpts []int) (here, rest []int) {
	if t.c.caps.domains == 0 {
		return rcpts, nil
	}
	for _, i := range rcpts {
		if t.c.name(domainOf(t.d.Recipients[i].Address)) {
			here = append(here, i)
		} else {
			rest = append(rest, i)
		}
	}
	return here, rest
}
