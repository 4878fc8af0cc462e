package netmon

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// Reaches says that a route leads to a. Loopback and the machine's own
// addresses are always there.
func (s Snapshot) Reaches(a netip.Addr) bool {
	a = a.Unmap()
	switch {
	case a.IsLoopback(), s.holds(a):
		return true
	case a.Is6() && a.IsLinkLocalUnicast():
		_, ok := s.find(a.Zone())
		return ok
	}
	_, ok := s.route(a, netip.Addr{})
	return ok
}

// Path identifies the way from local to peer; "" when local is no address of
// this machine any more or no route leads there. Two connections of one path
// leave by the same door, and a connection whose path has changed is dead.
func (s Snapshot) Path(local, peer netip.Addr) string {
	local, peer = local.Unmap(), peer.Unmap()
	if peer.Is6() && peer.IsLinkLocalUnicast() {
		// Such an address says itself which interface it is on (RFC 4007).
		if _, ok := s.find(peer.Zone()); !ok {
			return ""
		}
		return s.door(peer.Zone(), netip.Addr{})
	}
	if !local.IsLoopback() && !s.holds(local) {
		return ""
	}
	if peer.IsLoopback() || s.holds(peer) {
		return "lo"
	}
	r, ok := s.route(peer, local)
	if !ok {
		return ""
	}
	return s.door(r.Dev, r.Via)
}

// door names an interface in its present life, and the gateway behind it.
func (s Snapshot) door(dev string, via netip.Addr) string {
	i, _ := s.find(dev) // a tunnel may have no address of its own
	if !via.IsValid() {
		return fmt.Sprintf("%s#%d", dev, i.Lives)
	}
	return fmt.Sprintf("%s#%d via %s", dev, i.Lives, via)
}

// route is the one to peer: the longest prefix, then the lowest metric. Among
// equals it is one of the interface that holds local: rules of the kernel that
// are not known here make it so.
func (s Snapshot) route(peer, local netip.Addr) (best Route, found bool) {
	peer = peer.WithZone("")
	for _, r := range s.Routes {
		if !r.To.Contains(peer) {
			continue
		}
		longer, cheaper := r.To.Bits()-best.To.Bits(), best.Metric-r.Metric
		if !found || longer > 0 || longer == 0 && cheaper > 0 ||
			longer == 0 && cheaper == 0 && !s.on(best.Dev, local) && s.on(r.Dev, local) {
			best, found = r, true
		}
	}
	return best, found
}

// holds says that a is an address of this machine, and not loopback.
func (s Snapshot) holds(a netip.Addr) bool {
	return slices.ContainsFunc(s.Interfaces, func(i Interface) bool { return i.holds(a) })
}

func (s Snapshot) on(dev string, a netip.Addr) bool {
	i, ok := s.find(dev)
	return ok && i.holds(a)
}

func (i Interface) holds(a netip.Addr) bool {
	return slices.ContainsFunc(i.Addrs, func(p netip.Prefix) bool { return p.Addr() == a })
}

// Network identifies the network that this machine is in, as well as that can
// be told without asking anybody; "" for none. It is made of the default
// gateways, the prefixes of the interfaces they are on (of all interfaces when
// there is no default route) and the resolver file, so a network that was left
// and found again has the same name.
func (s Snapshot) Network() string {
	if !s.Leads() {
		return ""
	}
	var marks []string
	for _, v6 := range []bool{false, true} {
		for _, r := range s.defaults(v6) {
			marks = append(marks, "via "+r.Via.String())
		}
	}
	away := len(marks) > 0
	for _, i := range s.Interfaces {
		if away && !s.carries(i.Name) {
			continue // a container bridge makes no other network
		}
		for _, p := range i.Addrs {
			// The address of a dialled line says nothing about where it leads.
			if !p.IsSingleIP() {
				marks = append(marks, "in "+p.Masked().String())
			}
		}
	}
	slices.Sort(marks)
	marks = append(slices.Compact(marks), s.Resolver)
	sum := sha256.Sum256([]byte(strings.Join(marks, "\n")))
	return hex.EncodeToString(sum[:8])
}
