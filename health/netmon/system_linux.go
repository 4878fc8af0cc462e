package netmon

import (
	"errors"
	"net"
	"net/netip"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// newSystem follows the kernel over rtnetlink. Where that is forbidden (a
// sandbox without AF_NETLINK, Android) it polls.
func newSystem() system {
	s := system{look: working(dump, poll), clock: newClock()}
	if _, _, err := dump(); err == nil {
		s.follow = follow
	}
	return s
}

// dump asks the kernel for everything, again if it changed meanwhile.
func dump() (ifs []Interface, routes []Route, err error) {
	for range 5 {
		ifs, routes, err = dumpOnce()
		if !errors.Is(err, netlink.ErrDumpInterrupted) {
			break
		}
	}
	return ifs, routes, err
}

func dumpOnce() ([]Interface, []Route, error) {
	links, err := net.Interfaces()
	if err != nil {
		return nil, nil, err
	}
	all, err := netlink.AddrList(nil, netlink.FAMILY_ALL)
	if err != nil {
		return nil, nil, err
	}
	addrs := map[int][]netip.Prefix{}
	for _, a := range all {
		if p, ok := usable(a.IPNet, a.Flags); ok {
			addrs[a.LinkIndex] = append(addrs[a.LinkIndex], p)
		}
	}
	var ifs []Interface
	names := map[int]string{}
	for _, l := range links {
		if !running(l.Flags) {
			continue
		}
		names[l.Index] = l.Name
		if len(addrs[l.Index]) > 0 {
			ifs = append(ifs, Interface{Name: l.Name, Addrs: addrs[l.Index]})
		}
	}
	hops, err := dumpRoutes()
	if err != nil {
		return nil, nil, err
	}
	var routes []Route
	for _, h := range hops {
		// The kernel keeps the routes of a link whose carrier is lost.
		if name := names[h.dev]; name != "" {
			routes = append(routes, Route{To: h.to, Via: h.via, Dev: name, Metric: h.metric})
		}
	}
	return ifs, routes, nil
}

// usable gives an address that connections can be made from. One that is still
// being checked for duplicates is not (RFC 4862 section 5.4); the kernel tells
// when it is.
func usable(n *net.IPNet, flags int) (netip.Prefix, bool) {
	if n == nil || flags&unix.IFA_F_DADFAILED != 0 ||
		flags&unix.IFA_F_TENTATIVE != 0 && flags&unix.IFA_F_OPTIMISTIC == 0 {
		return netip.Prefix{}, false
	}
	p, ok := prefix(n)
	return p, ok && routable(p.Addr())
}

// hop is one way of a unicast route.
type hop struct {
	to            netip.Prefix
	via           netip.Addr
	dev           int // interface index
	metric, table int
}

// dumpRoutes reads all tables: VPNs keep their default route in one of their own.
func dumpRoutes() (all []hop, err error) {
	for _, family := range []int{netlink.FAMILY_V4, netlink.FAMILY_V6} {
		routes, err := netlink.RouteListFiltered(family, &netlink.Route{Table: unix.RT_TABLE_UNSPEC}, netlink.RT_FILTER_TABLE)
		if err != nil {
			return nil, err
		}
		for _, r := range routes {
			all = append(all, hops(r)...)
		}
	}
	return all, nil
}

// hops takes a route apart. It gives none for what leads nowhere: local,
// broadcast, unreachable and blackhole routes, those of link-local and
// multicast destinations, and dead ones.
func hops(r netlink.Route) (all []hop) {
	to, ok := destination(r)
	if !ok || r.Type != unix.RTN_UNICAST || r.Table == unix.RT_TABLE_LOCAL ||
		to.Addr().IsLinkLocalUnicast() || to.Addr().IsMulticast() {
		return nil
	}
	add := func(gw net.IP, via netlink.Destination, dev, flags int) {
		if flags&(unix.RTNH_F_DEAD|unix.RTNH_F_LINKDOWN) != 0 {
			return
		}
		if v, ok := via.(*netlink.Via); ok { // IPv4 through an IPv6 gateway
			gw = v.Addr
		}
		a, _ := netip.AddrFromSlice(gw)
		if a.Is4() && a.IsUnspecified() {
			a = netip.Addr{}
		}
		all = append(all, hop{to: to, via: a, dev: dev, metric: r.Priority, table: r.Table})
	}
	if len(r.MultiPath) == 0 {
		add(r.Gw, r.Via, r.LinkIndex, r.Flags)
	}
	for _, n := range r.MultiPath {
		add(n.Gw, n.Via, n.LinkIndex, n.Flags)
	}
	return all
}

func destination(r netlink.Route) (netip.Prefix, bool) {
	switch {
	case r.Dst != nil:
		return prefix(r.Dst)
	case r.Family == netlink.FAMILY_V4:
		return netip.PrefixFrom(netip.IPv4Unspecified(), 0), true
	case r.Family == netlink.FAMILY_V6:
		return netip.PrefixFrom(netip.IPv6Unspecified(), 0), true
	}
	return netip.Prefix{}, false // MPLS
}
