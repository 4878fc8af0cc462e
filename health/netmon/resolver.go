package netmon

import (
	"context"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync/atomic"
)

// settings are the lines of a resolver file that matter, in one form
// (resolv.conf(5)): the name servers in their order, then the search list, of
// which the last one counts, then the options.
func settings(file string) string {
	var servers, search, options []string
	for line := range strings.Lines(file) {
		words := strings.Fields(line)
		if len(words) < 2 {
			continue
		}
		switch words[0] {
		case "nameserver":
			servers = append(servers, "nameserver "+words[1])
		case "search", "domain":
			search = words[1:]
		case "options":
			options = append(options, words[1:]...)
		}
	}
	lines := servers
	if len(search) > 0 {
		lines = append(lines, "search "+strings.Join(search, " "))
	}
	if len(options) > 0 {
		slices.Sort(options)
		lines = append(lines, "options "+strings.Join(slices.Compact(options), " "))
	}
	return strings.Join(lines, "\n")
}

// Nameservers are those that the resolver file names, in its order.
func (s Snapshot) Nameservers() []netip.AddrPort { return nameservers(s.Resolver) }

func nameservers(settings string) (all []netip.AddrPort) {
	for line := range strings.Lines(settings) {
		if word, ok := strings.CutPrefix(line, "nameserver "); ok {
			if a, err := netip.ParseAddr(strings.TrimSpace(word)); err == nil {
				all = append(all, netip.AddrPortFrom(a, 53))
			}
		}
	}
	return all
}

// NewResolver asks the name servers that the resolver file names now. Go's own
// looks at the file only every five seconds, and a laptop that roams has better
// things to do than to ask the café about the servers of home. Where the
// system's configuration makes Go ask the C library instead, that rereads the
// file by itself.
func NewResolver(file string) *net.Resolver {
	d := &dialer{file: file, dial: (&net.Dialer{}).DialContext}
	return &net.Resolver{Dial: d.Dial}
}

// dialer turns Go's idea of the name servers into the file's.
type dialer struct {
	file string
	dial func(ctx context.Context, network, address string) (net.Conn, error)
	turn atomic.Uint32
}

// Dial connects to address if the file names it. Otherwise Go goes by what the
// file said before, and the servers that it names now take turns.
func (d *dialer) Dial(ctx context.Context, network, address string) (net.Conn, error) {
	file, _ := os.ReadFile(d.file) // without one it names no server
	servers := nameservers(settings(string(file)))
	asked, _ := netip.ParseAddrPort(address)
	if len(servers) > 0 && !slices.Contains(servers, asked) {
		// The questions for A and AAAA go out side by side, each with its own
		// attempts: both of them are to try every server.
		turn := (d.turn.Add(1) - 1) / 2
		address = servers[turn%uint32(len(servers))].String()
	}
	c, err := d.dial(ctx, network, address)
	if udp, ok := c.(*net.UDPConn); ok && err == nil {
		return &question{UDPConn: udp, patience: askAgain}, nil
	}
	return c, err
}
