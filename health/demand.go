package health

import (
	"slices"
	"time"
)

// Demand names the upstreams that mail waits for now. The first to wait, after
// a while without, has its upstream probed at once.
func (m *Monitor) Demand(names []string) {
	now := wall()
	m.mu.Lock()
	defer m.unlock()
	for _, name := range m.order {
		u := m.upstreams[name]
		before := u.waits
		u.waits = slices.Contains(names, name)
		if u.waits && !before && u.Reach == down {
			m.hurry(u, now)
		}
		if u.waits || before {
			u.waited = now
		}
	}
}

// waitsAnew is how long no mail waited until the next counts as the first.
const waitsAnew = 30 * time.Second

// hurry probes a down upstream for which mail begins to wait, and begins its
// pace anew. While another one carries the mail, each message waits for a
// moment: that must not become a probe each.
func (m *Monitor) hurry(u *upstream, now time.Time) {
	others := slices.ContainsFunc(m.order, func(name string) bool {
		o := m.upstreams[name]
		return o != u && m.standing(o, now).Rank != Unusable
	})
	if others && now.Sub(u.waited) < waitsAnew {
		return
	}
	last := u.pace.last
	if now.Sub(last) >= quick {
		last = time.Time{}
	}
	if others {
		u.pace.last = last
	} else {
		u.pace = downPace(now, last)
	}
	m.poke()
}

// demand gathers what the mail asks of u's probes. What is only inferred about
// the network may be wrong, so it is always asked whether it is over.
func (m *Monitor) demand(u *upstream, now time.Time) demand {
	lately := func(t time.Time) bool { return !t.IsZero() && now.Sub(t) < mailFlows }
	d := demand{wanted: u.waits || lately(u.served), served: u.served, portal: m.outlook.State == Portal}
	if m.outlook.inferred() {
		d.wanted = true
		return d
	}
	for _, o := range m.upstreams {
		if o != u && lately(o.served) {
			d.wanted, d.elsewhere = true, true
		}
	}
	return d
}
