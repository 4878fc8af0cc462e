package health

import "time"

// odometer counts the time online. It uses the monotonic clock: time asleep
// is not time online, and a clock that is set changes nothing.
type odometer struct {
	total  time.Duration // up to at
	at     time.Time     // the last look
	online bool          // as of then
}

// reading carries the last look on, for a little while.
func (o odometer) reading(now time.Time) time.Duration {
	if !o.online || o.at.IsZero() {
		return o.total
	}
	return o.total + min(max(0, now.Sub(o.at)), 2*lookAgain)
}

func (o *odometer) look(now time.Time, online bool) {
	o.total, o.at, o.online = o.reading(now), now, online
}

// Odometer is the time spent online since the queue began. It never runs
// backwards.
func (m *Monitor) Odometer() time.Duration {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.odometer.reading(time.Now())
}

// AtLeast raises the odometer to d: what the queue knows may be newer than a
// file that was lost.
func (m *Monitor) AtLeast(d time.Duration) {
	m.mu.Lock()
	defer m.mu.Unlock()
	now := time.Now()
	m.odometer.look(now, m.odometer.online)
	m.odometer.total = max(m.odometer.total, d)
	m.dirty = true
}

// lookAtClock counts the time online and notices a clock that was set back.
// The caller holds mu.
func (m *Monitor) lookAtClock(now time.Time) {
	back := now.Sub(m.clock) - now.Round(0).Sub(m.clock.Round(0))
	m.clock = now
	before := m.odometer.total
	m.odometer.look(now, m.isOnline())
	m.dirty = m.dirty || m.odometer.total != before
	if back >= time.Second {
		m.rewind(back)
	}
}

// rewind moves all times with the clock: what was to last a minute must not
// last until the clock is there again. The caller holds mu.
func (m *Monitor) rewind(back time.Duration) {
	times := []*time.Time{&m.outlook.Since, &m.proved}
	for u := range m.all() {
		u.tracker = u.shift(-back)
		u.budget.spent.shift(-back)
		times = append(times, &u.left, &u.pace.began, &u.pace.last, &u.waited, &u.served, &u.routedSince, &u.budget.since, &u.learned.At)
	}
	for _, at := range times {
		if !at.IsZero() {
			*at = at.Add(-back)
		}
	}
}
