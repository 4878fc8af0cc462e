package sink

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"sync"
	"syscall"
)

// Network is a network without a kernel. An address is any "host:port"; a
// dial to one where nobody listens is refused.
type Network struct {
	mu     sync.Mutex // guards all below
	ports  map[string]*listener
	silent map[string]bool
	dials  int
}

// NewNetwork makes an empty network.
func NewNetwork() *Network {
	return &Network{ports: map[string]*listener{}, silent: map[string]bool{}}
}

// Listen opens addr.
func (n *Network) Listen(_, address string) (net.Listener, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.ports[address] != nil {
		return nil, opError("listen", address, syscall.EADDRINUSE)
	}
	l := &listener{network: n, addr: toAddr(address), backlog: make(chan *conn, 128), closed: make(chan struct{})}
	n.ports[address] = l
	return l, nil
}

// Dial has the signature of net.Dialer.DialContext.
func (n *Network) Dial(ctx context.Context, _, address string) (net.Conn, error) {
	n.mu.Lock()
	l, silent := n.ports[address], n.silent[address]
	n.dials++
	local := toAddr(fmt.Sprintf("127.0.0.1:%d", 1024+n.dials%60000))
	n.mu.Unlock()
	if silent {
		<-ctx.Done()
		return nil, &net.OpError{Op: "dial", Net: "tcp", Addr: toAddr(address), Err: ctx.Err()}
	}
	if l == nil {
		return nil, opError("dial", address, syscall.ECONNREFUSED)
	}
	client, server := pipeBetween(local, l.addr)
	select {
	case l.backlog <- server:
		select {
		case <-l.closed: // it may have missed this one
			l.drain()
		default:
		}
		return client, nil
	case <-l.closed:
		return nil, opError("dial", address, syscall.ECONNREFUSED)
	case <-ctx.Done():
		return nil, &net.OpError{Op: "dial", Net: "tcp", Addr: l.addr, Err: ctx.Err()}
	}
}

// DialTo is Dial for one address, whatever is asked for.
func (n *Network) DialTo(address string) func(ctx context.Context, network, addr string) (net.Conn, error) {
	return func(ctx context.Context, network, _ string) (net.Conn, error) { return n.Dial(ctx, network, address) }
}

// Silence makes an address a black hole for new dials, or ends that.
func (n *Network) Silence(address string, on bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.silent[address] = on
}

// Dials counts the calls of Dial.
func (n *Network) Dials() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.dials
}

type listener struct {
	network *Network
	addr    net.Addr
	backlog chan *conn
	once    sync.Once
	closed  chan struct{}
}

func (l *listener) Addr() net.Addr { return l.addr }

func (l *listener) Accept() (net.Conn, error) {
	select {
	case <-l.closed:
		return nil, net.ErrClosed
	default:
	}
	select {
	case c := <-l.backlog:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *listener) Close() error {
	l.once.Do(func() {
		l.network.mu.Lock()
		delete(l.network.ports, l.addr.String())
		l.network.mu.Unlock()
		close(l.closed)
		l.drain()
	})
	return nil
}

// drain resets what was dialled and never accepted.
func (l *listener) drain() {
	for {
		select {
		case c := <-l.backlog:
			_ = c.SetLinger(0)
			_ = c.Close()
		default:
			return
		}
	}
}

// addr is an address that is no IP address.
type addr string

func (addr) Network() string  { return "tcp" }
func (a addr) String() string { return string(a) }

func toAddr(s string) net.Addr {
	if ap, err := netip.ParseAddrPort(s); err == nil {
		return net.TCPAddrFromAddrPort(ap)
	}
	return addr(s)
}

func opError(op, address string, errno syscall.Errno) error {
	call := map[string]string{"dial": "connect", "listen": "bind"}[op]
	return &net.OpError{Op: op, Net: "tcp", Addr: toAddr(address), Err: os.NewSyscallError(call, errno)}
}
