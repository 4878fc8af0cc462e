package health

// Pass is one delivery under way at an upstream. It ends with one call of
// either Done or Cancel. Its zero value stands for nothing.
type Pass struct {
	m          *Monitor
	u          *upstream
	generation int
	trial      bool
}

// Start is called before a delivery. It takes the trial if there is one, and
// says false when the upstream cannot be used now.
func (m *Monitor) Start(name string) (Pass, bool) {
	now := wall()
	m.mu.Lock()
	u := m.upstreams[name]
	if u == nil || u.standing(now).Rank == Unusable {
		m.unlock()
		return Pass{}, false
	}
	p := Pass{m: m, u: u, generation: u.generation, trial: !u.Breaker.closed()}
	login := p.trial && u.Breaker.Kind == Account
	if p.trial {
		u.trial = true
		if login {
			u.Breaker = u.Breaker.charge(now)
			m.dirty = true
		}
		m.tell(u, false, now)
	}
	m.unlock()
	if login {
		m.saveNow()
	}
	return p, true
}

// Done reports how the delivery went. The zero Fault means that the upstream
// served, whatever it said about the message.
func (p Pass) Done(f Fault) {
	if p.m == nil {
		return
	}
	now := wall()
	p.m.mu.Lock()
	if p.trial {
		p.u.trial = false
	}
	p.m.observe(p.u, observation{trial: p.trial, generation: p.generation, fault: f}, now)
	p.m.unlock()
	// The next login must not come before this one is on record.
	if f.Kind == Account {
		p.m.saveNow()
	}
}

// Cancel ends a delivery that says nothing about the upstream: it was stopped,
// or the trouble was ours.
func (p Pass) Cancel() {
	if p.m == nil {
		return
	}
	now := wall()
	p.m.mu.Lock()
	defer p.m.unlock()
	if p.trial {
		p.u.trial = false
		next := p.u.tracker
		next.Breaker = next.Breaker.refund(now)
		p.m.apply(p.u, next, now)
	}
}
