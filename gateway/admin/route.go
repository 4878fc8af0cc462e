package admin

import (
	"cmp"
	"context"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"time"

	"mailroam/health"
	"mailroam/queue"
)

// Route is the answer to "where would this go?": each upstream, in order of
// preference.
type Route struct {
	From    string   `json:"from"` // "" is the null reverse-path
	To      string   `json:"to"`
	Authors []string `json:"authors"`
	// NoRoute is why none may carry it, and what to do; "" when one may.
	NoRoute   string   `json:"no_route"`
	Upstreams []Choice `json:"upstreams"`
}

// Choice is what is thought of an upstream for a message.
type Choice struct {
	Name string `json:"name"`
	May  bool   `json:"may"`
	// Why it may not carry it, or not now; where it may, what is likely to go wrong.
	Why string `json:"why"`
	// Blocked is until when it is not asked for this sender.
	Blocked time.Time `json:"blocked,omitzero"`
	// ReversePath and Author are what it is told and shown in place of the sender's
	// own.
	ReversePath string `json:"reverse_path,omitempty"`
	Author      string `json:"author,omitempty"`
	// Turn is 1 where the message would go now, 2 where it would go next, and so
	// on; 0: nowhere now.
	Turn int `json:"turn"`
	// Now is how the upstream is; nil when nobody knows, since no gateway runs.
	Now *health.Status `json:"now,omitempty"`
}

// Question is a message as it is asked about.
func Question(from, to string, c queue.Content, size int64) *queue.Message {
	return &queue.Message{
		ReversePath: from, Size: size, Content: c,
		Recipients: []queue.Recipient{{Address: to, State: queue.Pending}},
	}
}

// Answer puts what is thought of the upstreams beside how they are.
func Answer(m *queue.Message, choices []Choice, noRoute string, list []health.Status) Route {
	r := Route{From: m.ReversePath, To: m.Recipients[0].Address, Authors: append([]string{}, m.Authors...), NoRoute: noRoute, Upstreams: choices}
	for i := range r.Upstreams {
		c := &r.Upstreams[i]
		k := slices.IndexFunc(list, func(s health.Status) bool { return s.Name == c.Name })
		if k < 0 {
			continue
		}
		c.Now = &list[k]
		if c.May && c.Turn == 0 {
			c.Why = cmp.Or(c.Why, list[k].Why)
		}
	}
	return r
}

func (s *Server) route(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	size, _ := strconv.ParseInt(q.Get("size"), 10, 64)
	m := Question(q.Get("from"), q.Get("to"), queue.Content{
		Authors: q["author"], EightBit: q.Has("8bit"), UTF8: q.Has("utf8"), RequireTLS: q.Has("requiretls"),
	}, size)
	choices, noRoute := s.Options.Route(m)
	answer(w, Answer(m, choices, noRoute, s.Health.Status()))
}

// Route asks where a message would go.
func (c *Client) Route(ctx context.Context, m *queue.Message) (r Route, err error) {
	q := url.Values{"from": {m.ReversePath}, "to": {m.Recipients[0].Address}, "author": m.Authors, "size": {strconv.FormatInt(m.Size, 10)}}
	for name, on := range map[string]bool{"8bit": m.EightBit, "utf8": m.UTF8, "requiretls": m.RequireTLS} {
		if on {
			q.Set(name, "")
		}
	}
	err = c.ask(ctx, http.MethodGet, "route", q, &r)
	return r, err
}

// Block says that an upstream relays nothing for a sender, as far as is known.
type Block struct {
	Sender string    `json:"sender"` // "" is the null reverse-path
	Until  time.Time `json:"until"`  // when it is asked again
	Why    string    `json:"why"`    // what it said
}
