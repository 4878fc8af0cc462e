package health

import "time"

// Trial is the word for an upstream that served badly and may now show with
// one delivery whether it is well again.
const (
	Trial   = "trial"
	Cooling = "cooling" // its breaker is open
	Limited = "limited" // a limit of the operator's is used up
)

// Status is what people are shown of an upstream.
type Status struct {
	Name string `json:"name"`
	// State is one word: unknown, up, suspect, down, cooling, trial, limited, or
	// offline when no route leads there.
	State     string    `json:"state"`
	Since     time.Time `json:"since"`          // of State
	Kind      Kind      `json:"kind,omitempty"` // what Why is about
	Why       string    `json:"why,omitempty"`
	Remedy    string    `json:"remedy,omitempty"`    // Fault.Remedy
	Until     time.Time `json:"until,omitzero"`      // end of the cooling, or of being limited
	LastGood  time.Time `json:"last_good,omitzero"`  // the last probe or delivery that went well
	NextProbe time.Time `json:"next_probe,omitzero"` // zero: one is under way, or none goes before the network changes
	// Preferred: mail chooses it by its place in the order. An upstream that
	// was down is not until some probes more have passed.
	Preferred bool `json:"preferred"`
	// Budget is what is left of each limit.
	Budget []Budget `json:"budget,omitempty"`
	// Learned are limits that it showed.
	Learned Learned `json:"learned,omitzero"`
	// AtOnce is how many deliveries it is given at a time: few after an outage, or
	// where it refused more; 0: as many as there are connections.
	AtOnce int `json:"at_once,omitempty"`
}

// Budget is what is left of one limit.
type Budget struct {
	Per   string `json:"per"` // minute, hour or day
	Limit int    `json:"limit"`
	Left  int    `json:"left"`
	// More is when some of it is free again, where nothing is left.
	More time.Time `json:"more,omitzero"`
}

// Status lists the upstreams in order of preference.
func (m *Monitor) Status() []Status {
	now := wall()
	m.mu.Lock()
	defer m.mu.Unlock()
	list := make([]Status, 0, len(m.order))
	for _, name := range m.order {
		u := m.upstreams[name]
		s := Status{
			Name: name, State: u.word(now), Since: u.shownSince(now).UTC(), LastGood: u.LastGood.UTC(),
			Preferred: m.rank(u, now) == Ready,
		}
		s.Kind, s.Why = m.trouble(u, now)
		if u.byBreaker() {
			s.Remedy = u.Breaker.Remedy
		}
		s.Budget, s.AtOnce, s.Learned = u.budget.status(now), u.atOnce(now), u.learned.now(now)
		s.Learned.Connections = u.Fewer.limit(now)
		switch {
		case u.Breaker.open(now):
			s.Until = u.Breaker.Until.UTC()
		case s.State == Limited:
			s.Until = u.budget.until(now).UTC()
		}
		if due := u.pace.due(u.tracker, m.demand(u, now), m.opts.Interval); u.probing == nil && u.routed {
			s.NextProbe = later(due, now).UTC()
		}
		list = append(list, s)
	}
	return list
}

// byBreaker says that the breaker is what people should hear of: a dead
// account needs them, and of two troubles the one that lasts.
func (u *upstream) byBreaker() bool {
	if u.Breaker.closed() {
		return false
	}
	return u.routed && u.Reach != down || u.Breaker.Kind == Account
}

// word is the state in one word.
func (u *upstream) word(now time.Time) string {
	switch {
	case u.byBreaker() && u.Breaker.open(now) && u.trial == 0:
		return Cooling
	case u.byBreaker():
		return Trial
	case !u.routed:
		return Offline
	case u.byBudget(now):
		return Limited
	}
	return string(u.Reach)
}

// byBudget says that nothing but our own limits keeps mail from u.
func (u *upstream) byBudget(now time.Time) bool {
	return u.routed && u.Breaker.closed() && u.Reach != down && u.budget.limited(now)
}

func (u *upstream) shownSince(now time.Time) time.Time {
	switch {
	case u.byBreaker():
		return u.Breaker.Since
	case !u.routed:
		return u.routedSince
	case u.byBudget(now):
		return u.budget.since
	}
	return u.Since
}

func (m *Monitor) trouble(u *upstream, now time.Time) (Kind, string) {
	switch {
	case u.byBreaker():
		return u.Breaker.Kind, u.Breaker.Reason
	case !u.routed:
		return None, u.noRoute()
	case u.byBudget(now):
		return None, u.budget.why(now)
	case u.Why == "" && m.barred(u):
		return None, "whoever answers there proves nothing, and somebody else seems to answer in this network"
	}
	return u.Kind, u.Why
}
