package netmon

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// network reads one from text, one thing a line:
//
//	eth0 192.168.1.20/24 fd00::20/64 lives=2
//	default via 192.168.1.1 dev eth0 metric 100
//	10.8.0.0/24 via 10.8.0.1 dev tun0
//	nameserver 192.168.1.1
//
// Interfaces bring the routes of their networks.
func network(text string) Snapshot {
	var ifs []Interface
	var routes []Route
	var resolver strings.Builder
	for line := range strings.Lines(text) {
		words := strings.Fields(line)
		switch {
		case len(words) == 0:
		case words[0] == "nameserver" || words[0] == "search" || words[0] == "options":
			resolver.WriteString(line)
		case words[0] == "default" || strings.Contains(words[0], "/"):
			routes = append(routes, route(words))
		default:
			i := Interface{Name: words[0]}
			for _, w := range words[1:] {
				if n, ok := strings.CutPrefix(w, "lives="); ok {
					i.Lives = int(n[0] - '0')
					continue
				}
				p := netip.MustParsePrefix(w)
				i.Addrs = append(i.Addrs, p)
				routes = append(routes, Route{To: p.Masked(), Dev: i.Name})
			}
			ifs = append(ifs, i)
		}
	}
	return newSnapshot(ifs, routes, settings(resolver.String()))
}

func route(words []string) (r Route) {
	for i := range len(words) - 1 {
		switch words[i] {
		case "via":
			r.Via = netip.MustParseAddr(words[i+1])
		case "dev":
			r.Dev = words[i+1]
		case "metric":
			for _, d := range words[i+1] {
				r.Metric = r.Metric*10 + int(d-'0')
			}
		}
	}
	switch {
	case words[0] != "default":
		r.To = netip.MustParsePrefix(words[0])
	case r.Via.Is6() || slices.Contains(words, "v6"):
		r.To = netip.MustParsePrefix("::/0")
	default:
		r.To = netip.MustParsePrefix("0.0.0.0/0")
	}
	return r
}

const (
	home = `
		eth0 192.168.1.20/24
		default via 192.168.1.1 dev eth0 metric 100
		nameserver 192.168.1.1`
	cafe = `
		wlan0 192.168.7.20/24
		default via 192.168.7.1 dev wlan0 metric 600
		nameserver 192.168.7.1`
	dual = `
		eth0 192.168.1.20/24 2001:db8:1::20/64
		default via 192.168.1.1 dev eth0 metric 100
		default via fe80::1 dev eth0 metric 100
		nameserver 192.168.1.1`
)

func TestDelta(t *testing.T) {
	const both, once = true, false
	for _, row := range []struct {
		name          string
		before, after string
		slept         time.Duration
		major         bool
		reversed      bool   // the same holds from after to before
		why           string // the first reason begins so; "" says nothing at all
	}{
		{"nothing", home, home, 0, false, both, ""},
		{"first network", "", home, 0, true, once, "there is a network"},
		{"last network", home, "", 0, true, once, "there is no network any more"},
		{"other network", home, cafe, 0, true, both, "the default route is via "},
		{"other gateway, same interface", home, strings.ReplaceAll(home, "1.1 dev", "1.254 dev"), 0, true, both, "the default route is via 192.168.1."},
		{"other address", home, strings.ReplaceAll(home, ".20/", ".21/"), 0, true, both, "eth0 has the address 192.168.1.2"},
		{"second IPv4 address", home, home + "\neth0x 10.9.9.9/32", 0, false, both, "eth0x is"},
		{"IPv4 alias on the way out", home, strings.ReplaceAll(home, ".20/24", ".20/24 192.168.1.30/24"), 0, true, both, "eth0 has"},
		{"IPv6 joins", home, dual, 0, true, both, "there is "},
		{"IPv6 route without address joins", home, home + "\ndefault via fe80::1 dev eth0", 0, true, both, "there is "},
		{
			"IPv6 address elsewhere makes IPv6 work", home + "\ndefault v6 dev tun0\ntun0 10.1.1.1/32\ndocker0 172.17.0.1/16",
			home + "\ndefault v6 dev tun0\ntun0 10.1.1.1/32\ndocker0 172.17.0.1/16 fd17::1/64", 0, true, both, "IPv6 is ",
		},
		{"other name server", home, strings.ReplaceAll(home, "nameserver 192.168.1.1", "nameserver 9.9.9.9"), 0, true, both, "the name server is "},
		{"name server gone", home, strings.ReplaceAll(home, "nameserver 192.168.1.1", ""), 0, true, both, "the"},
		{"other search list", home + "\nsearch a.example", home + "\nsearch b.example", 0, true, both, "the search list"},
		{"same resolver, said otherwise", home + "\noptions a b", "options b a\n" + home, 0, false, both, ""},
		{"cut off", home, strings.ReplaceAll(home, "/24", "/24 lives=1"), 0, true, once, "eth0 was cut off"},
		{
			"cut off, and the route is elsewhere now", home + "\nwlan0 192.168.7.20/24\ndefault via 192.168.7.1 dev wlan0 metric 600",
			"eth0 192.168.1.20/24 lives=1\nwlan0 192.168.7.20/24\ndefault via 192.168.7.1 dev wlan0 metric 600\nnameserver 192.168.1.1", 0, true, once, "the default route is via 192.168.7.1 on wlan0, no longer via 192.168.1.1 on eth0",
		},
		{"bridge cut off", home + "\ndocker0 172.17.0.1/16", home + "\ndocker0 172.17.0.1/16 lives=1", 0, false, once, "docker0 was cut off"},
		{"container bridge", home, home + "\ndocker0 172.17.0.1/16", 0, false, both, "docker0 is "},
		{"bridge with IPv6", home, home + "\nbr-12ab34 172.18.0.1/16 fd12::1/64", 0, false, both, "br-12ab34 is "},
		{"split VPN", home, home + "\ntun0 10.8.0.2/24\n10.20.0.0/16 via 10.8.0.1 dev tun0", 0, false, both, "tun0 is "},
		{"split VPN with its own name server", home, strings.ReplaceAll(home, "nameserver 192.168.1.1", "nameserver 10.8.0.1") + "\ntun0 10.8.0.2/24", 0, true, both, "the name server is "},
		{"VPN takes everything", home, home + "\nwg0 10.8.0.2/32\ndefault dev wg0 metric 50", 0, true, both, "the default route is "},
		{"VPN takes everything in two halves", home, home + "\ntun0 10.8.0.2/24\n0.0.0.0/1 via 10.8.0.1 dev tun0\n128.0.0.0/1 via 10.8.0.1 dev tun0", 0, true, both, "the default route is "},
		{"VPN takes IPv6 only", home, home + "\nwg0 fd08::2/128\n2000::/3 dev wg0", 0, true, both, "there is "},
		{"second way out", home, home + "\nwlan0 192.168.7.20/24\ndefault via 192.168.7.1 dev wlan0 metric 600", 0, true, once, "there is another default route via 192.168.7.1 on wlan0"},
		{"second way out gone", home + "\nwlan0 192.168.7.20/24\ndefault via 192.168.7.1 dev wlan0 metric 600", home, 0, true, once, "the other default route via 192.168.7.1 on wlan0 is gone"},
		{"metric", home, strings.ReplaceAll(home, "100", "20100"), 0, false, both, "the route to 0.0.0.0/0 via 192.168.1.1 on eth0 has the metric "},
		{
			"metric changes who is first", home + "\nwlan0 192.168.7.20/24\ndefault via 192.168.7.1 dev wlan0 metric 600",
			strings.ReplaceAll(home, "100", "20100") + "\nwlan0 192.168.7.20/24\ndefault via 192.168.7.1 dev wlan0 metric 600", 0, true, both, "the default route is via ",
		},
		{"temporary IPv6 address", dual, strings.ReplaceAll(dual, "::20/64", "::20/64 2001:db8:1::abcd/64"), 0, false, both, "eth0 has "},
		{
			"temporary IPv6 address replaced", strings.ReplaceAll(dual, "::20/64", "::20/64 2001:db8:1::abcd/64"),
			strings.ReplaceAll(dual, "::20/64", "::20/64 2001:db8:1::ef01/64"), 0, false, both, "eth0 has the address",
		},
		{"the only IPv6 address replaced", dual, strings.ReplaceAll(dual, "::20/64", "::21/64"), 0, true, both, "eth0 has the address"},
		{"another IPv6 prefix", dual, strings.ReplaceAll(dual, "::20/64", "::20/64 2001:db8:2::20/64"), 0, true, both, "eth0 has "},
		{"renumbered", dual, strings.ReplaceAll(dual, "db8:1:", "db8:2:"), 0, true, both, "eth0 has the address"},
		{"LAN only: address", "eth0 10.0.0.1/24", "eth0 10.0.0.2/24", 0, true, both, "eth0 has "},
		{"LAN only: second interface", "eth0 10.0.0.1/24", "eth0 10.0.0.1/24\neth1 10.0.1.1/24", 0, true, both, "eth1 is "},
		{"LAN only: cut off", "eth0 10.0.0.1/24", "eth0 10.0.0.1/24 lives=1", 0, true, once, "eth0 was cut off"},
		{"LAN only: route", "eth0 10.0.0.1/24", "eth0 10.0.0.1/24\n10.1.0.0/16 via 10.0.0.254 dev eth0", 0, false, both, "the"},
		{"LAN becomes internet", "eth0 10.0.0.1/24", "eth0 10.0.0.1/24\ndefault via 10.0.0.254 dev eth0", 0, true, both, "there is "},
		{"specific route", home, home + "\n10.1.0.0/16 via 192.168.1.7 dev eth0", 0, false, both, "the"},
		{"long sleep", home, home, 3 * time.Hour, true, once, "slept for 3 h"},
		{"half a minute", home, home, 30 * time.Second, true, once, "slept for 30 s"},
		{"nap", home, home, 12 * time.Second, false, once, "slept for 12 s"},
		{"sleep from home to the café", home, cafe, 40 * time.Minute, true, once, "slept for 40 min"},
		{"sleep without a network", "", "", time.Hour, true, once, "slept for 60 min"},
	} {
		check := func(t *testing.T, before, after Snapshot, why string) {
			d := NewDelta(before, after, row.slept)
			if d.Major != row.major {
				t.Errorf("major is %v: %q", d.Major, d.Why)
			}
			if (row.why == "") != (len(d.Why) == 0) || !strings.HasPrefix(strings.Join(d.Why, "\n"), why) {
				t.Errorf("why: %q, should begin with %q", d.Why, why)
			}
			if want := len(after.Interfaces) == 0; d.Offline != want {
				t.Errorf("offline is %v", d.Offline)
			}
			if !d.Old.equal(before) || !d.New.equal(after) || d.Slept != row.slept {
				t.Errorf("old, new or slept is not what was given: %+v", d)
			}
			if slices.Contains(d.Why, "") || len(slices.Compact(slices.Sorted(slices.Values(d.Why)))) != len(d.Why) {
				t.Errorf("a reason is empty or said twice: %q", d.Why)
			}
		}
		t.Run(row.name, func(t *testing.T) {
			check(t, network(row.before), network(row.after), row.why)
		})
		if row.reversed {
			t.Run(row.name+", reversed", func(t *testing.T) {
				check(t, network(row.after), network(row.before), "") // in other words
			})
		}
	}
}

// What is told is read by people: whole sentences, in order of weight.
func TestDeltaWords(t *testing.T) {
	for _, row := range []struct {
		name          string
		before, after string
		slept         time.Duration
		why           []string
	}{
		{"home to café", home, cafe, 3 * time.Hour, []string{
			"slept for 3 h",
			"the default route is via 192.168.7.1 on wlan0, no longer via 192.168.1.1 on eth0",
			"wlan0 is up with the address 192.168.7.20/24",
			"eth0 is gone",
			"the name server is 192.168.7.1, no longer 192.168.1.1",
		}},
		{"everything gone", dual, "", 0, []string{
			"there is no network any more",
			"there is no default route any more",
			"there is no IPv6 default route any more",
			"eth0 is gone",
			"there is no name server any more",
		}},
		{"split VPN", home, home + "\ntun0 10.8.0.2/24\n10.20.0.0/16 via 10.8.0.1 dev tun0", 0, []string{"tun0 is up with the address 10.8.0.2/24"}},
		{"many routes", home, home + "\n10.1.0.0/16 dev eth0\n10.2.0.0/16 dev eth0\n10.3.0.0/16 dev eth0\n10.4.0.0/16 dev eth0\n10.5.0.0/16 dev eth0", 0, []string{
			"there is a route to 10.1.0.0/16 on eth0",
			"there is a route to 10.2.0.0/16 on eth0",
			"there is a route to 10.3.0.0/16 on eth0",
			"2 more routes changed",
		}},
		{"address", home, strings.ReplaceAll(home, ".20/", ".21/"), 0, []string{"eth0 has the address 192.168.1.21/24 now, no longer 192.168.1.20/24"}},
	} {
		t.Run(row.name, func(t *testing.T) {
			if got := NewDelta(network(row.before), network(row.after), row.slept).Why; !slices.Equal(got, row.why) {
				t.Errorf("got\n\t%s\nwant\n\t%s", strings.Join(got, "\n\t"), strings.Join(row.why, "\n\t"))
			}
		})
	}
}

// Any two different networks differ in words, and equal ones do not. Back and
// forth weigh the same.
func TestDeltaTellsAll(t *testing.T) {
	lines := []string{
		"eth0 192.168.1.20/24", "wlan0 192.168.7.20/24 2001:db8:1::20/64", "wlan1 2001:db8:1::21/64 2001:db8:1::22/64", "docker0 172.17.0.1/16",
		"default via 192.168.1.1 dev eth0 metric 100", "default via 192.168.7.1 dev wlan0 metric 600", "default via fe80::1 dev wlan0 metric 600",
		"default dev wg0", "0.0.0.0/1 dev tun0", "128.0.0.0/1 dev tun0", "10.20.0.0/16 via 192.168.1.7 dev eth0", "nameserver 192.168.1.1", "search a.example",
	}
	rapid.Check(t, func(t *rapid.T) {
		some := func(name string) Snapshot {
			return network(strings.Join(rapid.SliceOfDistinct(rapid.SampledFrom(lines), rapid.ID).Draw(t, name), "\n"))
		}
		before, after := some("before"), some("after")
		d, back := NewDelta(before, after, 0), NewDelta(after, before, 0)
		if before.equal(after) != (len(d.Why) == 0) {
			t.Errorf("told %q", d.Why)
		}
		if d.Major != back.Major {
			t.Errorf("there %v %q, back %v %q", d.Major, d.Why, back.Major, back.Why)
		}
		if before.Network() != after.Network() && !d.Major {
			t.Errorf("another network is minor: %q", d.Why)
		}
	})
}
