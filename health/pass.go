package health

import "time"

// Pass is one delivery under way at an upstream. It ends with one call of
// Done, Cancel or CutInLogin. Its zero value stands for nothing.
type Pass struct {
	m          *Monitor
	u          *upstream
	generation int
	trial      int // its number; 0: it is none
	rcpts      int // set aside for it
	spent      int
}

// Start is called before a delivery to so many recipients. It takes the trial if
// there is one, sets what they cost aside from the budget, and says false when
// the upstream cannot be used now. Where the budget is left for fewer, the pass is
// for those (Rcpts): so a message with more recipients than a limit has its turn
// as well.
func (m *Monitor) Start(name string, rcpts int) (Pass, bool) {
	now := wall()
	m.mu.Lock()
	u := m.upstreams[name]
	if u == nil || m.standing(u, now).Rank == Unusable {
		m.unlock()
		return Pass{}, false
	}
	p := Pass{m: m, u: u, generation: u.generation, rcpts: min(rcpts, u.budget.free(now))}
	u.underWay++
	u.budget.aside += p.rcpts
	u.easing = u.easing.begin(now)
	login := u.Breaker.suspectsLogin()
	if !u.Breaker.closed() {
		u.trials++
		u.trial, p.trial = u.trials, u.trials
		if login {
			u.Breaker = u.Breaker.charge(now)
			m.dirty = true
		}
	}
	if p.trial != 0 || u.budget.limits != (Limits{}) {
		m.tell(u, false, now)
	}
	m.unlock()
	if login {
		m.saveNow()
	}
	return p, true
}

// Rcpts is how many recipients the delivery may be for.
func (p Pass) Rcpts() int { return p.rcpts }

// Spent says, before the pass ends, how many recipients the upstream took, or may
// have taken: only those are counted against its limits.
func (p *Pass) Spent(rcpts int) { p.spent += rcpts }

// Done reports how the delivery went. The zero Fault means that the upstream
// served, whatever it said about the message.
func (p Pass) Done(f Fault) {
	if p.m == nil {
		return
	}
	now := wall()
	p.m.mu.Lock()
	o := observation{trial: p.endTrial(), generation: p.generation, fault: f, underWay: p.u.underWay}
	p.end(now)
	p.m.observe(p.u, o, now)
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
	p.end(now)
	next := p.u.tracker
	if p.endTrial() {
		next.Breaker = next.Breaker.refund(now)
	}
	p.m.apply(p.u, next, now)
}

// CutInLogin ends a delivery that was broken off while it logged in. That says
// nothing about the upstream, but where bad credentials are on trial it may
// count as a login made: the next one waits for its time.
func (p Pass) CutInLogin() {
	if p.m == nil {
		return
	}
	now := wall()
	p.m.mu.Lock()
	defer p.m.unlock()
	p.endTrial()
	p.end(now)
	p.m.tell(p.u, false, now)
}

// end gives back what was set aside and not spent.
func (p Pass) end(now time.Time) {
	u := p.u
	u.underWay--
	u.budget.aside -= p.rcpts
	u.budget.spend(p.spent, now)
}

// endTrial says that the delivery was the trial that the breaker waits for. It
// is not any more when the breaker was closed meanwhile, by another network.
func (p Pass) endTrial() bool {
	if p.trial == 0 || p.trial != p.u.trial {
		return false
	}
	p.u.trial = 0
	return true
}

// Quiet says, while a delivery goes on, that its upstream has given no sign of
// life for a while though another one has: it is suspect and probed at once,
// and what else is being set up there ends. Done or Cancel must still follow.
func (p Pass) Quiet(reason string) {
	if p.m == nil {
		return
	}
	now := wall()
	p.m.mu.Lock()
	defer p.m.unlock()
	u := p.u
	if p.m.upstreams[u.Name] != u || !u.routed || p.generation != u.generation || u.Reach != up && u.Reach != unknown {
		return
	}
	p.m.apply(u, u.doubt(Fault{Kind: Network, Reason: reason}, now, p.m.opts.Rise), now)
	u.pace.last = time.Time{}
	p.m.poke()
}
