package health

import (
	"context"
	"log/slog"
	"slices"
	"strings"
	"time"

	"mailroam/health/netmon"
)

// The states of an Outlook.
const (
	Online      = "online"
	Offline     = "offline"     // no upstream has a route, which is certain
	Unreachable = "unreachable" // nobody answers, and it is not the upstreams
	Portal      = "portal"      // somebody else answers in their place
	Clock       = "clock"       // the certificates are all of another time
)

// Outlook is what is thought of the network.
type Outlook struct {
	State      string    `json:"state"` // one word, of the constants
	Since      time.Time `json:"since"`
	Why        string    `json:"why,omitempty"`    // for people
	Advice     string    `json:"advice,omitempty"` // what to do about it
	Generation int       `json:"generation"`       // how many networks were seen
}

// inferred says that the state is a conclusion from what upstreams did, which
// the next probe may end, and not a fact.
func (o Outlook) inferred() bool { return o.State != Online && o.State != Offline }

// Outlook says what is thought of the network now.
func (m *Monitor) Outlook() Outlook {
	m.mu.Lock()
	defer m.mu.Unlock()
	o := m.outlook
	o.Since = o.Since.UTC()
	return o
}

// Online says whether mail could leave if its upstreams were well.
func (m *Monitor) Online() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.isOnline()
}

func (m *Monitor) isOnline() bool { return m.outlook.State == Online }

// Network is told of each change of the network.
func (m *Monitor) Network(d netmon.Delta) {
	now := wall()
	m.mu.Lock()
	defer m.unlock()
	m.network, m.watched = d.New, true
	for _, name := range m.order {
		u := m.upstreams[name]
		m.route(u, now)
		if d.Major {
			u.latest = nil
		}
	}
	if d.Major {
		m.outlook.Generation++
	}
	if changed := m.judge(now); changed || d.Major {
		m.logOutlook(d.Why)
	}
	for _, name := range m.order {
		u := m.upstreams[name]
		if !d.Major {
			// Bridges of containers come and go all day: who is up and serves
			// is not asked.
			u.pace.early = u.Reach != up || now.Sub(u.served) >= m.opts.Interval
			continue
		}
		next := u.roam(now)
		if next.Breaker.closed() {
			u.trial = 0
		}
		m.anew(u, next, now)
	}
	m.poke()
}

// anew makes next, of which it is not known how it is reached, the state of u
// and has it asked at once, whatever else is still being asked. The caller
// holds mu.
func (m *Monitor) anew(u *upstream, next tracker, now time.Time) {
	u.stopProbe()
	u.latest = nil
	m.apply(u, next, now)
	u.pace = downPace(now, time.Time{})
	m.poke()
}

// judge thinks about the network again and says whether it thinks otherwise.
// The caller holds mu, and logs.
func (m *Monitor) judge(now time.Time) bool {
	ws := make([]witness, 0, len(m.order))
	for _, name := range m.order {
		u := m.upstreams[name]
		ws = append(ws, witness{hosts: u.Hosts, routed: u.routed, local: u.local, unproven: u.Unproven, latest: u.latest})
	}
	was := m.outlook
	m.outlook = infer(ws)
	m.outlook.Since, m.outlook.Generation = was.Since, was.Generation
	changed := m.outlook.State != was.State
	if changed {
		m.outlook.Since = now
		m.notify()
		m.poke()
	}
	for _, name := range m.order {
		m.tell(m.upstreams[name], false, now)
	}
	return changed
}

// relieve forgives what the network did to the upstreams, now that one answers:
// u, which was as before. The caller holds mu.
func (m *Monitor) relieve(u *upstream, before tracker, now time.Time) {
	for _, name := range m.order {
		o := m.upstreams[name]
		switch {
		case o != u || u.Reach != up:
			if m.hit(o.tracker) {
				m.anew(o, o.tracker.anew(now), now)
			}
		case m.hit(before):
			next := u.tracker
			next.Owed, next.fell, next.easing = 0, false, easing{}
			m.apply(u, next, now)
		}
	}
}

// hit says that the network may be why an upstream is gone. One that was gone
// while another still answered is so by itself.
func (m *Monitor) hit(t tracker) bool {
	return (t.Reach == suspect || t.Reach == down) && !t.Since.Before(m.proved)
}

// logOutlook logs the one line that a change of the network is, with what
// changed about it. The caller holds mu.
func (m *Monitor) logOutlook(changes []string) {
	o, level := m.outlook, slog.LevelInfo
	if o.State != Online {
		level = slog.LevelWarn
	}
	attrs := []any{"state", o.State}
	why := slices.Clone(changes)
	if o.Why != "" {
		why = append(why, o.Why)
	}
	if len(why) > 0 {
		attrs = append(attrs, "why", strings.Join(why, "; "))
	}
	if o.Advice != "" {
		attrs = append(attrs, "advice", o.Advice)
	}
	log := m.opts.Log
	m.logs = append(m.logs, func() { log.Log(context.Background(), level, "network", attrs...) })
}
