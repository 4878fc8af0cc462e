package netmon

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"
)

// Delta is a change of the network and what it amounts to.
type Delta struct {
	Old, New Snapshot
	// Major: what was known about who can be reached is worth nothing now.
	Major   bool
	Offline bool          // New leads nowhere: no interface but loopback
	Slept   time.Duration // the machine was suspended for so long
	Why     []string      // for people, the weightiest first; empty if nothing changed
}

// aNap is how long the machine may sleep without a change of the network being
// taken for granted: connections outlive that, and so do leases.
const aNap = 30 * time.Second

// NewDelta compares two snapshots.
func NewDelta(before, after Snapshot, slept time.Duration) Delta {
	c := comparison{before: before, after: after}
	c.presence()
	c.sleep(slept)
	c.defaultRoutes("default route", false)
	c.defaultRoutes("IPv6 default route", true)
	c.interfaces()
	c.family("IPv4", false)
	c.family("IPv6", true)
	c.resolver()
	c.routes()
	return Delta{
		Old: before, New: after,
		Major: len(c.major) > 0, Offline: len(after.Interfaces) == 0,
		Slept: slept, Why: append(c.major, c.minor...),
	}
}

// comparison collects what is different, in words.
type comparison struct {
	before, after Snapshot
	major, minor  []string
}

// say notes a difference.
func (c *comparison) say(major bool, format string, args ...any) {
	to := &c.minor
	if major {
		to = &c.major
	}
	*to = append(*to, fmt.Sprintf(format, args...))
}

func (c *comparison) presence() {
	switch was, is := c.before.Leads(), c.after.Leads(); {
	case is && !was:
		c.say(true, "there is a network")
	case was && !is:
		c.say(true, "there is no network any more")
	}
}

func (c *comparison) sleep(d time.Duration) {
	if d > 0 {
		c.say(d >= aNap, "slept for %s", span(d))
	}
}

// span is a duration as one would say it.
func span(d time.Duration) string {
	switch {
	case d < 2*time.Minute:
		return fmt.Sprintf("%.0f s", d.Seconds())
	case d < 2*time.Hour:
		return fmt.Sprintf("%.0f min", d.Minutes())
	case d < 48*time.Hour:
		return fmt.Sprintf("%.0f h", d.Hours())
	}
	return fmt.Sprintf("%.0f days", d.Hours()/24)
}

// way is where a route leads, whatever its metric.
type way struct {
	via netip.Addr
	dev string
}

func (w way) String() string {
	if !w.via.IsValid() {
		return "on " + w.dev
	}
	return fmt.Sprintf("via %s on %s", w.via, w.dev)
}

// ways are those of the default routes, the one that is used first, each once.
func (s Snapshot) ways(v6 bool) (all []way) {
	for _, r := range s.defaults(v6) {
		if w := (way{r.Via, r.Dev}); !slices.Contains(all, w) {
			all = append(all, w)
		}
	}
	return all
}

func (c *comparison) defaultRoutes(name string, v6 bool) {
	was, is := c.before.ways(v6), c.after.ways(v6)
	switch {
	case len(was) == 0 && len(is) == 0:
		return
	case len(is) == 0:
		c.say(true, "there is no %s any more", name)
		return
	case len(was) == 0:
		c.say(true, "there is a %s %s", name, is[0])
	case was[0] != is[0]:
		c.say(true, "the %s is %s, no longer %s", name, is[0], was[0])
	}
	// The others matter too: they are the next to be used, and some rule may
	// send mail through them already.
	for _, w := range is[1:] {
		if !slices.Contains(was, w) {
			c.say(true, "there is another %s %s", name, w)
		}
	}
	if len(was) > 0 {
		for _, w := range was[1:] {
			if !slices.Contains(is, w) {
				c.say(true, "the other %s %s is gone", name, w)
			}
		}
	}
}

func (c *comparison) interfaces() {
	for _, is := range c.after.Interfaces {
		if _, ok := c.before.find(is.Name); !ok {
			c.say(c.matters(is.Name), "%s is up with the address %s", is.Name, list(is.Addrs))
		}
	}
	for _, was := range c.before.Interfaces {
		is, ok := c.after.find(was.Name)
		if !ok {
			c.say(c.matters(was.Name), "%s is gone", was.Name)
			continue
		}
		c.addresses(was, is)
		if is.Lives > was.Lives {
			c.say(c.matters(is.Name), "%s was cut off for a moment", is.Name)
		}
	}
}

// matters says that mail may use the interface: a default route leads through
// it, before or after, or there is none at all and the neighbours are all there
// is.
func (c *comparison) matters(name string) bool {
	there := func(s Snapshot) bool { return len(s.ways(false))+len(s.ways(true)) > 0 }
	return c.before.carries(name) || c.after.carries(name) || !there(c.before) && !there(c.after)
}

// family tells of a family that came or went with an address elsewhere than on
// the interface of its default route; all other ways are told by now.
func (c *comparison) family(name string, v6 bool) {
	was, is := c.before.works(v6), c.after.works(v6)
	if was == is || len(c.major) > 0 {
		return
	}
	if is {
		c.say(true, "%s is available now", name)
	} else {
		c.say(true, "%s is not available any more", name)
	}
}

// works says that packets of a family can leave, and have an address to leave
// from.
func (s Snapshot) works(v6 bool) bool {
	return len(s.ways(v6)) > 0 && slices.ContainsFunc(s.Interfaces, func(i Interface) bool {
		return slices.ContainsFunc(i.Addrs, func(p netip.Prefix) bool { return p.Addr().Is6() == v6 })
	})
}

func (c *comparison) addresses(was, is Interface) {
	gone, came := without(was.Addrs, is.Addrs), without(is.Addrs, was.Addrs)
	if len(gone) == 0 && len(came) == 0 {
		return
	}
	quiet := true
	for _, p := range append(slices.Clone(gone), came...) {
		quiet = quiet && temporary(p, was, is)
	}
	major := c.matters(is.Name) && !quiet
	switch {
	case len(gone) == 0:
		c.say(major, "%s has the address %s now", is.Name, list(came))
	case len(came) == 0:
		c.say(major, "%s has lost the address %s", is.Name, list(gone))
	default:
		c.say(major, "%s has the address %s now, no longer %s", is.Name, list(came), list(gone))
	}
}

// temporary says that p came or went as temporary addresses do: another one of
// its prefix was there before and stays (RFC 8981 section 3.5).
func temporary(p netip.Prefix, was, is Interface) bool {
	return p.Addr().Is6() && slices.ContainsFunc(was.Addrs, func(o netip.Prefix) bool {
		return o.Masked() == p.Masked() && slices.Contains(is.Addrs, o)
	})
}

func (c *comparison) resolver() {
	if c.before.Resolver == c.after.Resolver {
		return
	}
	was, is := servers(c.before), servers(c.after)
	switch {
	case was == is:
		c.say(true, "the search list or the options of the resolver changed")
	case is == "":
		c.say(true, "there is no name server any more")
	case was == "":
		c.say(true, "the name server is %s", is)
	default:
		c.say(true, "the name server is %s, no longer %s", is, was)
	}
}

func servers(s Snapshot) string {
	var all []string
	for _, a := range s.Nameservers() {
		all = append(all, a.Addr().String())
	}
	return and(all)
}

// atMost is how many lesser routes are named; a busy machine may have thousands.
const atMost = 3

// routes tells of what is not told by the interfaces and default routes that
// changed. It is never major by itself.
func (c *comparison) routes() {
	var all []string
	was, is := anyMetric(c.before.Routes), anyMetric(c.after.Routes)
	for _, r := range without(c.after.Routes, c.before.Routes) {
		switch {
		case was[unmeasured(r)]:
			all = append(all, fmt.Sprintf("the route to %s %s has the metric %d now", r.To, way{r.Via, r.Dev}, r.Metric))
		case !c.told(r):
			all = append(all, fmt.Sprintf("there is a route to %s %s", r.To, way{r.Via, r.Dev}))
		}
	}
	for _, r := range without(c.before.Routes, c.after.Routes) {
		if !is[unmeasured(r)] && !c.told(r) {
			all = append(all, fmt.Sprintf("the route to %s %s is gone", r.To, way{r.Via, r.Dev}))
		}
	}
	for _, text := range all[:min(len(all), atMost)] {
		c.say(false, "%s", text)
	}
	if more := len(all) - atMost; more > 0 {
		c.say(false, "%d more routes changed", more)
	}
}

// unmeasured is a route whatever its metric.
func unmeasured(r Route) Route {
	r.Metric = 0
	return r
}

func anyMetric(routes []Route) map[Route]bool {
	all := make(map[Route]bool, len(routes))
	for _, r := range routes {
		all[unmeasured(r)] = true
	}
	return all
}

// told says that a route came or went with something that is told already: a
// default route, or the addresses of its interface.
func (c *comparison) told(r Route) bool {
	if isDefault(r.To) {
		w := way{r.Via, r.Dev}
		v6 := r.To.Addr().Is6()
		return slices.Contains(c.before.ways(v6), w) != slices.Contains(c.after.ways(v6), w)
	}
	was, before := c.before.find(r.Dev)
	is, after := c.after.find(r.Dev)
	return before != after || !r.Via.IsValid() && !slices.Equal(was.Addrs, is.Addrs)
}

// without gives what is in a and not in b.
func without[T comparable](a, b []T) (all []T) {
	in := make(map[T]bool, len(b))
	for _, v := range b {
		in[v] = true
	}
	for _, v := range a {
		if !in[v] {
			all = append(all, v)
		}
	}
	return all
}

func list(addrs []netip.Prefix) string {
	var all []string
	for _, p := range addrs {
		all = append(all, p.String())
	}
	return and(all)
}

// and joins words as people do.
func and(words []string) string {
	if n := len(words); n > 1 {
		return strings.Join(words[:n-1], ", ") + " and " + words[n-1]
	}
	return strings.Join(words, "")
}
