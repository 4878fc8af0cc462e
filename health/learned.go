package health

import "time"

// learnedFor is how long a limit is believed, over all restarts: else one that
// was raised, or never was one, would be learnt again from the file for ever.
const learnedFor = 24 * time.Hour

// lesson is what an upstream showed of its limits, but its connections, which are
// the tracker's.
type lesson struct {
	Learned
	At time.Time `json:"at,omitzero"`
}

func (l lesson) now(now time.Time) Learned {
	if now.Sub(l.At) >= learnedFor {
		return Learned{}
	}
	return l.Learned
}

// Learn keeps what an upstream shows of its limits now, over restarts: 0 for
// none, but connections of 0 change nothing.
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
	u.learned = lesson{Learned{Size: l.Size, Recipients: l.Recipients}, now}
	m.apply(u, next, now)
}

// Learned is what an upstream showed of its limits.
func (m *Monitor) Learned(name string) Learned {
	now := wall()
	m.mu.Lock()
	defer m.mu.Unlock()
	if u := m.upstreams[name]; u != nil {
		l := u.learned.now(now)
		l.Connections = u.Fewer.limit(now)
		return l
	}
	return Learned{}
}
