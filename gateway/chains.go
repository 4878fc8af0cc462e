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
// carry, are nobody's.
func chains(upstreams []UpstreamConfig) []alert.Chain {
	rs := dispatch.NewRoutes(routes(upstreams))
	var list []alert.Chain
	add := func(who, sample string) {
		names := rs.Eligible(&queue.Message{ReversePath: sample})
		i := slices.IndexFunc(list, func(c alert.Chain) bool { return slices.Equal(c.Upstreams, names) })
		switch {
		case len(names) == 0: // such mail is refused at MAIL
		case i < 0:
			list = append(list, alert.Chain{Senders: []string{who}, Upstreams: names})
		case !slices.Contains(list[i].Senders, who):
			list[i].Senders = append(list[i].Senders, who)
		}
	}
	for _, u := range upstreams {
		for _, s := range u.Senders {
			add(strings.ToLower(s), s) // "@domain" stands for anyone there
		}
	}
	add("anybody else", "@anybody.else.example")
	if slices.ContainsFunc(upstreams, func(u UpstreamConfig) bool { return u.DefaultFrom != "" }) {
		add("programs without an address", "root")
	}
	return list
}

func routes(upstreams []UpstreamConfig) []dispatch.Route {
	var rs []dispatch.Route
	for _, u := range upstreams {
		rs = append(rs, dispatch.Route{Name: u.Name, Senders: u.Senders, DefaultFrom: u.DefaultFrom, Recipients: u.Recipients, Rewrite: u.Rewrite, MaxMessage: u.Limits.Message})
	}
	return rs
}
