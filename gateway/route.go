package gateway

import (
	"mailroam/gateway/admin"
	"mailroam/gateway/dispatch"
	"mailroam/queue"
)

// Explain says what a configuration alone would do with a message to one
// recipient.
func Explain(cfg *Config, m *queue.Message) admin.Route {
	list, noRoute := dispatch.NewRoutes(routes(cfg.Upstreams)).Explain(m)
	return admin.Answer(m, choices(m, list), noRoute, nil)
}

func (g *Gateway) explain(m *queue.Message) ([]admin.Choice, string) {
	list, noRoute := g.dispatch.Explain(m)
	return choices(m, list), noRoute
}

func choices(m *queue.Message, list []dispatch.Choice) []admin.Choice {
	all := []admin.Choice{}
	for _, c := range list {
		a := admin.Choice{Name: c.Upstream, May: c.Bar == "", Blocked: c.Blocked, Author: c.Author, Turn: c.Turn}
		switch {
		case c.Bar != "":
			a.Why = c.Bar
		case !c.Blocked.IsZero():
			a.Why = "relays nothing for this sender: " + c.Why
		case c.Lacks != "":
			a.Why = c.Lacks + "; no other could take it either, so it is asked all the same, and is likely to refuse it"
		}
		if c.ReversePath != m.ReversePath {
			a.ReversePath = c.ReversePath
		}
		all = append(all, a)
	}
	return all
}

// blocked lists the senders for whom an upstream relays nothing now.
func (g *Gateway) blocked(upstream string) (list []admin.Block) {
	for _, b := range g.dispatch.Blocks() {
		if b.Upstream == upstream {
			list = append(list, admin.Block{Sender: b.Sender, Until: b.Until, Why: b.Why})
		}
	}
	return list
}

// ParseSize reads a size in the form that the config has: "25MiB".
func ParseSize(s string) (int64, bool) { return parseSize(s) }
