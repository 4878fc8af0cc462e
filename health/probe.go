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
		m.route(m.upstreams[name], now)
	}
	if m.judge(now) {
		m.logOutlook(nil)
	}
	for _, name := range m.order {
		u := m.upstreams[name]
		if u.Breaker.open(now) {
			next = sooner(next, u.Breaker.Until)
		}
		if u.budget.limited(now) {
			next = sooner(next, u.budget.until(now))
		}
		if u.probing != nil || !u.routed {
			continue
		}
		due := u.pace.due(u.tracker, m.demand(u, now), m.opts.Interval)
		if due.After(now) {
			next = sooner(next, due)
			continue
		}
		u.pace.probed(u.tracker, now)
		pctx, cancel := context.WithTimeout(ctx, m.opts.Timeout)
		p := &inFlight{u, u.generation, cancel}
		u.probing = p
		probe := u.Probe
		g.Go(func() error {
			defer cancel()
			m.probed(ctx, p, probe(pctx))
			return nil
		})
	}
	return next.Sub(now)
}

// inFlight is a probe under way.
type inFlight struct {
	u          *upstream
	generation int
	cancel     context.CancelFunc
}

// stopProbe ends the probe under way, if any: it asks what is no question any
// more. The next one need not wait for its end. The caller holds the Monitor's
// mu.
func (u *upstream) stopProbe() {
	if u.probing != nil {
		u.probing.cancel()
		u.probing = nil
	}
}

// probed takes in what a probe found. One that was cancelled counts neither
// way.
func (m *Monitor) probed(ctx context.Context, p *inFlight, f Fault) {
	now := wall()
	m.mu.Lock()
	defer m.unlock()
	if p.u.probing != p {
		return
	}
	p.u.probing = nil
	m.poke()
	if ctx.Err() == nil {
		m.observe(p.u, observation{probe: true, generation: p.generation, fault: f}, now)
	}
}

// observe takes in what was found. The caller holds mu.
func (m *Monitor) observe(u *upstream, o observation, now time.Time) {
	if m.upstreams[u.Name] != u { // no longer watched
		if o.fault.Kind == Account { // but it may come back, and a login was made
			u.Breaker = u.Breaker.fail(o.fault, o.trial, now)
		}
		return
	}
	m.route(u, now)
	if o.probe && o.fault.Kind == Connections && o.fault.Sign == NoSign {
		o.fault = Fault{} // who counts our connections answers
	}
	// A session that was lost may have been so for any reason.
	lost := !o.probe && (o.fault.Kind == Session || o.fault.Kind == Message) && o.fault.Sign == NoSign
	if !u.routed || lost && m.outlook.inferred() {
		o.generation = none // it speaks of the network, which is known to be bad
	}
	if o.fault.OK() && !o.probe {
		if idle := !u.pace.last.Before(u.served); idle && u.Reach == up {
			u.pace = upPace(now, u.pace.last, m.opts.Interval)
		}
		u.served = now
	}
	news := o.generation == u.generation && !lost
	if news {
		u.latest = &o.fault
	}
	before, inferred := u.tracker, m.outlook.inferred()
	m.apply(u, u.tracker.observe(o, now, m.opts.Rise), now)
	fell := u.Reach != before.Reach && (u.Reach == suspect || u.Reach == down)
	if lost || fell && !u.local {
		m.doubtAll(now)
	}
	if m.judge(now) {
		m.logOutlook(nil)
	}
	if inferred && m.isOnline() && o.fault.OK() {
		m.relieve(u, before, now)
	}
	if news && o.fault.OK() && !u.local && !u.Unproven {
		m.proved = now
	}
}

// doubtAll asks those at once who are up and were not heard of lately: what
// silenced one may be the network, which silences them all. It is called for
// news only, since one that stays down must not have the others asked again and
// again. The caller holds mu.
func (m *Monitor) doubtAll(now time.Time) {
	for _, u := range m.upstreams {
		heard := now.Sub(u.LastGood) < quick || now.Sub(u.pace.last) < quick
		if u.Reach == up && u.probing == nil && !heard {
			u.pace.last = time.Time{}
			m.poke()
		}
	}
}
