//go:build linux

package lab

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"sync/atomic"
	"testing"
	"time"

	"mailroam/gateway/e2e/peers"
)

// lab is all that the scenarios share.
type lab struct {
	ctx      context.Context
	stop     context.CancelFunc
	dir, bin string
	ca       *peers.CA // of the providers
	portalCA *peers.CA // of the portal, which nobody should trust
	mail     *inbox
	laptop   *laptop
	a, b     *provider
	trap     *trap

	home, twin, cafe, hotel, broken6, guest, office *network

	lines    []*line
	running  *gateway     // nil: none; two would need two doors
	gateways atomic.Int32 // so far, for the names of their folders
	tokens   atomic.Int64 // so far: every message of a run is another one
}

// build lays all cables and starts all servers.
func build(dir string) (*lab, error) {
	l := &lab{dir: dir, mail: newInbox()}
	l.ctx, l.stop = context.WithCancel(context.Background())
	var err error
	if l.bin, err = peers.BuildMailroam(l.ctx, dir); err != nil {
		return nil, err
	}
	if l.ca, err = peers.NewCA(dir, "lab"); err != nil {
		return nil, err
	}
	if l.portalCA, err = peers.NewCA(dir, "portal"); err != nil {
		return nil, err
	}
	if _, err := newNetns(string(inet)); err != nil {
		return nil, err
	}
	if err := inet.ip("link add ix type bridge\nlink set ix up"); err != nil {
		return nil, err
	}
	if err := l.startProviders(); err != nil {
		return nil, fmt.Errorf("starting the providers: %w", err)
	}
	if err := l.startNetworks(); err != nil {
		return nil, fmt.Errorf("starting the networks: %w", err)
	}
	l.laptop, err = newLaptop(dir)
	return l, err
}

func (l *lab) startProviders() (err error) {
	if l.a, err = startProvider(l.ctx, "a", l.dir, l.ca, l.mail); err != nil {
		return err
	}
	l.b, err = startProvider(l.ctx, "b", l.dir, l.ca, l.mail)
	return err
}

func (l *lab) startNetworks() error {
	names := map[string][]netip.Addr{}
	maps.Copy(names, l.a.addrs)
	maps.Copy(names, l.b.addrs)
	for i, n := range []struct {
		to         **network
		name       string
		lan4, lan6 string
		leads      bool
	}{
		{&l.home, "home", "192.168.1.0/24", "2001:db8:1::/64", true},
		{&l.twin, "twin", "192.168.1.0/24", "2001:db8:1::/64", true},
		{&l.cafe, "cafe", "10.20.0.0/16", "", true},
		{&l.hotel, "hotel", "172.20.0.0/16", "", true},
		{&l.broken6, "broken6", "192.168.66.0/24", "2001:db8:66::/64", true},
		{&l.guest, "guest", "192.168.9.0/24", "", true},
		{&l.office, "office", "192.168.7.0/24", "", false},
	} {
		var err error
		if *n.to, err = startNetwork(n.name, 101+i, n.lan4, n.lan6, n.leads, names); err != nil {
			return fmt.Errorf("%s: %w", n.name, err)
		}
	}
	if err := errors.Join(l.cafe.trouble(blocksSubmission), l.broken6.trouble(noIPv6)); err != nil {
		return err
	}
	return errors.Join(l.startTrap(), startSmartHost(l.ctx, l.office, l.ca, l.mail))
}

func (l *lab) startTrap() error {
	cert, key, err := l.portalCA.Server("portal", "mail.provider-a.test", "mail.provider-b.test", "login.hotel.test")
	if err != nil {
		return err
	}
	identity, err := tls.LoadX509KeyPair(cert, key)
	if err != nil {
		return err
	}
	l.trap = &trap{cert: &tls.Config{Certificates: []tls.Certificate{identity}}}
	return errors.Join(
		l.trap.start(l.hotel.netns),
		startStripper(l.ctx, l.hotel.netns, stripA, providerHosts["a"][0]+".10:587"),
		startStripper(l.ctx, l.hotel.netns, stripB, providerHosts["b"][0]+".10:587"),
	)
}

func (l *lab) networks() []*network {
	return []*network{l.home, l.twin, l.cafe, l.hotel, l.broken6, l.guest, l.office}
}

// seen counts the secrets that were told to anybody without proof of who it is.
func (l *lab) seen() (found int, whole bool) {
	found, whole = l.trap.heard(), true
	for _, n := range l.networks() {
		f, w := n.tap.seen()
		found, whole = found+f, whole && w
	}
	return found, whole
}

// settled waits until nothing is under way. A message can be in the inbox before
// the gateway has read that it was taken: who walks off or cuts a line then has
// it in doubt, and it comes again. And what a Postfix has taken may not be in the
// inbox yet.
func (l *lab) settled(t *testing.T) {
	t.Helper()
	if g := l.running; g != nil {
		if _, ok := g.until(30*time.Second, func(s status) bool { return s.Queue.Queued+s.Queue.Leased == 0 }); !ok {
			t.Errorf("what has arrived is not settled within 30 s: %+v", g.status().Queue)
		}
	}
	must(t, errors.Join(l.a.drained(), l.b.drained()))
}

func (l *lab) close() error {
	defer l.stop()
	return errors.Join(l.a.postfix.Close(), l.b.postfix.Close())
}
