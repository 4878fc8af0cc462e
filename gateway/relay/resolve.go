package relay

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"
)

// memory is where the upstream was last found. It is no cache: every race looks
// its hosts up anew. It is what is left when name servers are dead, slow or
// lying, and then it is good enough, since who answers there has to prove it.
type memory struct {
	mu       sync.Mutex // guards all below
	hosts    map[string]known
	endpoint string // that last worked, as host:port
}

// known is the addresses of a host when one of them last worked.
type known struct {
	addrs []netip.Addr // the one that worked first
	at    time.Time
}

// keepKnown is how long addresses are remembered. By the clock, not by the time
// awake: providers do not sleep.
const keepKnown = 24 * time.Hour

// worked notes what won: an endpoint, the address that it was reached by, and
// all addresses that its host had.
func (m *memory) worked(e Endpoint, by netip.Addr, all []netip.Addr, now time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.endpoint = e.address()
	if !by.IsValid() {
		return
	}
	if m.hosts == nil {
		m.hosts = map[string]known{}
	}
	m.hosts[e.Host] = known{unique(append([]netip.Addr{by}, all...)), now.Round(0)}
}

// recall gives the addresses that a host was last found at.
func (m *memory) recall(host string, now time.Time) []netip.Addr {
	m.mu.Lock()
	defer m.mu.Unlock()
	k, ok := m.hosts[host]
	if !ok || now.Round(0).Sub(k.at) > keepKnown {
		return nil
	}
	return slices.Clone(k.addrs)
}

// Endpoint is the endpoint that last worked, as host:port; "" before one did.
func (u *Upstream) Endpoint() string {
	u.memory.mu.Lock()
	defer u.memory.mu.Unlock()
	return u.memory.endpoint
}

// Addrs are the addresses the upstream was last found at, and those that its
// endpoints name themselves. It asks nobody.
func (u *Upstream) Addrs() []netip.Addr {
	var addrs []netip.Addr
	for _, e := range u.opts.Endpoints {
		if a, err := netip.ParseAddr(e.Host); err == nil {
			addrs = append(addrs, a.Unmap())
		} else {
			addrs = append(addrs, u.memory.recall(e.Host, time.Now())...)
		}
	}
	return unique(addrs)
}

// unique gives valid addresses in one form, each once, in their order.
func unique(addrs []netip.Addr) (is []netip.Addr) {
	for _, a := range addrs {
		if a = a.Unmap(); a.IsValid() && !slices.Contains(is, a) {
			is = append(is, a)
		}
	}
	return is
}

var errNoAddress = errors.New("the name has no address")

// resolve looks a host up. It gives addresses or an error, never neither.
func (u *Upstream) resolve(ctx context.Context, host string) ([]netip.Addr, error) {
	addrs, err := u.opts.Lookup(ctx, host)
	if addrs = unique(addrs); len(addrs) > 0 {
		return addrs, nil // one family may have failed alone
	}
	if err == nil {
		err = &net.DNSError{Err: errNoAddress.Error(), UnwrapErr: errNoAddress, Name: host, IsNotFound: true}
	}
	return nil, err
}

// given is the addresses of a host that needs no lookup.
func (u *Upstream) given(host string) (addrs []netip.Addr, look bool) {
	if a, err := netip.ParseAddr(host); err == nil {
		return []netip.Addr{a.Unmap()}, false
	}
	if u.opts.Lookup == nil {
		return []netip.Addr{{}}, false // Dial knows
	}
	return nil, true
}
