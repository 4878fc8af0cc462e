package netmon

import (
	"net"
	"net/netip"
	"slices"
)

// look finds the interfaces and routes there are.
type look func() ([]Interface, []Route, error)

// working gives the first way to look that works here. It is chosen once: two
// ways do not see the same, and changing between them would look like a change
// of the network.
func working(ways ...look) look {
	for _, l := range ways {
		if _, _, err := l(); err == nil {
			return l
		}
	}
	return blind
}

// poll sees what any operating system tells: interfaces with their addresses,
// the networks those are in, and the interfaces of the default routes. It does
// not see gateways, metrics and other routes.
func poll() ([]Interface, []Route, error) {
	all, err := net.Interfaces()
	if err != nil {
		return nil, nil, err
	}
	var ifs []Interface
	for _, i := range all {
		if !running(i.Flags) {
			continue
		}
		addrs, err := i.Addrs()
		if err != nil {
			continue // it has just gone
		}
		if p := prefixes(addrs); len(p) > 0 {
			ifs = append(ifs, Interface{Name: i.Name, Addrs: p})
		}
	}
	return ifs, guess(ifs, source), nil
}

// running says that an interface can carry packets to others.
func running(f net.Flags) bool {
	return f&net.FlagUp != 0 && f&net.FlagRunning != 0 && f&net.FlagLoopback == 0
}

func prefixes(addrs []net.Addr) (all []netip.Prefix) {
	for _, a := range addrs {
		n, ok := a.(*net.IPNet)
		if !ok {
			continue
		}
		if p, ok := prefix(n); ok && routable(p.Addr()) {
			all = append(all, p)
		}
	}
	return all
}

// prefix translates from package net.
func prefix(n *net.IPNet) (netip.Prefix, bool) {
	a, ok := netip.AddrFromSlice(n.IP)
	ones, bits := n.Mask.Size()
	if !ok || bits == 0 {
		return netip.Prefix{}, false
	}
	if a.Is4In6() {
		a = a.Unmap()
		ones -= max(0, bits-32)
	}
	return netip.PrefixFrom(a, ones), true
}

// outside are addresses that nobody has: those for documentation (RFC 5737,
// RFC 3849, RFC 9637). Only a default route leads there, unless somebody builds
// a network of them.
func outside() []netip.Addr {
	return []netip.Addr{
		netip.MustParseAddr("203.0.113.1"), netip.MustParseAddr("198.51.100.1"), netip.MustParseAddr("192.0.2.1"),
		netip.MustParseAddr("2001:db8::1"), netip.MustParseAddr("3fff::1"),
	}
}

// everywhere are the destinations of default routes.
func everywhere() []netip.Prefix {
	return []netip.Prefix{netip.MustParsePrefix("0.0.0.0/0"), netip.MustParsePrefix("::/0")}
}

// source is the address that the kernel would send from. To connect a UDP
// socket sends nothing.
func source(to netip.Addr) netip.Addr {
	c, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(netip.AddrPortFrom(to, 9)))
	if err != nil {
		return netip.Addr{}
	}
	defer func() { _ = c.Close() }()
	return c.LocalAddr().(*net.UDPAddr).AddrPort().Addr().Unmap()
}

// guess gives the routes that follow from the interfaces and from the address
// that is sent from.
func guess(ifs []Interface, source func(to netip.Addr) netip.Addr) (routes []Route) {
	for _, i := range ifs {
		for _, p := range i.Addrs {
			routes = append(routes, Route{To: p.Masked(), Dev: i.Name})
		}
	}
	connected := slices.Clone(routes)
	for _, all := range everywhere() {
		for _, to := range outside() {
			if !all.Contains(to) || slices.ContainsFunc(connected, func(r Route) bool { return r.To.Contains(to) }) {
				continue
			}
			from := source(to)
			if n := slices.IndexFunc(ifs, func(i Interface) bool { return i.holds(from) }); n >= 0 {
				routes = append(routes, Route{To: all, Dev: ifs[n].Name})
			}
			break
		}
	}
	return routes
}

// blind is for systems that hide their interfaces from programs. It sees the
// addresses that are sent from, and takes it that everybody can be reached,
// since to wait for a route that cannot be seen is to wait for ever.
func blind() ([]Interface, []Route, error) {
	const dev = "network"
	i := Interface{Name: dev}
	var routes []Route
	for _, to := range outside() {
		from := source(to)
		if p := netip.PrefixFrom(from, from.BitLen()); routable(from) && !slices.Contains(i.Addrs, p) {
			i.Addrs = append(i.Addrs, p)
		}
	}
	for _, all := range everywhere() {
		routes = append(routes, Route{To: all, Dev: dev})
	}
	if len(i.Addrs) == 0 {
		return nil, routes, nil
	}
	return []Interface{i}, routes, nil
}
