package netmon

import (
	"maps"
	"net"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// receiveBuffer is asked for; the kernel gives what it allows (net.core.rmem_max).
const receiveBuffer = 1 << 20

// follow subscribes to links, addresses and routes. The library closes a
// channel when reading fails, as it does with ENOBUFS when events came faster
// than they were taken: then all ends here, to be begun anew.
func follow() (<-chan event, func(), error) {
	done := make(chan struct{})
	links := make(chan netlink.LinkUpdate, 16)
	addrs := make(chan netlink.AddrUpdate, 16)
	routes := make(chan netlink.RouteUpdate, 16)
	var drains []func()
	stop := func() {
		close(done)
		for _, drain := range drains {
			drain()
		}
	}
	err := netlink.LinkSubscribeWithOptions(links, done, netlink.LinkSubscribeOptions{ReceiveBufferSize: receiveBuffer})
	if err == nil {
		drains = append(drains, func() { drain(links) })
		err = netlink.AddrSubscribeWithOptions(addrs, done, netlink.AddrSubscribeOptions{ReceiveBufferSize: receiveBuffer})
	}
	if err == nil {
		drains = append(drains, func() { drain(addrs) })
		err = netlink.RouteSubscribeWithOptions(routes, done, netlink.RouteSubscribeOptions{ReceiveBufferSize: receiveBuffer})
	}
	if err == nil {
		drains = append(drains, func() { drain(routes) })
	}
	var k *kernel
	if err == nil {
		k, err = newKernel()
	}
	if err != nil {
		stop()
		return nil, nil, err
	}

	events := make(chan event)
	drains = append(drains, func() { drain(events) })
	go func() {
		defer close(events)
		for {
			var e event
			var news, ok bool
			select {
			case u, open := <-links:
				if ok = open; ok {
					e, news = k.link(int(u.Header.Type), int(u.Family), *u.Attrs())
				}
			case u, open := <-addrs:
				if ok = open; ok {
					e, news = k.addr(u)
				}
			case u, open := <-routes:
				if ok = open; ok {
					e, news = k.route(u)
				}
			case <-done:
			}
			if !ok {
				return
			}
			if !news {
				continue
			}
			select {
			case events <- e:
			case <-done:
				return
			}
		}
	}()
	return events, stop, nil
}

// drain waits until a channel is closed.
func drain[T any](c <-chan T) {
	for range c {
	}
}

// kernel is what the events have said so far, to tell a loss from other news.
type kernel struct {
	links    map[int]link
	defaults map[hop]bool
	routes   func() ([]hop, error) // asks for all
}

type link struct {
	name        string
	up, running bool
}

func newKernel() (*kernel, error) {
	k := &kernel{links: map[int]link{}, routes: dumpRoutes}
	links, err := net.Interfaces()
	if err != nil {
		return nil, err
	}
	for _, l := range links {
		k.links[l.Index] = newLink(l.Name, l.Flags)
	}
	return k, k.reload()
}

func newLink(name string, f net.Flags) link {
	return link{name: name, up: f&net.FlagUp != 0, running: running(f)}
}

// reload asks for the default routes: the kernel is silent about the IPv4
// routes that go with an interface or an address.
func (k *kernel) reload() error {
	all, err := k.routes()
	if err != nil {
		return err
	}
	k.defaults = map[hop]bool{}
	for _, h := range all {
		if isDefault(h.to) {
			k.defaults[h] = true
		}
	}
	return nil
}

// lost is the loss of something of an interface.
func (k *kernel) lost(dev int) event { return event{lost: k.links[dev].name} }

// link takes RTM_NEWLINK and RTM_DELLINK. Most of them are no news: drivers
// tell of scans and statistics with them, bridges of their ports.
func (k *kernel) link(message, family int, a netlink.LinkAttrs) (event, bool) {
	if family != unix.AF_UNSPEC || a.Flags&net.FlagLoopback != 0 {
		return event{}, false
	}
	was := k.links[a.Index]
	is := newLink(a.Name, a.Flags)
	if message == unix.RTM_DELLINK {
		is = link{}
		delete(k.links, a.Index)
	} else {
		k.links[a.Index] = is
	}
	if was.up && !is.up {
		maps.DeleteFunc(k.defaults, func(h hop, _ bool) bool { return h.dev == a.Index })
	}
	if was.running && !is.running {
		return event{lost: was.name}, true
	}
	return event{}, was != is
}

// addr takes RTM_NEWADDR and RTM_DELADDR.
func (k *kernel) addr(u netlink.AddrUpdate) (event, bool) {
	p, ok := prefix(&u.LinkAddress)
	if !ok || !routable(p.Addr()) {
		return event{}, false
	}
	if u.NewAddr || p.Addr().Is6() {
		return event{}, true
	}
	e := k.lost(u.LinkIndex)
	if err := k.reload(); err != nil {
		return e, true // what is known of default routes may be too much, until the next time
	}
	return e, true
}

// route takes RTM_NEWROUTE and RTM_DELROUTE. A default route is lost when it
// was the last one of its family through its interface: NetworkManager gives a
// route another metric by adding the new one before it deletes the old one.
func (k *kernel) route(u netlink.RouteUpdate) (event, bool) {
	if u.Flags&unix.RTM_F_CLONED != 0 {
		return event{}, false
	}
	// A route whose carrier was lost is no way out, but is one that can be lost.
	u.Flags = 0
	for _, n := range u.MultiPath {
		n.Flags = 0
	}
	e, news := event{}, false
	for _, h := range hops(u.Route) {
		news = true
		if !isDefault(h.to) {
			continue
		}
		if u.Type == unix.RTM_NEWROUTE {
			if u.NlFlags&unix.NLM_F_REPLACE != 0 {
				maps.DeleteFunc(k.defaults, func(o hop, _ bool) bool {
					return o.to == h.to && o.metric == h.metric && o.table == h.table
				})
			}
			k.defaults[h] = true
			continue
		}
		delete(k.defaults, h)
		if l := k.links[h.dev]; l.running && !k.leads(h) {
			e = k.lost(h.dev)
		}
	}
	return e, news
}

// leads says that another default route of the family goes through the
// interface of h.
func (k *kernel) leads(h hop) bool {
	for o := range k.defaults {
		if o.dev == h.dev && o.to.Addr().Is4() == h.to.Addr().Is4() {
			return true
		}
	}
	return false
}
