package netmon

import (
	"net/netip"
	"slices"
)

// losses names the interfaces that, between two looks, lost their link, an IPv4
// address or their default route. It sees less than the events do, and is all
// there is without them.
func losses(before, after Snapshot) (names []string) {
	for _, was := range before.Interfaces {
		is, _ := after.find(was.Name) // gone: it has nothing any more
		address := slices.ContainsFunc(was.Addrs, func(p netip.Prefix) bool { return p.Addr().Is4() && !is.holds(p.Addr()) })
		if address || len(is.Addrs) == 0 || lostDefault(before, after, was.Name, false) || lostDefault(before, after, was.Name, true) {
			names = append(names, was.Name)
		}
	}
	return names
}

func lostDefault(before, after Snapshot, name string, v6 bool) bool {
	through := func(r Route) bool { return r.Dev == name }
	return slices.ContainsFunc(before.defaults(v6), through) && !slices.ContainsFunc(after.defaults(v6), through)
}
