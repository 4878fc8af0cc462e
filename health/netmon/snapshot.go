package netmon

import (
	"cmp"
	"net/netip"
	"slices"
)

// Snapshot is the network at one moment, as far as mail cares.
type Snapshot struct {
	// Interfaces are those that are up and have a routable address; loopback
	// is none of them. By name.
	Interfaces []Interface `json:"interfaces"`
	// Routes are where packets can go: connected networks, default routes and
	// what else is configured, without the machine's own addresses. By
	// destination.
	Routes   []Route `json:"routes"`
	Resolver string  `json:"-"` // what the resolver file says, comments and order of no matter left out
}

// Interface is a way out, or to the neighbours.
type Interface struct {
	Name  string         `json:"name"`
	Addrs []netip.Prefix `json:"addresses"` // routable ones: neither link-local nor multicast
	// Lives counts how often the link, an IPv4 address or the default route
	// was lost since the watch began: the same address may come back on another
	// network. The loss of an IPv6 address counts for nothing by itself, since
	// temporary ones end all the time (RFC 8981 section 3.4).
	Lives int `json:"lives"`

	// downs is the kernel's own count of lost carriers, where it has one.
	downs uint32
}

// Route leads to the addresses in To.
type Route struct {
	To     netip.Prefix `json:"to"`
	Via    netip.Addr   `json:"via"` // gateway; the zero Addr: connected, or unknown
	Dev    string       `json:"dev"`
	Metric int          `json:"metric"`
}

// Leads says that there is any way out of this machine: a default route, or an
// interface with a routable address.
func (s Snapshot) Leads() bool {
	return len(s.Interfaces) > 0 || len(s.defaults(false)) > 0 || len(s.defaults(true)) > 0
}

// newSnapshot sorts what a look has found, so that equal networks are equal
// values.
func newSnapshot(ifs []Interface, routes []Route, resolver string) Snapshot {
	for _, i := range ifs {
		slices.SortFunc(i.Addrs, netip.Prefix.Compare)
	}
	slices.SortFunc(ifs, func(a, b Interface) int { return cmp.Compare(a.Name, b.Name) })
	slices.SortFunc(routes, func(a, b Route) int {
		return cmp.Or(a.To.Compare(b.To), cmp.Compare(a.Metric, b.Metric), cmp.Compare(a.Dev, b.Dev), a.Via.Compare(b.Via))
	})
	// Several routing tables may hold the same route. No interface is a finding
	// too, and told from nil, which is no look at all.
	return Snapshot{Interfaces: append([]Interface{}, ifs...), Routes: slices.Compact(routes), Resolver: resolver}
}

func (s Snapshot) equal(t Snapshot) bool {
	return s.Resolver == t.Resolver && slices.Equal(s.Routes, t.Routes) &&
		slices.EqualFunc(s.Interfaces, t.Interfaces, func(a, b Interface) bool {
			return a.Name == b.Name && a.Lives == b.Lives && slices.Equal(a.Addrs, b.Addrs)
		})
}

// find gives the interface called name.
func (s Snapshot) find(name string) (Interface, bool) {
	i, ok := slices.BinarySearchFunc(s.Interfaces, name, func(i Interface, name string) int { return cmp.Compare(i.Name, name) })
	if !ok {
		return Interface{}, false
	}
	return s.Interfaces[i], true
}

// defaults are the default routes of a family, the one that is used first.
func (s Snapshot) defaults(v6 bool) (all []Route) {
	for _, r := range s.Routes {
		if isDefault(r.To) && r.To.Addr().Is6() == v6 {
			all = append(all, r)
		}
	}
	slices.SortStableFunc(all, func(a, b Route) int {
		return cmp.Or(cmp.Compare(b.To.Bits(), a.To.Bits()), cmp.Compare(a.Metric, b.Metric))
	})
	return all
}

// carries says that a default route leads through the interface.
func (s Snapshot) carries(name string) bool {
	return slices.ContainsFunc(s.Routes, func(r Route) bool { return r.Dev == name && isDefault(r.To) })
}

// isDefault says that to is all of a family, or one of the few big pieces in
// which VPNs cover it: 0.0.0.0/1 and 128.0.0.0/1; ::/1 and 8000::/1; ::/3,
// 2000::/4 and 3000::/4. All of the IPv6 internet is in 2000::/3.
func isDefault(to netip.Prefix) bool {
	if to.Addr().Is4() {
		return to.Bits() <= 1
	}
	return to.Bits() <= 4
}

// routable says that an address is worth having: neither loopback nor
// link-local nor multicast. Private ones are.
func routable(a netip.Addr) bool { return a.IsValid() && a.Unmap().IsGlobalUnicast() }
