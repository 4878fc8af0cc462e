package netmon

import (
	"errors"
	"net"
	"net/netip"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// newSystem follows the kernel over rtnetlink. Where that is forbidden (a
// sandbox without AF_NETLINK, Android) it polls.
func newSystem() system {
	if _, _, err := dump(); err != nil {
		return system{look: working(poll), clock: newClock()}
	}
	return system{look: dump, follow: follow, clock: newClock()}
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
	links, err := dumpLinks()
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
		if !l.running() {
			continue
		}
		names[l.index] = l.name
		if len(addrs[l.index]) > 0 {
			ifs = append(ifs, Interface{Name: l.name, Addrs: addrs[l.index], downs: l.downs})
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

// link is a network interface, with an address or without.
type link struct {
	index int
	name  string
	flags uint32
	downs uint32 // how often its carrier was lost, as the kernel counts
}

func (l link) up() bool { return l.flags&unix.IFF_UP != 0 }

// running says that it can carry packets to others.
func (l link) running() bool {
	return l.flags&(unix.IFF_UP|unix.IFF_RUNNING|unix.IFF_LOOPBACK) == unix.IFF_UP|unix.IFF_RUNNING
}

// dumpLinks does by hand what neither package net nor the library does: it
// reads the count of lost carriers.
func dumpLinks() (all []link, err error) {
	req := nl.NewNetlinkRequest(unix.RTM_GETLINK, unix.NLM_F_DUMP)
	req.AddData(nl.NewIfInfomsg(unix.AF_UNSPEC))
	messages, err := req.Execute(unix.NETLINK_ROUTE, unix.RTM_NEWLINK)
	if err != nil {
		return nil, err
	}
	for _, m := range messages {
		info := nl.DeserializeIfInfomsg(m)
		attrs, err := nl.ParseRouteAttr(m[info.Len():])
		if err != nil {
			return nil, err
		}
		l := link{index: int(info.Index), flags: info.Flags}
		for _, a := range attrs {
			switch a.Attr.Type {
			case unix.IFLA_IFNAME:
				l.name = unix.ByteSliceToString(a.Value)
			case unix.IFLA_CARRIER_DOWN_COUNT:
				l.downs = nl.NativeEndian().Uint32(a.Value)
			}
		}
		all = append(all, l)
	}
	return all, nil
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
