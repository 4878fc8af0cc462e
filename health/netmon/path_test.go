package netmon

import (
	"net/netip"
	"strings"
	"testing"
)

const roaming = `
	eth0 192.168.1.20/24 2001:db8:1::20/64 lives=2
	tun0 10.8.0.2/24
	default via 192.168.1.1 dev eth0 metric 100
	default via 192.168.1.2 dev eth0 metric 50
	default via fe80::1 dev eth0 metric 1024
	10.20.0.0/16 via 10.8.0.1 dev tun0
	10.20.30.0/24 via 192.168.1.7 dev eth0
	10.40.0.0/16 dev wg0`

func TestReaches(t *testing.T) {
	const lan = "eth0 10.0.0.1/24\n10.0.0.0/24 dev eth0"
	for _, row := range []struct {
		net, addr string
		want      bool
	}{
		{"", "127.0.0.1", true},
		{"", "::1", true},
		{"", "::ffff:127.0.0.1", true},
		{"", "198.51.100.1", false},
		{lan, "10.0.0.9", true},
		{lan, "::ffff:10.0.0.9", true},
		{lan, "10.0.1.9", false},
		{lan, "2001:db8::1", false},
		{"ppp0 10.9.9.9/32", "10.9.9.9", true},
		{home, "198.51.100.1", true},
		{home, "2001:db8::1", false},
		{dual, "2001:db8::1", true},
		{roaming, "10.40.1.1", true},
		{dual, "fe80::99%eth0", true},
		{dual, "fe80::99%eth1", false},
		{dual, "fe80::99", false},
		{"tun0 10.8.0.2/24\n0.0.0.0/1 dev tun0", "200.1.1.1", false},
	} {
		if got := network(row.net).Reaches(netip.MustParseAddr(row.addr)); got != row.want {
			t.Errorf("%q reaches %s: %v", row.net, row.addr, got)
		}
	}
	if network(dual).Reaches(netip.Addr{}) {
		t.Error("no address is reached")
	}
}

func TestPath(t *testing.T) {
	for _, row := range []struct{ local, peer, want string }{
		{"192.168.1.20", "198.51.100.1", "eth0#2 via 192.168.1.2"},
		{"::ffff:192.168.1.20", "::ffff:198.51.100.1", "eth0#2 via 192.168.1.2"},
		{"192.168.1.20", "192.168.1.99", "eth0#2"},
		{"2001:db8:1::20", "2001:db8:9::1", "eth0#2 via fe80::1"},
		{"10.8.0.2", "10.20.1.1", "tun0#0 via 10.8.0.1"},
		{"10.8.0.2", "10.20.30.1", "eth0#2 via 192.168.1.7"},
		{"10.8.0.2", "10.40.0.1", "wg0#0"},
		{"192.168.1.21", "198.51.100.1", ""}, // not ours
		{"127.0.0.1", "127.0.0.1", "lo"},
		{"127.0.0.1", "127.0.0.53", "lo"},
		{"::1", "::1", "lo"},
		{"192.168.1.20", "192.168.1.20", "lo"},
		{"192.168.1.99", "127.0.0.1", ""},
		{"fe80::20%eth0", "fe80::99%eth0", "eth0#2"},
		{"fe80::20%wlan0", "fe80::99%wlan0", ""},
	} {
		if got := network(roaming).Path(netip.MustParseAddr(row.local), netip.MustParseAddr(row.peer)); got != row.want {
			t.Errorf("from %s to %s by %q, should be %q", row.local, row.peer, got, row.want)
		}
	}
	if got := network("eth0 10.0.0.1/24").Path(netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("198.51.100.1")); got != "" {
		t.Errorf("without a route by %q", got)
	}
	// Policy rules are not known; the address that a connection has tells which
	// of two like routes is its own.
	two := network("eth0 10.0.0.1/24\neth1 10.0.1.1/24\ndefault via 10.0.0.254 dev eth0\ndefault via 10.0.1.254 dev eth1")
	for local, want := range map[string]string{"10.0.0.1": "eth0#0 via 10.0.0.254", "10.0.1.1": "eth1#0 via 10.0.1.254"} {
		if got := two.Path(netip.MustParseAddr(local), netip.MustParseAddr("198.51.100.1")); got != want {
			t.Errorf("from %s by %q, should be %q", local, got, want)
		}
	}
}

// What changes nothing for a connection leaves its path alone.
func TestPathStays(t *testing.T) {
	local, peer := netip.MustParseAddr("192.168.1.20"), netip.MustParseAddr("198.51.100.1")
	path := network(home).Path(local, peer)
	for name, more := range map[string]string{
		"bridge":    "\ndocker0 172.17.0.1/16",
		"split VPN": "\ntun0 10.8.0.2/24\n10.20.0.0/16 via 10.8.0.1 dev tun0",
		"worse way": "\nwlan0 192.168.7.20/24\ndefault via 192.168.7.1 dev wlan0 metric 600",
	} {
		if got := network(home+more).Path(local, peer); got != path {
			t.Errorf("%s: %q became %q", name, path, got)
		}
	}
	for name, after := range map[string]string{
		"VPN":         home + "\nwg0 10.8.0.2/32\ndefault dev wg0 metric 50",
		"cut off":     strings.ReplaceAll(home, "/24", "/24 lives=1"),
		"other way":   strings.ReplaceAll(home, "1.1 dev", "1.254 dev"),
		"address":     cafe,
		"no more way": "eth0 192.168.1.20/24",
	} {
		if got := network(after).Path(local, peer); got == path {
			t.Errorf("%s: still %q", name, got)
		}
	}
}

func TestNetwork(t *testing.T) {
	at := network(home).Network()
	if at == "" || at == network(cafe).Network() || at == network(dual).Network() {
		t.Errorf("home is %q, the café %q, home with IPv6 %q", at, network(cafe).Network(), network(dual).Network())
	}
	if got := network("nameserver 9.9.9.9").Network(); got != "" {
		t.Errorf("nowhere is %q", got)
	}
	for name, after := range map[string]string{
		"lives":         strings.ReplaceAll(home, "/24", "/24 lives=1"),
		"other address": strings.ReplaceAll(home, ".20/", ".77/"),
		"metric":        strings.ReplaceAll(home, "100", "20100"),
		"interface":     strings.ReplaceAll(home, "eth0", "eth1"),
		"bridge":        home + "\ndocker0 172.17.0.1/16",
	} {
		if got := network(after).Network(); got != at {
			t.Errorf("%s makes another network", name)
		}
	}
	dial := "ppp0 100.64.3.4/32\ndefault dev ppp0"
	if network(dial).Network() != network(strings.ReplaceAll(dial, "3.4", "5.6")).Network() {
		t.Error("a dialled line with another address is another network")
	}
	if network("eth0 10.0.0.1/24").Network() == network("eth0 10.0.1.1/24").Network() {
		t.Error("two networks without a way out are one")
	}
}

func TestLeads(t *testing.T) {
	for text, want := range map[string]bool{
		"": false, "nameserver 9.9.9.9": false, "eth0 10.0.0.1/24": true, "default dev wg0": true,
		"10.0.0.0/8 dev wg0": false, home: true,
	} {
		if got := network(text).Leads(); got != want {
			t.Errorf("%q leads: %v", text, got)
		}
	}
}
