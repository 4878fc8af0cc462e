package netmon

import (
	"maps"

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
					e, news = k.link(u)
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

func newKernel() (*kernel, error) {
	k := &kernel{links: map[int]link{}, routes: dumpRoutes}
	links, err := dumpLinks()
	if err != nil {
		return nil, err
	}
	for _, l := range links {
		k.links[l.index] = l
	}
	return k, k.reload()
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

// link takes RTM_NEWLINK and RTM_DELLINK. One that changes nothing that is seen
// here may mean that the carrier was away too short to be told of: the look sees
// that by the count. A bridge tells of its ports in messages of its own family.
func (k *kernel) link(u netlink.LinkUpdate) (event, bool) {
	if u.Family != unix.AF_UNSPEC || u.Flags&unix.IFF_LOOPBACK != 0 {
		return event{}, false
	}
	index := int(u.Index)
	was := k.links[index]
	is := link{index: index, name: u.Attrs().Name, flags: u.Flags}
	if u.Header.Type == unix.RTM_DELLINK {
		is = link{}
		delete(k.links, index)
	} else {
		k.links[index] = is
	}
	if was.up() && !is.up() {
		maps.DeleteFunc(k.defaults, func(h hop, _ bool) bool { return h.dev == index })
	}
	if was.running() && !is.running() {
		return event{lost: was.name}, true
	}
	return event{}, true
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
		if k.links[h.dev].running() && !k.leads(h) {
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
