package netmon

import (
	"errors"
	"net"
	"net/netip"
	"testing"
)

func TestGuess(t *testing.T) {
	for _, row := range []struct {
		name, net string
		sources   map[string]string // by the address asked for
		want      string
	}{
		{"none", "", nil, ""},
		{"no default route", "en0 192.168.1.20/24", nil, "en0 192.168.1.20/24"},
		{
			"IPv4", "en0 192.168.1.20/24\nen1 10.0.0.1/24",
			map[string]string{"203.0.113.1": "192.168.1.20"},
			"en0 192.168.1.20/24\nen1 10.0.0.1/24\ndefault dev en0",
		},
		{
			"both", "en0 192.168.1.20/24 2001:db8:ffff::20/64\nutun3 10.8.0.2/32",
			map[string]string{"203.0.113.1": "10.8.0.2", "2001:db8::1": "2001:db8:ffff::20"},
			"en0 192.168.1.20/24 2001:db8:ffff::20/64\nutun3 10.8.0.2/32\ndefault dev utun3\ndefault v6 dev en0",
		},
		{"source is of no interface", "en0 192.168.1.20/24", map[string]string{"203.0.113.1": "127.0.0.1"}, "en0 192.168.1.20/24"},
		{
			"a laboratory of documentation addresses", "en0 203.0.113.20/24",
			map[string]string{"203.0.113.1": "203.0.113.20"},
			"en0 203.0.113.20/24",
		},
		{
			"the same with a default route", "en0 203.0.113.20/24",
			map[string]string{"203.0.113.1": "203.0.113.20", "198.51.100.1": "203.0.113.20"},
			"en0 203.0.113.20/24\ndefault dev en0",
		},
	} {
		ifs := network(row.net).Interfaces
		got := newSnapshot(ifs, guess(ifs, func(to netip.Addr) netip.Addr {
			from, _ := netip.ParseAddr(row.sources[to.String()])
			return from
		}), "")
		if want := network(row.want); !got.equal(want) {
			t.Errorf("%s: %+v, should be %+v", row.name, got, want)
		}
	}
}

func TestPrefixes(t *testing.T) {
	ip := func(text string) net.Addr {
		a, n, err := net.ParseCIDR(text)
		if err != nil {
			t.Fatal(err)
		}
		return &net.IPNet{IP: a, Mask: n.Mask} // a is of 16 bytes
	}
	all := prefixes([]net.Addr{
		ip("192.168.1.20/24"), ip("2001:db8::20/64"), ip("fd00::1/8"), ip("fe80::1/64"), ip("169.254.1.1/16"), ip("127.0.0.1/8"),
		ip("ff02::1/128"), &net.IPAddr{IP: net.IPv4bcast}, &net.IPNet{IP: net.IP{1, 2}}, &net.IPNet{IP: net.IPv4(10, 0, 0, 1), Mask: net.CIDRMask(120, 128)},
	})
	want := []string{"192.168.1.20/24", "2001:db8::20/64", "fd00::1/8", "10.0.0.1/24"}
	if len(all) != len(want) {
		t.Fatalf("%v, should be %v", all, want)
	}
	for i, p := range all {
		if p.String() != want[i] {
			t.Errorf("%v, should be %v", all, want)
		}
	}
}

// The way to look is one that works; the last one always does.
func TestWorking(t *testing.T) {
	no := func() ([]Interface, []Route, error) { return nil, nil, errors.New("not permitted") }
	here := func() ([]Interface, []Route, error) { return []Interface{{Name: "here"}}, nil, nil }
	if ifs, _, _ := working(no, here)(); len(ifs) != 1 || ifs[0].Name != "here" {
		t.Errorf("looks at %v", ifs)
	}
	_, routes, err := working(no)()
	if s := newSnapshot(nil, routes, ""); err != nil || !s.Leads() || !s.Reaches(netip.MustParseAddr("10.1.1.1")) {
		t.Errorf("without any way to look nobody is reached: %v", err)
	}
}

// Nothing that this machine has breaks a look.
func TestLookHere(t *testing.T) {
	w := New(Options{})
	for _, i := range w.Snapshot().Interfaces {
		for _, p := range i.Addrs {
			if !w.Snapshot().Reaches(p.Addr()) {
				t.Errorf("%s is not reached", p)
			}
		}
	}
	if _, _, err := poll(); err != nil {
		t.Skipf("interfaces are hidden here: %v", err)
	}
}
