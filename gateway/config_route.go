package gateway

import (
	"cmp"
	"slices"
	"strings"

	"mailroam/gateway/dispatch"
	"mailroam/queue"
)

const exampleRewrite = `{ "@example.com" = "ann@gmail.com" }`

// rewriting is a rule for a table from patterns of senders to addresses. The
// narrower pattern goes first, however they are written, as a person who reads
// them expects.
func rewriting(to *[]dispatch.Rewrite) rule {
	return rule{value: func(d *decoder, key string, n *node) {
		if n.kind != aTable || len(n.names) == 0 {
			d.problem(n.line, key, "needs a table of senders and addresses, with one at least", "write "+lastName(key)+" = "+exampleRewrite)
			return
		}
		*to = nil
		for _, pattern := range n.names {
			value := n.fields[pattern]
			if f := checkSender(pattern); f.what != "" {
				d.problem(value.line, key, f.what, f.fix)
				continue
			}
			w := dispatch.Rewrite{Pattern: lowerDomain(pattern)}
			if slices.ContainsFunc(*to, func(o dispatch.Rewrite) bool { return strings.EqualFold(o.Pattern, w.Pattern) }) {
				d.problem(value.line, key+"."+printable(pattern), "is there twice, for capitals make no difference", "remove one of them")
				continue
			}
			text(&w.Address, checkAddress).value(d, key+"."+printable(pattern), value)
			w.Address = lowerDomain(w.Address)
			*to = append(*to, w)
		}
		slices.SortStableFunc(*to, func(a, b dispatch.Rewrite) int { return cmp.Compare(breadth(a.Pattern), breadth(b.Pattern)) })
	}}
}

// breadth orders patterns: a whole address, a whole domain, what has a * in it,
// anybody.
func breadth(pattern string) int {
	switch {
	case pattern == "*":
		return 3
	case strings.Contains(pattern, "*"):
		return 2
	case strings.HasPrefix(pattern, "@"):
		return 1
	}
	return 0
}

// filled puts a letter in the place of each * of a pattern, and of what is
// beyond ASCII (RFC 6531 3.3), so that the rest can be checked.
func filled(pattern string) string {
	return strings.Map(func(r rune) rune {
		if r == '*' || r >= 0x80 {
			return 'x'
		}
		return r
	}, pattern)
}

func checkSender(s string) fault {
	if s == "*" {
		return fault{}
	}
	sample := filled(s)
	open := strings.Contains(s, "*") // then one label will do
	if domain, isDomainRule := strings.CutPrefix(sample, "@"); isDomainRule && (isFullDomain(domain) || open && isDomain(domain)) {
		return fault{}
	}
	if local, domain, ok := splitAddress(sample); ok || open && isLocalPart(local) && isDomain(domain) {
		return fault{}
	}
	fix := `write "ann@example.com" for one address, "@example.com" for a domain, with * for any part`
	if isFullDomain(sample) {
		fix = `write "@` + s + `" for the whole domain`
	}
	return fault{quote(s) + " is neither an address nor an @domain", fix}
}

func checkRecipient(s string) fault {
	domain := filled(strings.TrimPrefix(s, "@"))
	switch _, of, _ := splitAddress(domain); {
	case isDomain(domain):
		return fault{}
	case of != "":
		return fault{quote(s) + " is one address, but mail is sent by domain", `write "` + of + `" for all of it`}
	}
	return fault{quote(s) + " is not a domain", `write "example.com" for a domain, "*.example.com" for all below it`}
}

// checkRoute looks at who may send by an upstream, as a whole.
func (d *decoder) checkRoute(e *upstreamEntry) {
	u := &e.u
	for i, s := range u.Senders {
		u.Senders[i] = lowerDomain(s)
	}
	for i, s := range u.Recipients {
		u.Recipients[i] = strings.ToLower(strings.TrimPrefix(s, "@"))
	}
	u.DefaultFrom = lowerDomain(u.DefaultFrom)
	// A replacement that it may not send for could never be used.
	alone := dispatch.NewRoutes(routes([]UpstreamConfig{*u}))
	if u.DefaultFrom != "" && alone.NoRoute(&queue.Message{ReversePath: u.DefaultFrom}) != "" {
		d.problem(e.node.lineOf("default_from"), "upstream.default_from", "is not among this upstream's senders", "add it to senders")
	}
	if len(u.Rewrite) > 0 && slices.Contains(u.Senders, "*") {
		d.warn(e.node.lineOf("rewrite"), "upstream.rewrite", `does nothing: "*" in senders lets everybody send under their own address`, "remove one of them")
	}
}
