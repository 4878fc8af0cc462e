package netmon

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// atHome gives a Watcher on a machine with one way out.
func atHome(t *testing.T) (*live, netlink.Link) {
	t.Helper()
	up := cable(t, "up0", "far0")
	must(t, netlink.AddrAdd(up, address(t, "192.168.1.20/24")))
	must(t, netlink.RouteAdd(defaultVia(up, "192.168.1.1", 100)))
	return listen(t), up
}

var (
	nearby = netip.MustParseAddr("192.168.1.20")
	away   = netip.MustParseAddr("198.51.100.1")
)

func TestKernelNetworkComes(t *testing.T) {
	if !apart(t) {
		return
	}
	l := listen(t)
	if s := l.Snapshot(); s.Leads() || !s.Reaches(netip.MustParseAddr("127.0.0.1")) || s.Reaches(away) {
		t.Fatalf("a new namespace has %+v", s)
	}
	up := cable(t, "up0", "far0")
	must(t, netlink.AddrAdd(up, address(t, "192.168.1.20/24")))
	var took []time.Duration
	for n := range 5 {
		must(t, netlink.RouteAdd(defaultVia(up, "192.168.1.1", 100)))
		start := time.Now()
		told := l.until("network", hasDefault)
		took = append(took, time.Since(start))
		if !major(told) || told[len(told)-1].Offline {
			t.Errorf("told %q", why(told))
		}
		if s := l.Snapshot(); n == 0 && (!s.Reaches(away) || s.Path(nearby, away) != "up0#0 via 192.168.1.1") {
			t.Errorf("the path is %q", s.Path(nearby, away))
		}

		must(t, netlink.LinkSetDown(up))
		told = l.until("link down", func(s Snapshot) bool { return !s.Leads() })
		if d := told[len(told)-1]; !d.Major || !d.Offline {
			t.Errorf("told %q", why(told))
		}
		must(t, netlink.LinkSetUp(up))
		l.until("link up", Snapshot.Leads)
	}
	soon(t, took)
}

// The same address comes back on another network before anybody looked. The
// control: two looks at the addresses and routes see no difference.
func TestKernelSwap(t *testing.T) {
	if !apart(t) {
		return
	}
	l, up := atHome(t)
	for n, swap := range []struct {
		name string
		do   func()
	}{
		{"address", func() {
			must(t, netlink.AddrDel(up, address(t, "192.168.1.20/24")))
			must(t, netlink.AddrAdd(up, address(t, "192.168.1.20/24")))
			must(t, netlink.RouteAdd(defaultVia(up, "192.168.1.1", 100)))
		}},
		{"default route", func() {
			must(t, netlink.RouteDel(defaultVia(up, "192.168.1.1", 100)))
			must(t, netlink.RouteAdd(defaultVia(up, "192.168.1.1", 100)))
		}},
		{"link", func() {
			must(t, netlink.LinkSetDown(up))
			must(t, netlink.LinkSetUp(up))
			must(t, netlink.RouteAdd(defaultVia(up, "192.168.1.1", 100)))
		}},
		{"carrier", func() {
			far, err := netlink.LinkByName("far0")
			must(t, err)
			must(t, netlink.LinkSetDown(far))
			must(t, netlink.LinkSetUp(far))
		}},
	} {
		before, path := newWatcher(Options{}, l.sys).Snapshot(), l.Snapshot().Path(nearby, away)
		swap.do()
		told := l.until(swap.name, func(s Snapshot) bool { return hasDefault(s) && s.Path(nearby, away) != path })
		if !major(told) || l.lives("up0") <= n {
			t.Errorf("%s: lives %d, told %q", swap.name, l.lives("up0"), why(told))
		}
		// It may be told before the kernel has put all back, which has to be polled.
		after := newWatcher(Options{}, l.sys).Snapshot()
		for end := time.Now().Add(10 * time.Second); !after.equal(before) && time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
			after = newWatcher(Options{}, l.sys).Snapshot()
		}
		if !after.equal(before) {
			t.Errorf("%s: a look sees the difference: %q", swap.name, NewDelta(before, after, 0).Why)
		}
	}
}

// What does not touch the way out is minor.
func TestKernelMinor(t *testing.T) {
	if !apart(t) {
		return
	}
	l, up := atHome(t)
	path := l.Snapshot().Path(nearby, away)

	// NetworkManager gives routes another metric in this order.
	must(t, netlink.RouteAdd(defaultVia(up, "192.168.1.1", 20100)))
	must(t, netlink.RouteDel(defaultVia(up, "192.168.1.1", 100)))

	// A container bridge with a container.
	must(t, netlink.LinkAdd(&netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: "br-1"}}))
	bridge, err := netlink.LinkByName("br-1")
	must(t, err)
	must(t, netlink.AddrAdd(bridge, address(t, "172.17.0.1/16")))
	must(t, netlink.LinkSetUp(bridge))
	veth := cable(t, "veth1", "inner1")
	must(t, netlink.LinkSetMaster(veth, bridge))
	told := l.until("bridge", has("172.17.0.1"))
	must(t, netlink.LinkDel(bridge))
	told = append(told, l.until("no bridge", func(s Snapshot) bool { return !has("172.17.0.1")(s) })...)

	// A split VPN.
	tun := cable(t, "vpn0", "vpn1")
	must(t, netlink.AddrAdd(tun, address(t, "10.8.0.2/24")))
	must(t, netlink.RouteAdd(&netlink.Route{LinkIndex: tun.Attrs().Index, Gw: net.ParseIP("10.8.0.1"), Dst: &net.IPNet{IP: net.ParseIP("10.20.0.0").To4(), Mask: net.CIDRMask(16, 32)}}))
	told = append(told, l.until("VPN", func(s Snapshot) bool {
		return s.Path(netip.MustParseAddr("10.8.0.2"), netip.MustParseAddr("10.20.0.1")) == "vpn0#0 via 10.8.0.1"
	})...)

	// Nothing but noise: routes that lead nowhere, link-local addresses.
	must(t, netlink.RouteAdd(&netlink.Route{Type: unix.RTN_BLACKHOLE, Dst: &net.IPNet{IP: net.ParseIP("10.66.0.0").To4(), Mask: net.CIDRMask(16, 32)}}))
	must(t, netlink.AddrAdd(up, address(t, "169.254.7.7/16")))
	told = append(told, l.mark("mark0")...)
	for _, r := range l.Snapshot().Routes {
		if r.To.Addr().IsLinkLocalUnicast() || r.To.Contains(netip.MustParseAddr("10.66.0.1")) && !isDefault(r.To) {
			t.Errorf("a route to %s", r.To)
		}
	}

	if major(told) || l.lives("up0") != 0 || l.Snapshot().Path(nearby, away) != path {
		t.Errorf("lives %d, path %q, told %q", l.lives("up0"), l.Snapshot().Path(nearby, away), why(told))
	}
}

func TestKernelTemporaryAddress(t *testing.T) {
	if !apart(t) {
		return
	}
	up := cable(t, "up0", "far0")
	must(t, netlink.AddrAdd(up, address(t, "2001:db8:1::20/64")))
	must(t, netlink.RouteAdd(&netlink.Route{LinkIndex: up.Attrs().Index, Gw: net.ParseIP("2001:db8:1::1"), Family: netlink.FAMILY_V6}))
	l := listen(t)
	must(t, netlink.AddrAdd(up, address(t, "2001:db8:1::abcd/64")))
	told := l.until("temporary address", has("2001:db8:1::abcd"))
	must(t, netlink.AddrDel(up, address(t, "2001:db8:1::abcd/64")))
	told = append(told, l.until("its end", func(s Snapshot) bool { return !has("2001:db8:1::abcd")(s) })...)
	if major(told) || l.lives("up0") != 0 {
		t.Errorf("lives %d, told %q", l.lives("up0"), why(told))
	}
	// The control: the last address of the prefix is another matter.
	must(t, netlink.AddrDel(up, address(t, "2001:db8:1::20/64")))
	if told := l.until("no address", func(s Snapshot) bool { return len(s.Interfaces) == 0 }); !major(told) {
		t.Errorf("told %q", why(told))
	}
}

// A VPN of WireGuard's kind: its default route is in a table of its own.
func TestKernelVPNTakesOver(t *testing.T) {
	if !apart(t) {
		return
	}
	l, _ := atHome(t)
	tun := cable(t, "wg0", "wg1")
	must(t, netlink.AddrAdd(tun, address(t, "10.8.0.2/32")))
	must(t, netlink.RouteAdd(&netlink.Route{
		LinkIndex: tun.Attrs().Index, Scope: netlink.SCOPE_LINK, Table: 51820,
		Dst: &net.IPNet{IP: net.IPv4zero.To4(), Mask: net.CIDRMask(0, 32)},
	}))
	told := l.until("VPN", func(s Snapshot) bool { return s.carries("wg0") })
	if got := l.Snapshot().Path(nearby, away); !major(told) || got != "wg0#0" {
		t.Errorf("path %q, told %q", got, why(told))
	}
	must(t, netlink.LinkDel(tun))
	told = l.until("no VPN", func(s Snapshot) bool { return !s.carries("wg0") })
	if got := l.Snapshot().Path(nearby, away); !major(told) || got != "up0#0 via 192.168.1.1" {
		t.Errorf("path %q, told %q", got, why(told))
	}
}

// The name servers are written after the routes are there.
func TestKernelResolver(t *testing.T) {
	if !apart(t) {
		return
	}
	l, up := atHome(t)
	must(t, netlink.AddrAdd(up, address(t, "192.168.1.21/24")))
	l.until("address", has("192.168.1.21"))
	var took []time.Duration
	for n := range 5 {
		server := fmt.Sprintf("nameserver 192.168.1.%d", n+1)
		file, link := fmt.Sprint(l.resolver, ".real", n), l.resolver+".link" // as systemd-resolved has it
		must(t, os.WriteFile(file, []byte("# none\n"+server+"\n"), 0o600))
		must(t, os.Symlink(file, link))
		start := time.Now()
		must(t, os.Rename(link, l.resolver))
		told := l.until("resolver", func(s Snapshot) bool { return s.Resolver == server })
		if took = append(took, time.Since(start)); !major(told) {
			t.Errorf("told %q", why(told))
		}
	}
	soon(t, took)
}

// Very many events, and one that matters among them.
func TestKernelStorm(t *testing.T) {
	if !apart(t) {
		return
	}
	l, up := atHome(t)
	var took []time.Duration
	for _, gateway := range []string{"192.168.1.254", "192.168.1.253", "192.168.1.252"} {
		storm(t, up, gateway)
		start := time.Now()
		l.until("storm", func(s Snapshot) bool { return s.Path(nearby, away) == "up0#0 via "+gateway && len(s.Routes) == 2 })
		took = append(took, time.Since(start))
	}
	soon(t, took)
}

// storm adds and deletes routes, and changes the gateway in the middle of that.
func storm(t *testing.T, up netlink.Link, gateway string) {
	t.Helper()
	for n := range 2000 {
		r := &netlink.Route{LinkIndex: up.Attrs().Index, Scope: netlink.SCOPE_LINK, Dst: &net.IPNet{IP: net.IPv4(10, 77, byte(n>>8), byte(n)).To4(), Mask: net.CIDRMask(32, 32)}}
		must(t, netlink.RouteAdd(r))
		if n == 1000 {
			must(t, netlink.RouteReplace(defaultVia(up, gateway, 100)))
		}
		must(t, netlink.RouteDel(r))
	}
}

// More events than the socket holds end the subscription: what was lost is not
// known, so a listener has to look.
func TestKernelOverrun(t *testing.T) {
	if !apart(t) {
		return
	}
	up := cable(t, "up0", "far0")
	events, stop, err := follow()
	must(t, err)
	for n := range 4000 { // and nobody reads
		r := &netlink.Route{LinkIndex: up.Attrs().Index, Scope: netlink.SCOPE_LINK, Dst: &net.IPNet{IP: net.IPv4(10, 77, 0, byte(n)).To4(), Mask: net.CIDRMask(32, 32)}}
		must(t, netlink.RouteAdd(r))
		must(t, netlink.RouteDel(r))
	}
	timeout := time.After(time.Minute)
	for n := 0; ; n++ {
		select {
		case _, ok := <-events:
			if !ok {
				t.Logf("closed after %d events", n)
				stop()
				return
			}
		case <-timeout:
			t.Fatalf("still open after %d events", n)
		}
	}
}

// A sandbox without rtnetlink: the portable look, and the blind one, see enough.
func TestKernelLooks(t *testing.T) {
	if !apart(t) {
		return
	}
	up := cable(t, "up0", "far0")
	must(t, netlink.AddrAdd(up, address(t, "192.168.1.20/24")))
	must(t, netlink.RouteAdd(defaultVia(up, "192.168.1.1", 100)))
	for name, l := range map[string]look{"dump": dump, "poll": poll, "blind": blind} {
		w := newWatcher(Options{Resolver: "/none"}, system{look: l, clock: newClock()})
		if s := w.Snapshot(); !s.Reaches(away) || !s.Leads() || s.Path(nearby, away) == "" || s.Network() == "" {
			t.Errorf("%s sees %+v", name, s)
		}
	}
	must(t, netlink.LinkSetDown(up))
	for name, l := range map[string]look{"dump": dump, "poll": poll} {
		w := newWatcher(Options{Resolver: "/none"}, system{look: l, clock: newClock()})
		if s := w.Snapshot(); s.Leads() || s.Reaches(away) {
			t.Errorf("%s sees %+v, though nothing is up", name, s)
		}
	}
}
