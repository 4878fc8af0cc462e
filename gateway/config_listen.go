package gateway

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// listenEntry is a [[listen]] as written, with what was made of it.
type listenEntry struct {
	node     *node
	address  string
	allow    []string
	received string
}

func defaultListen() Listen {
	return Listen{Address: "127.0.0.1:2525", Allow: loopback(), Received: "private"}
}

func loopback() []netip.Prefix {
	return []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128")}
}

func (d *decoder) listenSchema(n *node) schema {
	e := &listenEntry{node: n}
	if _, written := n.fields["address"]; !written {
		e.address = defaultListen().Address
	}
	d.listen = append(d.listen, e)
	return schema{
		"address":  text(&e.address, checkListenAddress),
		"allow":    texts(&e.allow, `["127.0.0.0/8", "::1"]`, checkNetwork),
		"received": choice(&e.received, "private", "full"),
		"tls":      text(new(string), onlyOff("speak TLS with")),
		"auth":     text(new(string), onlyOff("ask for a password from")),
	}
}

// onlyOff is for what is to come: who writes down the default is right already.
func onlyOff(cannot string) func(string) fault {
	return func(s string) fault {
		if s == "off" {
			return fault{}
		}
		return fault{`can only be "off": mailroam cannot ` + cannot + " those who send yet", "leave the key out, and let allow name the machines that may send"}
	}
}

func checkListenAddress(s string) fault {
	if _, _, ok := parseListenAddress(s); !ok {
		return fault{"is not an IP address with a port", `write it like "127.0.0.1:2525", "[::1]:2525", or ":2525" for all addresses`}
	}
	return fault{}
}

// parseListenAddress gives the unspecified IPv6 address for "all addresses".
// Names are refused: what they resolve to may change, and with it who can
// reach us.
func parseListenAddress(s string) (ip netip.Addr, port uint16, ok bool) {
	host, p, err := net.SplitHostPort(s)
	n, perr := strconv.ParseUint(p, 10, 16)
	if err != nil || perr != nil {
		return ip, 0, false
	}
	switch host {
	case "", "*":
		return netip.IPv6Unspecified(), uint16(n), true
	case "localhost":
		return netip.AddrFrom4([4]byte{127, 0, 0, 1}), uint16(n), true
	}
	ip, err = netip.ParseAddr(host)
	return ip.Unmap(), uint16(n), err == nil
}

func checkNetwork(s string) fault {
	if _, ok := parseNetwork(s); !ok {
		return fault{quote(s) + " is not a network", `write it like "192.168.1.0/24", "fd00:1::/64", or a single address`}
	}
	return fault{}
}

// parseNetwork takes a prefix or a bare address. IPv4 in its IPv6 clothes is
// undressed, lest a /96 of it pass for narrow.
func parseNetwork(s string) (netip.Prefix, bool) {
	if addr, err := netip.ParseAddr(s); err == nil {
		addr = addr.Unmap()
		return netip.PrefixFrom(addr, addr.BitLen()), addr.Zone() == ""
	}
	p, err := netip.ParsePrefix(s)
	if err != nil {
		return p, false
	}
	if p.Addr().Is4In6() {
		if p.Bits() < 96 {
			return p, false
		}
		p = netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-96)
	}
	return p.Masked(), true
}

// checkListen turns what was written into listeners and looks at them
// together.
func (d *decoder) checkListen() {
	if len(d.listen) == 0 {
		return // the default stays
	}
	d.config.Listen = nil
	for i, e := range d.listen {
		ip, port, ok := parseListenAddress(e.address)
		if !ok {
			continue // already complained about
		}
		local := ip.IsLoopback()
		l := Listen{Address: listenAddress(ip, port), Allow: loopback(), Received: e.received}
		if e.allow != nil {
			l.Allow = nil
			for i, s := range e.allow {
				p, ok := parseNetwork(s)
				if !ok {
					continue // already complained about
				}
				l.Allow = append(l.Allow, p)
				if !local {
					d.checkOpenRelay(e.node.fields["allow"].items[i].line, p)
				}
			}
		}
		if l.Received == "" {
			l.Received = "full"
			if local {
				l.Received = "private"
			}
		}
		for _, before := range d.listen[:i] {
			otherIP, otherPort, ok := parseListenAddress(before.address)
			if ok && port != 0 && port == otherPort && overlap(ip, otherIP) {
				d.problem(e.node.lineOf("address"), "listen.address", "takes the same port as the listener on line "+strconv.Itoa(before.node.line),
					"give it another port, or remove one of them")
				break
			}
		}
		d.config.Listen = append(d.config.Listen, l)
	}
}

func listenAddress(ip netip.Addr, port uint16) string {
	if ip == netip.IPv6Unspecified() {
		return fmt.Sprintf(":%d", port)
	}
	return netip.AddrPortFrom(ip, port).String()
}

// overlap says that two listeners on one port would get in each other's way.
func overlap(a, b netip.Addr) bool {
	return a == b || a.IsUnspecified() || b.IsUnspecified()
}

// checkOpenRelay refuses to serve strangers: spammers find an open relay
// within hours, and then no upstream takes our mail any more.
func (d *decoder) checkOpenRelay(line int, p netip.Prefix) {
	widest := 16
	if p.Addr().Is6() {
		widest = 48
	}
	switch {
	case within(p, loopback()):
	case p.Bits() < widest:
		d.problem(line, "listen.allow", fmt.Sprintf("open relay: %s is wider than /%d, and anybody in it could send mail in your name", p, widest),
			`list only your own network, for example "192.168.1.0/24", or listen on 127.0.0.1`)
	case !within(p, privateNetworks()):
		d.problem(line, "listen.allow", fmt.Sprintf("open relay: %s holds public addresses, and anybody there could send mail in your name", p),
			"list only private networks; from outside come in through a VPN or an SSH tunnel")
	}
}

func within(p netip.Prefix, networks []netip.Prefix) bool {
	return slices.ContainsFunc(networks, func(n netip.Prefix) bool {
		return n.Bits() <= p.Bits() && n.Contains(p.Addr())
	})
}

// privateNetworks cannot be reached from the Internet.
func privateNetworks() []netip.Prefix {
	var ps []netip.Prefix
	for s := range strings.FieldsSeq(
		"10.0.0.0/8 172.16.0.0/12 192.168.0.0/16 fc00::/7 " + // RFC 1918, RFC 4193
			"169.254.0.0/16 fe80::/10 " + // link-local: RFC 3927, RFC 4291
			"100.64.0.0/10",
	) { // RFC 6598, which mesh VPNs use
		ps = append(ps, netip.MustParsePrefix(s))
	}
	return ps
}
