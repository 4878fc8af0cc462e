package gateway

import (
	"context"
	"net/netip"
	"sync"
	"time"

	"mailroam/gateway/admin"
	"mailroam/health"
	"mailroam/health/netmon"
)

// roamed takes in a change of the network, in an order that leaves no gap: new
// connections are made in the new network before anything is asked of them,
// and health knows of it before mail is offered anew.
func (g *Gateway) roamed(d netmon.Delta) {
	if d.Major {
		for _, u := range g.connected() {
			u.relay.Roam(d.New.Network())
		}
	}
	g.health.Network(d) // writes the log's line
	if d.Major {
		g.dispatch.Roamed()
	}
	g.alerts.Changed()
}

// connected are the upstreams as they are now.
func (g *Gateway) connected() []upstream {
	g.mu.Lock()
	defer g.mu.Unlock()
	var us []upstream
	for _, u := range g.upstreams {
		us = append(us, u)
	}
	return us
}

// place is what an upstream's client must know of the network.
type place struct {
	lookup func(ctx context.Context, host string) ([]netip.Addr, error)
	path   func(local, peer netip.Addr) string
}

func newPlace(w *netmon.Watcher) place {
	resolver := netmon.NewResolver("/etc/resolv.conf")
	return place{
		lookup: func(ctx context.Context, host string) ([]netip.Addr, error) {
			addrs, err := resolver.LookupNetIP(ctx, "ip", host)
			for i, a := range addrs {
				addrs[i] = a.Unmap()
			}
			return addrs, err
		},
		path: func(local, peer netip.Addr) string { return w.Snapshot().Path(local, peer) },
	}
}

// network is the network's part of the status. What the machine's own keeper
// of the network thinks is of use only when something is wrong.
func (g *Gateway) network() admin.Network {
	n := admin.Network{
		Online: g.health.Online(), OnlineFor: g.health.Odometer().Round(time.Second).String(),
		Outlook: g.health.Outlook(), Interfaces: []admin.Interface{},
	}
	for _, i := range g.watcher.Snapshot().Interfaces {
		n.Interfaces = append(n.Interfaces, admin.Interface{Name: i.Name, Addresses: i.Addrs})
	}
	if n.State != health.Online {
		n.Manager = string(g.manager.connectivity(time.Now()))
	}
	return n
}

const (
	managerLimit = 300 * time.Millisecond // how long NetworkManager may take
	managerKeeps = 5 * time.Second        // how long its answer is good for
)

// manager asks NetworkManager.
type manager struct {
	ask func(context.Context) netmon.Connectivity

	mu   sync.Mutex // also keeps it to one question at a time
	at   time.Time  // of the last one
	said netmon.Connectivity
}

func (m *manager) connectivity(now time.Time) netmon.Connectivity {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.at.IsZero() || now.Sub(m.at) >= managerKeeps {
		ctx, cancel := context.WithTimeout(context.Background(), managerLimit)
		defer cancel()
		m.said, m.at = m.ask(ctx), now
	}
	return m.said
}
