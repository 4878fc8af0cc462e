package health

import (
	"context"
	"time"

	"golang.org/x/sync/errgroup"
)

// The loop looks at the clock at least this often: timers stand still while
// the machine sleeps.
const lookAgain = 5 * time.Second

// saveEvery is how far the file may be behind.
const saveEvery = 10 * time.Second

// Run probes the upstreams, counts the time online and keeps the file, until
// ctx ends. It returns nil.
func (m *Monitor) Run(ctx context.Context) error {
	m.mu.Lock()
	m.odometer.look(time.Now(), m.isOnline())
	m.mu.Unlock()
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error {
		timer := time.NewTimer(0)
		defer timer.Stop()
		for {
			select {
			case <-ctx.Done():
				return nil
			case <-m.wake:
			case <-timer.C:
			}
			timer.Reset(m.look(ctx, g))
		}
	})
	g.Go(func() error {
		ticker := time.NewTicker(saveEvery)
		defer ticker.Stop()
		for {
			select {
			case <-ctx.Done():
				return nil
			case <-ticker.C:
				m.save()
			}
		}
	})
	g.Wait()
	m.mu.Lock()
	m.odometer.look(time.Now(), m.isOnline())
	m.dirty = true
	m.mu.Unlock()
	m.saveNow()
	return nil
}

// look does what is due, and says how long to sleep.
func (m *Monitor) look(ctx context.Context, g *errgroup.Group) time.Duration {
	m.mu.Lock()
	defer m.unlock()
	m.lookAtClock(time.Now())
	now := wall()
	next := now.Add(lookAgain)
	for _, name := range m.order {
		u := m.upstreams[name]
		m.tell(u, false, now)
		if u.Breaker.open(now) {
			next = sooner(next, u.Breaker.Until)
		}
		if u.probing {
			continue
		}
		due := u.pace.due(u.tracker, m.demand(u, now), m.opts.Interval)
		if due.After(now) {
			next = sooner(next, due)
			continue
		}
		u.probing = true
		u.pace.probed(u.tracker, now)
		probe, timeout, generation := u.Probe, m.opts.Timeout, u.generation
		g.Go(func() error { m.probe(ctx, u, probe, timeout, generation); return nil })
	}
	return next.Sub(now)
}

func (m *Monitor) probe(ctx context.Context, u *upstream, probe Prober, timeout time.Duration, generation int) {
	pctx, cancel := context.WithTimeout(ctx, timeout)
	fault := probe(pctx)
	cancel()

	now := wall()
	m.mu.Lock()
	defer m.unlock()
	u.probing = false
	m.poke()
	if ctx.Err() == nil { // a probe that was cancelled counts neither way
		m.observe(u, observation{probe: true, generation: generation, fault: fault}, now)
	}
}

// observe takes in what was found. The caller holds mu.
func (m *Monitor) observe(u *upstream, o observation, now time.Time) {
	if m.upstreams[u.Name] != u {
		return // no longer watched
	}
	if o.fault.Kind != Network {
		m.answered = now
	}
	if o.fault.OK() && !o.probe {
		if idle := !u.pace.last.Before(u.served); idle && u.Reach == up {
			u.pace = upPace(now, u.pace.last, m.opts.Interval)
		}
		u.served = now
	}
	m.apply(u, u.tracker.observe(o, now, m.opts.Rise), now)
}
