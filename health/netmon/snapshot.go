package netmon

import "net/netip"

// Snapshot is the network at one moment, as far as mail cares.
type Snapshot struct {
	// Interfaces are those that are up and have a routable address; loopback
	// is none of them. By name.
	Interfaces []Interface `json:"interfaces"`
	// Routes are where packets can go: connected networks, default routes and
	// what else is configured, without the machine's own addresses.
	Routes   []Route `json:"routes"`
	Resolver string  `json:"-"` // what the resolver file says, comments and order of no matter left out
}

// Interface is a way out, or to the neighbours.
type Interface struct {
	Name  string         `json:"name"`
	Addrs []netip.Prefix `json:"addresses"` // routable ones: neither link-local nor multicast
	// Lives counts how often the link, an address or the default route was
	// lost since the watch began: the same address may come back on another
	// network.
	Lives int `json:"lives"`
}

// Route leads to the addresses in To.
type Route struct {
	To     netip.Prefix `json:"to"`
	Via    netip.Addr   `json:"via"` // gateway; the zero Addr: connected
	Dev    string       `json:"dev"`
	Metric int          `json:"metric"`
}

// Reaches says that a route leads to a. Loopback is always there.
func (s Snapshot) Reaches(a netip.Addr) bool { return true }

// Path identifies the way from local to peer; "" when local is no address of
// this machine any more or no route leads there. Two connections of one path
// leave by the same door, and a connection whose path has changed is dead.
func (s Snapshot) Path(local, peer netip.Addr) string { return "" }

// Network identifies the network that this machine is in, as well as that can
// be told without asking anybody; "" for none.
func (s Snapshot) Network() string { return "" }
