package health

import "time"

// Trial is the word for an upstream that served badly and may now show with
// one delivery whether it is well again.
const (
	Trial   = "trial"
	Cooling = "cooling" // its breaker is open
)

// Status is what people are shown of an upstream.
type Status struct {
	Name string `json:"name"`
	// State is one word: unknown, up, suspect, down, cooling or trial.
	State     string    `json:"state"`
	Since     time.Time `json:"since"`          // of State
	Kind      Kind      `json:"kind,omitempty"` // what Why is about
	Why       string    `json:"why,omitempty"`
	Until     time.Time `json:"until,omitzero"`     // end of the cooling
	LastGood  time.Time `json:"last_good,omitzero"` // the last probe or delivery that went well
	NextProbe time.Time `json:"next_probe,omitzero"`
	// Preferred: mail chooses it by its place in the order. An upstream that
	// was down is not until some probes more have passed.
	Preferred bool `json:"preferred"`
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
			Name: name, State: u.word(now), Since: u.shownSince().UTC(), LastGood: u.LastGood.UTC(),
			Preferred: u.rank(now) == Ready,
		}
		s.Kind, s.Why = u.trouble()
		if u.Breaker.open(now) {
			s.Until = u.Breaker.Until.UTC()
		}
		if due := u.pace.due(u.tracker, m.demand(u, now), m.opts.Interval); !u.probing {
			s.NextProbe = later(due, now).UTC()
		}
		list = append(list, s)
	}
	return list
}

// byBreaker says that the breaker is what people should hear of: a dead
// account needs them, and of two troubles the one that lasts.
func (t tracker) byBreaker() bool {
	if t.Breaker.closed() {
		return false
	}
	return t.Reach != down || t.Breaker.Kind == Account
}

// word is the state in one word.
func (u *upstream) word(now time.Time) string {
	switch {
	case !u.byBreaker():
		return string(u.Reach)
	case u.Breaker.open(now) && !u.trial:
		return Cooling
	}
	return Trial
}

func (t tracker) shownSince() time.Time {
	if t.byBreaker() {
		return t.Breaker.Since
	}
	return t.Since
}

func (t tracker) trouble() (Kind, string) {
	if t.byBreaker() {
		return t.Breaker.Kind, t.Breaker.Reason
	}
	return t.Kind, t.Why
}
