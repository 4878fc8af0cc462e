package gateway

import (
	"context"
	"net/netip"
	"slices"
	"sync"
	"time"
	"weak"

	"mailroam/gateway/admin"
	"mailroam/gateway/relay"
	"mailroam/health"
	"mailroam/health/netmon"
)

// roamed takes in a change of the network, in an order that leaves no gap: new
// connections are made in the new network before anything is asked of them,
// and health knows of it before mail is offered anew.
func (g *Gateway) roamed(d netmon.Delta) {
	for _, u := range g.connected() {
		if d.Slept > 0 {
			u.CloseIdle() // nobody has waited at the other end
		}
		if d.Major {
			u.Roam(d.New.Network())
		}
	}
	g.health.Network(d) // writes the log's line
	if d.Major {
		g.dispatch.Roamed()
	}
	g.alerts.Changed()
}

// connected are the clients that may have something under way: those of the
// config, and those that it has no more.
func (g *Gateway) connected() []*relay.Upstream {
	g.mu.Lock()
	defer g.mu.Unlock()
	var us []*relay.Upstream
	for _, u := range g.upstreams {
		us = append(us, u.relay)
	}
	for _, w := range g.dropped {
		if u := w.Value(); u != nil {
			us = append(us, u)
		}
	}
	return us
}

// drop notes the clients that a new config has no more. What they keep open
// closes by itself. The caller holds g.mu.
func (g *Gateway) drop(old map[string]upstream) {
	g.dropped = slices.DeleteFunc(g.dropped, func(w weak.Pointer[relay.Upstream]) bool { return w.Value() == nil })
	for name, o := range old {
		if g.upstreams[name].relay != o.relay {
			g.dropped = append(g.dropped, weak.Make(o.relay))
		}
	}
}

// place is what an upstream's client must know of the network.
type place struct {
	lookup  func(ctx context.Context, host string) ([]netip.Addr, error)
	path    func(local, peer netip.Addr) string
	network func() string // the identity of the one we are in
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
		path:    func(local, peer netip.Addr) string { return w.Snapshot().Path(local, peer) },
		network: func() string { return w.Snapshot().Network() },
	}
}

// network is the network's part of the status. What the machine's own keeper
// of the network thinks is of use only when something is wrong: one upstream
// alone that does not answer is charged as itself, and may yet be behind a portal.
func (g *Gateway) network() admin.Network {
	n := admin.Network{
		Online: g.health.Online(), OnlineFor: g.health.Odometer().Round(time.Second).Seconds(),
		Outlook: g.health.Outlook(), Interfaces: interfaces(g.watcher.Snapshot()),
	}
	if n.State != health.Online || !slices.ContainsFunc(g.health.Status(), answers) {
		n.Manager = string(g.manager.connectivity(time.Now()))
	}
	return n
}

// answers says that somebody proven answered last where the upstream is reached,
// or that nobody has failed to yet.
func answers(u health.Status) bool { return u.Kind != health.Network && u.Kind != health.Identity }

// interfaces are those of a snapshot as people and programs are told of them.
func interfaces(s netmon.Snapshot) []admin.Interface {
	all := []admin.Interface{}
	for _, i := range s.Interfaces {
		all = append(all, admin.Interface{Name: i.Name, Addresses: i.Addrs})
	}
	return all
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
