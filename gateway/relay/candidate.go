package relay

import (
	"net/netip"
	"slices"
	"time"
)

// candidate is one way to the upstream: an address of an endpoint.
type candidate struct {
	endpoint int        // index into Options.Endpoints
	addr     netip.Addr // the zero Addr: Dial finds one
	old      bool       // remembered, not looked up
}

// The pace of a race (RFC 8305 5 and 8). A black hole costs one stagger, two of
// them behind each other on a host with two families cost three.
const (
	// connectStagger is how long a TCP connect may take before the next one
	// starts beside it.
	connectStagger = 120 * time.Millisecond
	// answerStagger is how long a server that took the connection may be silent:
	// many delay their greeting, and one that answers is not raced against.
	answerStagger = 1 * time.Second
	// resolveDelay is how long a later endpoint waits for the lookup of an
	// earlier one.
	resolveDelay = 50 * time.Millisecond
	// lookupDelay is how long a lookup may take before remembered addresses are
	// tried.
	lookupDelay = 300 * time.Millisecond

	maxCandidates = 12 // in one race
	maxRunning    = 8  // side by side
)

// candidates lists the ways to go, best first: the endpoint that last worked
// before the others, of each one address per family, the family that last
// worked first; then all other addresses.
func candidates(endpoints []Endpoint, first winner, addrs func(Endpoint) []netip.Addr) []candidate {
	var best, rest []candidate
	for i := range endpoints {
		at := order(first.endpoint, i)
		all := slices.Clone(addrs(endpoints[at]))
		slices.SortStableFunc(all, func(a, b netip.Addr) int { return rank(a, first.family) - rank(b, first.family) })
		var seen []family
		for _, a := range all {
			c := candidate{endpoint: at, addr: a}
			if f := familyOf(a); slices.Contains(seen, f) {
				rest = append(rest, c)
			} else {
				seen = append(seen, f)
				best = append(best, c)
			}
		}
	}
	return append(best, rest...)
}

func rank(a netip.Addr, first family) int {
	if familyOf(a) == first {
		return 0
	}
	return 1
}

// order lists first before the others: 0, 1, 2 becomes 1, 0, 2 for first 1.
func order(first, i int) int {
	switch {
	case i == 0:
		return first
	case i <= first:
		return i - 1
	default:
		return i
	}
}

// pace is how a candidate that runs gets on.
type pace struct {
	moved     time.Time // an octet came, or a step was done
	connected bool
}

// due is when the next candidate starts: when none of those that run has moved
// for as long as it may; at once when there are none.
func due(running []pace) (at time.Time) {
	for _, p := range running {
		wait := connectStagger
		if p.connected {
			wait = answerStagger
		}
		if t := p.moved.Add(wait); t.After(at) {
			at = t
		}
	}
	return at
}

// field is all that a race knows. It only decides.
type field struct {
	endpoints []Endpoint
	first     winner
	began     time.Time
	hosts     map[string]*answer
	tried     []candidate
}

// answer is what is known of a host's addresses.
type answer struct {
	waiting bool         // for the lookup
	addrs   []netip.Addr // that it gave
	old     []netip.Addr // that are remembered
}

// next is who starts next, and when; false when there is nobody. running are
// those that were tried and are not over, in any order.
func (f *field) next(running map[candidate]pace) (c candidate, at time.Time, ok bool) {
	if len(f.tried) >= maxCandidates || len(running) >= maxRunning {
		return candidate{}, time.Time{}, false
	}
	c, at, ok = f.untried(running)
	var paces []pace
	for _, p := range running {
		paces = append(paces, p)
	}
	if t := due(paces); t.After(at) {
		at = t
	}
	return c, at, ok
}

func (f *field) untried(running map[candidate]pace) (c candidate, at time.Time, ok bool) {
	looked := func(e Endpoint) []netip.Addr { return f.hosts[e.Host].addrs }
	for _, c := range candidates(f.endpoints, f.first, looked) {
		if f.has(c) {
			continue
		}
		if f.waitsBefore(c.endpoint) {
			at = f.began.Add(resolveDelay)
		}
		return c, at, true
	}
	for _, c := range candidates(f.endpoints, f.first, f.remembered) {
		if f.has(c) {
			continue
		}
		if f.hosts[f.endpoints[c.endpoint].Host].waiting {
			at = f.began.Add(lookupDelay)
		} else if someConnected(running) {
			// Whoever the lookup led to is there: no reason to doubt it yet.
			continue
		}
		c.old = true
		return c, at, true
	}
	return candidate{}, time.Time{}, false
}

// remembered gives the addresses that an endpoint may fall back on: none where
// who answers does not prove that it is the upstream and not the next machine
// that was given the address.
func (f *field) remembered(e Endpoint) []netip.Addr {
	if e.Mode == Insecure {
		return nil
	}
	return f.hosts[e.Host].old
}

// has says that the same was tried, be it remembered or looked up.
func (f *field) has(c candidate) bool {
	return slices.ContainsFunc(f.tried, func(t candidate) bool { return t.endpoint == c.endpoint && t.addr == c.addr })
}

// waitsBefore says that a better endpoint has no addresses yet.
func (f *field) waitsBefore(endpoint int) bool {
	for i := range f.endpoints {
		at := order(f.first.endpoint, i)
		if at == endpoint {
			return false
		}
		if f.hosts[f.endpoints[at].Host].waiting {
			return true
		}
	}
	return false
}

func someConnected(running map[candidate]pace) bool {
	for c, p := range running {
		if p.connected && !c.old {
			return true
		}
	}
	return false
}
