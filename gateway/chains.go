package gateway

import (
	"slices"
	"strings"

	"mailroam/gateway/alert"
	"mailroam/gateway/dispatch"
	"mailroam/queue"
)

// chains lists whose mail may take which upstreams, in order of preference:
// what is a second choice is so for somebody. Notices, which any upstream may
// carry, are nobody's. Where it depends on the recipient too, that is said.
func chains(upstreams []UpstreamConfig) []alert.Chain {
	rs := dispatch.NewRoutes(routes(upstreams))
	var list []alert.Chain
	add := func(who string, names []string) {
		i := slices.IndexFunc(list, func(c alert.Chain) bool { return slices.Equal(c.Upstreams, names) })
		switch {
		case len(names) == 0: // such mail is refused at MAIL, or held
		case i < 0:
			list = append(list, alert.Chain{Senders: []string{who}, Upstreams: names})
		case !slices.Contains(list[i].Senders, who):
			list[i].Senders = append(list[i].Senders, who)
		}
	}
	all := append(patterns(upstreams), party{"anybody else", "@anybody.else.example"})
	if slices.ContainsFunc(upstreams, func(u UpstreamConfig) bool { return u.DefaultFrom != "" }) {
		all = append(all, party{"programs without an address", "root"})
	}
	for _, from := range all {
		elsewhere := rs.Eligible(sample(from.sample, "bob@anybody.else.example"))
		add(from.name, elsewhere)
		for _, to := range destinations(upstreams) {
			if names := rs.Eligible(sample(from.sample, to.sample)); !slices.Equal(names, elsewhere) {
				add(from.name+" to "+to.name, names)
			}
		}
	}
	return list
}

// party is a pattern, and an address that it is the narrowest to match.
type party struct{ name, sample string }

// patterns are those of senders. "@domain" stands for anyone there.
func patterns(upstreams []UpstreamConfig) (all []party) {
	add := func(pattern string) {
		if pattern = strings.ToLower(pattern); pattern != "*" {
			all = append(all, party{pattern, somebody(pattern)})
		}
	}
	for _, u := range upstreams {
		for _, s := range u.Senders {
			add(s)
		}
		for _, w := range u.Rewrite {
			add(w.Pattern)
		}
	}
	return all
}

func destinations(upstreams []UpstreamConfig) (all []party) {
	for _, u := range upstreams {
		for _, r := range u.Recipients {
			if r != "*" {
				all = append(all, party{r, "bob@" + somebody(strings.TrimPrefix(r, "@"))})
			}
		}
	}
	return all
}

func somebody(pattern string) string { return strings.ReplaceAll(pattern, "*", "anybody.else") }

func sample(from, to string) *queue.Message {
	return &queue.Message{ReversePath: from, Recipients: []queue.Recipient{{Address: to, State: queue.Pending}}}
}

func routes(upstreams []UpstreamConfig) []dispatch.Route {
	var rs []dispatch.Route
	for _, u := range upstreams {
		rs = append(rs, dispatch.Route{Name: u.Name, Senders: u.Senders, DefaultFrom: u.DefaultFrom, Recipients: u.Recipients, Rewrite: u.Rewrite, MaxMessage: u.Limits.Message})
	}
	return rs
}
