package relay

import (
	"context"
	"net"
	"net/netip"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"mailroam/gateway/sink"
)

// internet is a network with servers at addresses, and names for them.
type internet struct {
	*world
	ctx    context.Context
	served sync.WaitGroup
	sinks  []*sink.Server

	mu    sync.Mutex // guards all below
	names map[string]name
	ways  map[string]string // by peer; the others have the way "home"
	asked int               // lookups
}

// name is what the name servers say of a host, and after how long.
type name struct {
	addrs []string
	err   error
	after time.Duration
	deaf  bool // it heeds no context
}

var (
	errServFail = &net.DNSError{Err: "server misbehaving", Name: host, IsTemporary: true}
	errNXDomain = &net.DNSError{Err: "no such host", Name: host, IsNotFound: true}
)

// inInternet runs test in a synctest bubble.
func inInternet(t *testing.T, ro Options, test func(*internet)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		n := &internet{world: &world{t: t, net: sink.NewNetwork()}, ctx: ctx, names: map[string]name{}, ways: map[string]string{}}
		ro.Name, ro.Hello, ro.Dial, ro.Lookup, ro.Path = "test", "client.example", n.net.Dial, n.lookup, n.path
		n.up = New(ro)
		test(n)
		n.up.CloseIdle()
		for _, s := range n.sinks {
			s.Cut()
		}
		cancel()
		n.served.Wait()
	})
}

func (n *internet) lookup(ctx context.Context, host string) (addrs []netip.Addr, err error) {
	n.mu.Lock()
	n.asked++
	is := n.names[host]
	n.mu.Unlock()
	if is.deaf {
		ctx = context.WithoutCancel(ctx)
	}
	select {
	case <-time.After(is.after):
	case <-ctx.Done():
		return nil, &net.DNSError{Err: ctx.Err().Error(), UnwrapErr: ctx.Err(), Name: host, IsTimeout: true}
	}
	for _, a := range is.addrs {
		addrs = append(addrs, netip.MustParseAddr(a))
	}
	return addrs, is.err
}

func (n *internet) path(_, peer netip.Addr) string {
	n.mu.Lock()
	defer n.mu.Unlock()
	if way, ok := n.ways[peer.String()]; ok {
		return way
	}
	return "home"
}

func (n *internet) setName(host string, is name) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.names[host] = is
}

func (n *internet) setWay(peer, way string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.ways[peer] = way
}

func (n *internet) lookups() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.asked
}

// seats counts who is on the roster.
func (n *internet) seats() int {
	n.up.roster.mu.Lock()
	defer n.up.roster.mu.Unlock()
	return len(n.up.roster.seats)
}

// serve has a server listen at the given addresses.
func (n *internet) serve(so sink.Options, at ...string) *sink.Server {
	n.t.Helper()
	so.Keep = true
	s := sink.New(so)
	n.sinks = append(n.sinks, s)
	for _, a := range at {
		l, err := n.net.Listen("tcp", a)
		if err != nil {
			n.t.Fatal(err)
		}
		n.served.Go(func() { _ = s.Serve(n.ctx, l) })
	}
	return s
}

// hole makes addresses black holes.
func (n *internet) hole(at ...string) {
	for _, a := range at {
		n.net.Silence(a, true)
	}
}

const (
	v4, v6       = "192.0.2.1", "2001:db8::1"
	other4       = "192.0.2.2"
	v6At, other6 = "[2001:db8::1]", "2001:db8::2"
)

// inClear is endpoints in the clear at the host, by their ports.
func inClear(ports ...string) (es []Endpoint) {
	for _, p := range ports {
		es = append(es, Endpoint{Mode: Insecure, Host: host, Port: p})
	}
	return es
}
