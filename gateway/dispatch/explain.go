package dispatch

import (
	"slices"
	"time"

	"mailroam/health"
	"mailroam/queue"
)

// Choice is what is thought of an upstream for a message.
type Choice struct {
	Upstream string
	Bar      string // why it may not carry it, "" when it may
	// Lacks is what it is asked for all the same, since nobody offers it.
	Lacks string
	// Blocked is until when it is not asked for this sender, because it said Why;
	// zero: it is.
	Blocked time.Time
	Why     string
	// ReversePath and Author are as Routes.From says.
	ReversePath, Author string
	// Turn is 1 where the message would go now, 2 where it would go next, and so
	// on; 0: nowhere now.
	Turn int
}

// Explain says of each upstream, in order of preference, what would be done now
// with a message to one recipient. noRoute is as Routes.NoRoute.
func (d *Dispatcher) Explain(m *queue.Message) (list []Choice, noRoute string) {
	now := time.Now()
	d.mu.Lock()
	defer d.mu.Unlock()
	rs := d.config.knowing().Routes
	return rs.explain(m, func(upstream string) (health.Rank, block) {
		b := d.senders[at(upstream, m.ReversePath)]
		if !b.until.After(now) {
			b = block{}
		}
		return d.Health.Standing(upstream).Rank, b
	}), rs.NoRoute(m)
}

// Explain is the same where nothing is known of the upstreams but the
// configuration.
func (rs Routes) Explain(m *queue.Message) (list []Choice, noRoute string) {
	return rs.explain(m, func(string) (health.Rank, block) { return health.Ready, block{} }), rs.NoRoute(m)
}

func (rs Routes) explain(m *queue.Message, now func(upstream string) (health.Rank, block)) []Choice {
	i := anybody
	if len(m.Recipients) > 0 {
		i = 0
	}
	list := make([]Choice, len(rs.list))
	var turns []int
	ranks := make([]health.Rank, len(rs.list))
	for k := range rs.list {
		r, c := &rs.list[k], &list[k]
		rank, b := now(r.Name)
		*c = Choice{Upstream: r.Name, Bar: rs.bar(m, i, r).String(), Blocked: b.until, Why: b.why}
		if c.Bar == "" {
			c.Lacks = r.lacks(m).String()
			c.ReversePath, c.Author = rs.From(m, r.Name)
		}
		if ranks[k] = rank; c.Bar == "" && c.Blocked.IsZero() && rank > health.Unusable {
			turns = append(turns, k)
		}
	}
	slices.SortStableFunc(turns, func(a, b int) int { return int(ranks[b] - ranks[a]) })
	for turn, k := range turns {
		list[k].Turn = turn + 1
	}
	return list
}
