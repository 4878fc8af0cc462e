package health

import "cmp"

// Learn keeps what an upstream showed of its limits, over restarts. What is 0
// stays as it was.
func (m *Monitor) Learn(name string, l Learned) {
	now := wall()
	m.mu.Lock()
	defer m.unlock()
	u := m.upstreams[name]
	if u == nil {
		return
	}
	next := u.tracker
	if l.Connections > 0 {
		next.Fewer = fewer{l.Connections, now}
	}
	u.learned = Learned{Size: cmp.Or(l.Size, u.learned.Size), Recipients: cmp.Or(l.Recipients, u.learned.Recipients)}
	m.apply(u, next, now)
}

// Learned is what an upstream showed of its limits.
func (m *Monitor) Learned(name string) Learned {
	now := wall()
	m.mu.Lock()
	defer m.mu.Unlock()
	if u := m.upstreams[name]; u != nil {
		l := u.learned
		l.Connections = u.Fewer.limit(now)
		return l
	}
	return Learned{}
}
