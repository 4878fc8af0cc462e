//go:build linux

package lab

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
)

// network is a place to be: a router with a cable to the Internet, and a bridge
// that the laptop's cable is put into.
type network struct {
	netns
	lan4  netip.Prefix // the router's address in its network
	lan6  netip.Prefix // likewise; none without IPv6
	host4 netip.Prefix // what the laptop gets
	host6 netip.Prefix
	leads bool // to the Internet
	dns   *nameserver
	tap   *tap
}

// inet is the namespace of the bridge that all cables to the Internet end in.
const inet = netns("inet")

// plug lays a cable from n to the Internet.
func plug(n netns, dev string) error {
	return errors.Join(
		inet.ip(fmt.Sprintf("link add %[1]s type veth peer name %[2]s netns %[1]s\nlink set %[1]s master ix\nlink set %[1]s up", n, dev)),
		n.ip("link set "+dev+" up"),
	)
}

// startNetwork makes a network whose router has the address .1 or ::1 and whose
// stations get .50 and ::50. number is unlike that of any other.
func startNetwork(name string, number int, lan4, lan6 string, leads bool, names map[string][]netip.Addr) (*network, error) {
	w := &network{leads: leads}
	var err error
	if w.netns, err = newNetns(name); err != nil {
		return nil, err
	}
	at := func(net string, host string) netip.Prefix {
		p := netip.MustParsePrefix(net)
		base := strings.TrimSuffix(p.Addr().String(), "0")
		return netip.PrefixFrom(netip.MustParseAddr(base+host), p.Bits())
	}
	w.lan4, w.host4 = at(lan4, "1"), at(lan4, "50")
	// Two routers that look the same differ in their hardware address alone.
	links := fmt.Sprintf(`link add lan address 02:00:00:00:01:%02x type bridge
link set lan up
addr add %s brd + dev lan
`, number, w.lan4)
	if lan6 != "" {
		w.lan6, w.host6 = at(lan6, "1"), at(lan6, "50")
		links += fmt.Sprintf("addr add %s dev lan nodad\n", w.lan6)
	}
	if err := w.ip(links); err != nil {
		return nil, err
	}
	if leads {
		if err := w.lead(number); err != nil {
			return nil, err
		}
	}
	if w.dns, err = startNames(w.netns, w.lan4.Addr(), names); err != nil {
		return nil, err
	}
	w.tap, err = startTap(w.netns, "lan")
	return w, err
}

// lead connects the router to the Internet, behind address translation of both
// families.
func (w *network) lead(number int) error {
	if err := plug(w.netns, "wan"); err != nil {
		return err
	}
	links := fmt.Sprintf("addr add 100.64.0.%d/24 dev wan\naddr add 2001:db8:ffff::%d/64 dev wan nodad\n", number, number)
	for _, host := range providerHosts {
		links += fmt.Sprintf("route add %s.0/24 dev wan\nroute add %s::/64 dev wan\n", host[0], host[1])
	}
	if err := w.ip(links); err != nil {
		return err
	}
	for key, value := range map[string]string{
		"ipv4/ip_forward": "1", "ipv6/conf/all/forwarding": "1",
		// A router that has forgotten a session does not take it up again in the
		// middle.
		"netfilter/nf_conntrack_tcp_loose": "0",
	} {
		if err := w.sysctl(key, value); err != nil {
			return err
		}
	}
	// What belongs to no session it knows is dropped in silence, as by any NAT
	// whose table was lost.
	return w.nft(`table inet nat {
	chain post {
		type nat hook postrouting priority srcnat
		oifname "wan" masquerade
	}
	chain forward {
		type filter hook forward priority 10
		ct state invalid drop
		iifname "wan" ct state new drop
	}
	chain in {
		type filter hook input priority 10
		iifname "wan" tcp dport 1-65535 ct state != established drop
	}
}
`)
}

// trouble makes the router do what the chains say, and nothing of what it was
// told before.
func (w *network) trouble(chains string) error {
	return w.nft("table inet trouble\ndelete table inet trouble\ntable inet trouble {\n" + chains + "\n}\n")
}

// calm ends all trouble.
func (w *network) calm() error { return w.nft("table inet trouble\ndelete table inet trouble\n") }

// forget empties the table of sessions.
func (w *network) forget() error { return w.run("", "conntrack", "-F") }

// The troubles.
const (
	blocksSubmission = `chain forward {
		type filter hook forward priority 0
		tcp dport { 25, 587 } drop
	}`
	noIPv6 = `chain forward {
		type filter hook forward priority 0
		meta nfproto ipv6 drop
	}`
	noWeb = `chain forward {
		type filter hook forward priority 0
		tcp dport 80 reject with tcp reset
	}`
	// The router is dead; the link to it stays up.
	deadRouter = `chain in {
		type filter hook input priority 0
		drop
	}
	chain forward {
		type filter hook forward priority 0
		drop
	}`
	// Half a megabyte a second: a large body takes its time.
	narrow = `chain forward {
		type filter hook forward priority 0
		iifname "lan" ip protocol tcp limit rate over 1 mbytes/second burst 64 kbytes drop
		iifname "lan" ip6 nexthdr tcp limit rate over 1 mbytes/second burst 64 kbytes drop
	}`
)

// portal redirects the ports of mail and web to the trap: submission on 465 and
// on 587 and 25 to these of its ports, 0 for nobody.
func portal(implicit, clear int) string {
	rules := fmt.Sprintf("tcp dport 80 redirect to :%d\n", trapHTTP)
	if implicit != 0 {
		rules += fmt.Sprintf("tcp dport 465 redirect to :%d\n", implicit)
	}
	if clear != 0 {
		rules += fmt.Sprintf("tcp dport { 25, 587 } redirect to :%d\n", clear)
	}
	return captive(rules)
}

// stripping forwards 587 and 25 through a proxy that hides STARTTLS.
func stripping() string {
	rules := fmt.Sprintf("tcp dport 80 redirect to :%d\n", trapHTTP)
	for name, port := range map[string]int{"a": stripA, "b": stripB} {
		rules += fmt.Sprintf("ip daddr %s.0/24 tcp dport { 25, 587 } redirect to :%d\n", providerHosts[name][0], port)
	}
	return captive(rules)
}

// captive lets nothing out but what the rules redirect.
func captive(rules string) string {
	return `chain before {
		type nat hook prerouting priority dstnat
		iifname "lan" jump here
	}
	chain here {
		` + rules + `
	}
	chain forward {
		type filter hook forward priority 0
		iifname "lan" drop
	}`
}
