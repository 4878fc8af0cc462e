package netmon

import (
	"net/netip"
	"slices"
)

// losses names the interfaces that, between two looks, lost their link, an IPv4
// address or their default route. Of what comes back in between it sees the link
// at most; the events tell the rest. Where there are none it is all there is.
func losses(before, after Snapshot) (names []string) {
	for _, was := range before.Interfaces {
		is, _ := after.find(was.Name) // gone: it has nothing any more
		link := len(is.Addrs) == 0 || is.downs != was.downs
		address := slices.ContainsFunc(was.Addrs, func(p netip.Prefix) bool { return p.Addr().Is4() && !is.holds(p.Addr()) })
		if link || address || lostDefault(before, after, was.Name, false) || lostDefault(before, after, was.Name, true) {
			names = append(names, was.Name)
		}
	}
	return names
}

func lostDefault(before, after Snapshot, name string, v6 bool) bool {
	through := func(r Route) bool { return r.Dev == name }
	return slices.ContainsFunc(before.defaults(v6), through) && !slices.ContainsFunc(after.defaults(v6), through)
}
