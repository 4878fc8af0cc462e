package health

import (
	"context"
	"log/slog"
	"time"
)

// apply makes next the state of u, and tells whom it concerns. The caller
// holds mu.
func (m *Monitor) apply(u *upstream, next tracker, now time.Time) {
	before := u.tracker
	next = m.opts.Failback.settle(before, next, now)
	u.tracker = next
	m.dirty = true
	if next.Reach != before.Reach {
		switch next.Reach {
		case down:
			u.pace = downPace(now, u.pace.last)
		case up:
			u.pace = upPace(now, u.pace.last, m.opts.Interval)
		}
		m.poke()
	}
	failed := next.Reach != before.Reach && (next.Reach == suspect || next.Reach == down)
	m.tell(u, failed, now)
}

// tell compares what is with what was last told. The passing of time changes a
// standing too, so the loop calls it as well. The caller holds mu.
func (m *Monitor) tell(u *upstream, failed bool, now time.Time) {
	closed := isClosed(u.down)
	if (failed || m.blocked(u, now)) && !closed {
		close(u.down)
		closed = true
	}
	if closed && !m.blocked(u, now) {
		u.down = make(chan struct{})
	}
	s := m.standing(u, now)
	s.Room = 0 // who waits for it waits for a rank
	if s != u.told {
		u.told = s
		m.notify()
	}
	word, kind := u.word(now), u.Breaker.Kind
	switch {
	case word == string(unknown):
		return // not news: what was last seen is told when it is seen otherwise
	case word == Offline && m.outlook.State == Offline:
		return // nor is it that this one has no route when none has
	case word == Limited && !u.budget.lasting():
		return // a limit of a minute only sets the pace
	case word == u.toldWord && kind == u.toldKind:
		return
	}
	u.toldWord, u.toldKind = word, kind
	level := slog.LevelInfo
	switch {
	case word == Trial:
		return // not news: nothing was seen
	case kind == Account:
		level = slog.LevelError
	case word != string(up) && word != Limited:
		level = slog.LevelWarn
	}
	attrs := []any{"upstream", u.Name, "state", word}
	if _, why := m.trouble(u, now); why != "" {
		attrs = append(attrs, "why", why)
	}
	switch {
	case !u.Breaker.closed():
		attrs = append(attrs, "until", u.Breaker.Until.UTC().Truncate(time.Second))
	case word == Limited:
		attrs = append(attrs, "until", u.budget.until(now).UTC().Truncate(time.Second))
	}
	log := m.opts.Log
	m.logs = append(m.logs, func() { log.Log(context.Background(), level, "upstream", attrs...) })
}

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

func (m *Monitor) notify() { signal(m.changed) }
func (m *Monitor) poke()   { signal(m.wake) }

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// unlock releases mu and then writes the log, which may block.
func (m *Monitor) unlock() {
	logs := m.logs
	m.logs = nil
	m.mu.Unlock()
	for _, log := range logs {
		log()
	}
}
