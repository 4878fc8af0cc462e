package health

import (
	"iter"
	"time"
)

// What the config has no more may come back: a name is mended, an upstream was
// taken out for a test. Its provider has forgotten nothing meanwhile, so what
// counts for a day is kept as long: what was spent, and logins that were refused.

// goneFor is the longest that any of it counts.
const goneFor = 24 * time.Hour

// part keeps an upstream that the config has no more. Deliveries still under way
// there go on counting. The caller holds mu.
func (m *Monitor) part(u *upstream, now time.Time) {
	u.stopProbe()
	u.waits, u.left = false, now
	m.gone[u.Name] = u
}

// partedBefore takes up what a former run had kept. The caller holds mu.
func (m *Monitor) partedBefore(saved savedState) {
	for name, was := range saved.Upstreams {
		if m.upstreams[name] != nil {
			continue
		}
		if was.Left.IsZero() { // it was in the config of that run
			was.Left = saved.Saved
		}
		m.gone[name] = &upstream{
			Target: Target{Name: name, Account: was.Account}, tracker: was.tracker, learned: was.Learned,
			budget: budget{spent: was.Spent}, down: make(chan struct{}), left: was.Left,
		}
	}
}

// comeBack gives what is still known of an upstream that is in the config again,
// nil for nothing. How it is reached is to be seen anew. The caller holds mu.
func (m *Monitor) comeBack(name string, now time.Time) *upstream {
	m.forgetGone(now)
	u := m.gone[name]
	if u == nil {
		return nil
	}
	delete(m.gone, name)
	u.left, u.latest = time.Time{}, nil
	u.tracker = u.anew(now)
	if u.Breaker.Kind == Place { // we may be in another one
		u.Breaker = u.Breaker.elsewhere(now)
	}
	u.pace = downPace(now, time.Time{})
	return u
}

// forgetGone drops what nothing is kept of any more. The caller holds mu.
func (m *Monitor) forgetGone(now time.Time) {
	for name, u := range m.gone {
		if now.Sub(u.left) >= goneFor {
			delete(m.gone, name)
		}
	}
}

// all gives every upstream of which something is kept. The caller holds mu.
func (m *Monitor) all() iter.Seq[*upstream] {
	return func(yield func(*upstream) bool) {
		for _, list := range []map[string]*upstream{m.upstreams, m.gone} {
			for _, u := range list {
				if !yield(u) {
					return
				}
			}
		}
	}
}
