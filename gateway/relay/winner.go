package relay

import (
	"net/netip"
	"slices"
	"time"
)

// winner is what won a race: it goes first in the next one. Families of
// addresses work or fail for a whole network, so the address itself does not
// matter.
type winner struct {
	endpoint int // index into Options.Endpoints
	family   family
}

// family is an address family; 0 is unknown.
type family int

const (
	ipv4 family = 4
	ipv6 family = 6
)

func familyOf(a netip.Addr) family {
	switch {
	case !a.IsValid():
		return 0
	case a.Unmap().Is4():
		return ipv4
	default:
		return ipv6
	}
}

// place is what is known of the network we are in.
type place struct {
	generation int // counts the changes
	network    string
	winner     winner
	gaps       [stepCount]time.Duration // the longest silences of the last good set-up
}

// past is the winners of the networks we were in, the latest last.
type past []visit

type visit struct {
	network string
	winner  winner
}

// maxPast bounds the memory: a laptop meets a new network every day.
const maxPast = 64

func (p *past) keep(network string, w winner) {
	if w == (winner{}) {
		return // nothing was learnt there
	}
	*p = slices.DeleteFunc(*p, func(v visit) bool { return v.network == network })
	if len(*p) >= maxPast {
		*p = slices.Delete(*p, 0, 1)
	}
	*p = append(*p, visit{network, w})
}

func (p past) recall(network string) winner {
	for _, v := range p {
		if v.network == network {
			return v.winner
		}
	}
	return winner{}
}

// here is what is known of this network.
func (r *roster) here() place {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.place
}

// learn changes what is known of the network that a set-up began in, if we are
// still there.
func (r *roster) learn(generation int, change func(*place)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.place.generation == generation {
		change(&r.place)
	}
}
