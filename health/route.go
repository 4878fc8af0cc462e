package health

import (
	"net/netip"
	"slices"
	"strings"
	"time"

	"mailroam/health/netmon"
)

// routed says that packets can be sent to a target. Where it is not known yet
// where that is, any way out of this machine may lead there.
func routed(t Target, network netmon.Snapshot) bool {
	addrs := addresses(t)
	for _, a := range addrs {
		// Where there is only IPv6, the name servers may give names that have
		// only IPv4 other addresses than it was last found at (RFC 6147).
		named := !slices.Contains(t.Hosts, a.String())
		if a.IsLoopback() || network.Reaches(a) || a.Is4() && named && network.Reaches(translated) {
			return true
		}
	}
	return len(addrs) == 0 && (isLocal(t) || network.Leads())
}

// translated is an IPv6 address that stands for an IPv4 one (RFC 6052 2.1).
var translated = netip.MustParseAddr("64:ff9b::")

// isLocal says that a target is on this machine, and so no witness of any
// network.
func isLocal(t Target) bool {
	addrs := addresses(t)
	for _, a := range addrs {
		if !a.IsLoopback() {
			return false
		}
	}
	for _, h := range t.Hosts {
		if len(addrs) == 0 && !isLocalhost(h) {
			return false
		}
	}
	return len(addrs) > 0 || len(t.Hosts) > 0
}

// isLocalhost knows localhost before it was looked up (RFC 6761 6.3).
func isLocalhost(host string) bool {
	host = fold(host)
	a, err := netip.ParseAddr(host)
	return err == nil && a.Unmap().IsLoopback() || host == "localhost" || strings.HasSuffix(host, ".localhost")
}

// fold makes names equal that DNS takes for one.
func fold(host string) string { return strings.ToLower(strings.TrimSuffix(host, ".")) }

func addresses(t Target) []netip.Addr {
	if t.Addrs == nil {
		return nil
	}
	var addrs []netip.Addr
	for _, a := range t.Addrs() {
		addrs = append(addrs, a.Unmap())
	}
	return addrs
}

// route looks whether a route leads to u now. Its addresses may have become
// known, and a minor change may have brought a route: then u is asked at once.
// The caller holds mu, and tells.
func (m *Monitor) route(u *upstream, now time.Time) {
	before := u.routed
	u.local = isLocal(u.Target)
	u.routed = !m.watched || routed(u.Target, m.network)
	if u.routed == before {
		return
	}
	u.routedSince = now
	u.stopProbe()
	if u.routed {
		u.latest = nil
		u.pace.last = time.Time{}
		m.poke()
	}
}

// noRoute says it for people.
func (u *upstream) noRoute() string {
	addrs := addresses(u.Target)
	if len(addrs) == 0 {
		return "no route leads there: this machine has no network"
	}
	var list []string
	for _, a := range addrs {
		list = append(list, a.String())
	}
	return "no route leads there: " + strings.Join(list, ", ")
}
