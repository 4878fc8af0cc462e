package gateway

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"syscall"
	"time"

	"mailroam/gateway/relay"
	"mailroam/health"
	"mailroam/health/netmon"
	"mailroam/queue"
)

// view is what is thought of the network.
type view struct {
	network   ProbeNetwork
	sentences []string
	shut      []string // ports that it blocks
}

// blocked says that the network is why an endpoint does not work.
func (v view) blocked(w way) bool { return !w.local() && slices.Contains(v.shut, w.url.Port) }

// view infers as health does while the gateway runs, from more: it has seen
// every address. The network is blamed only for what cannot be the upstreams'
// own fault, and what is on this machine shows nothing of it.
func (e evidence) view(now time.Time) view {
	v := view{network: ProbeNetwork{State: health.Online, Manager: string(e.manager), Interfaces: interfaces(e.network)}}
	seen := e.witnesses()
	if len(seen) == 0 {
		return v
	}
	say := func(state, why, advice string) view {
		v.network.State, v.network.Why, v.network.Advice = state, why, advice
		v.sentences = append(v.sentences, sentence(why), sentence(advice))
		return v
	}
	if !slices.ContainsFunc(seen, witness.passed) {
		showing := func(s relay.Sign) []witness {
			return slices.DeleteFunc(slices.Clone(seen), func(w witness) bool { return !w.shows(s) })
		}
		switch {
		case !e.network.Leads() && !connected(seen):
			return say(health.Offline, "there is no network: no interface but loopback is up and has an address", "join one")
		case all(seen, noRoute), !leadsOut(e.network) && all(seen, func(x visit) bool { return noRoute(x) || x.sign() == relay.DeadDNS }):
			return say(health.Offline, "there is no network that leads to an upstream: no route does", "join another one")
		case e.manager == netmon.ConnPortal:
			return say(health.Portal, "this is a captive portal, says NetworkManager", "open a browser and log in to this network")
		case apart(showing(relay.WrongClock)):
			return say(health.Clock, fmt.Sprintf("the certificates are all of another time: is the clock of this machine right? It says %s", moment(now)), "set it if it is not")
		case all(seen, func(x visit) bool { return x.sign() == relay.DeadDNS }):
			return say(health.Unreachable, "DNS does not answer: no name can be looked up", "check the name servers of this network (/etc/resolv.conf has them), or try another one")
		case len(showing(relay.Web)) > 0, apart(showing(relay.Imposture)):
			why := "this looks like a captive portal: somebody else answers in the upstreams' place"
			if slices.ContainsFunc(seen, func(w witness) bool { return slices.ContainsFunc(w.visits(), visit.stripped) }) {
				why += ", and STARTTLS is gone"
			}
			return say(health.Portal, why, "open a browser and log in to this network; if there is nothing to log in to, somebody intercepts mail here")
		}
	}
	v.ports(seen)
	v.families(seen)
	if !slices.ContainsFunc(seen, witness.passed) && apart(seen) && !connected(seen) {
		beyond := ""
		if e.homely() {
			beyond = " beyond this machine"
		}
		return say(health.Unreachable, "no upstream"+beyond+" can be reached, on different hosts: it is the network, not they", "wait, or try another network")
	}
	v.network.Why = strings.Join(v.sentences, " ")
	if len(v.shut) > 0 && !slices.ContainsFunc(seen, witness.passed) {
		v.network.Advice = "give the upstream another port in urls, if its provider has one (465, 587, 2525, 443), or try another network"
		v.sentences = append(v.sentences, sentence(v.network.Advice))
	}
	return v
}

// homely says that an endpoint on this machine works.
func (e evidence) homely() bool {
	return slices.ContainsFunc(e.tried, func(t tried) bool {
		return slices.ContainsFunc(t.ways, func(w way) bool { return w.local() && w.works() })
	})
}

// witness is what an upstream shows of the network.
type witness struct {
	tried
	unproven bool // whoever answers is believed
}

// witnesses are the upstreams with endpoints beyond this machine, without the
// others. One that proves nothing and works is none, if there are better ones:
// anybody may have answered in its place.
func (e evidence) witnesses() (seen []witness) {
	for _, t := range e.tried {
		t.ways = slices.DeleteFunc(slices.Clone(t.ways), way.local)
		if len(t.ways) > 0 {
			seen = append(seen, witness{t, !slices.ContainsFunc(t.ways, func(w way) bool { return !w.url.insecure() })})
		}
	}
	if slices.ContainsFunc(seen, func(w witness) bool { return !w.unproven }) {
		seen = slices.DeleteFunc(seen, func(w witness) bool { return w.unproven && w.passed() })
	}
	return seen
}

func (w witness) visits() (all []visit) {
	for _, way := range w.ways {
		all = append(all, way.visits()...)
	}
	return all
}

func (w witness) passed() bool { return slices.ContainsFunc(w.visits(), visit.proven) }

func (w witness) shows(s relay.Sign) bool {
	return slices.ContainsFunc(w.visits(), func(v visit) bool { return v.sign() == s })
}

func (w witness) hosts() (all []string) {
	for _, way := range w.ways {
		all = append(all, strings.TrimSuffix(way.url.Host, "."))
	}
	return all
}

// apart says that some two have no host in common.
func apart(ws []witness) bool {
	for i, a := range ws {
		for _, b := range ws[:i] {
			if !slices.ContainsFunc(a.hosts(), func(h string) bool { return slices.Contains(b.hosts(), h) }) {
				return true
			}
		}
	}
	return false
}

// all says that something holds for all that was visited.
func all(ws []witness, holds func(visit) bool) bool {
	any := false
	for _, w := range ws {
		for _, v := range w.visits() {
			if !holds(v) {
				return false
			}
			any = true
		}
	}
	return any
}

func connected(ws []witness) bool {
	return slices.ContainsFunc(ws, func(w witness) bool { return slices.ContainsFunc(w.visits(), visit.connected) })
}

// leadsOut says that there is a default route.
func leadsOut(s netmon.Snapshot) bool {
	return slices.ContainsFunc(s.Routes, func(r netmon.Route) bool { return r.To.Bits() == 0 })
}

func noRoute(v visit) bool { return v.fault != nil && errors.Is(v.fault.Err, syscall.ENETUNREACH) }

// port is what was seen of one port, beyond this machine.
type port struct {
	answers, works           bool
	silent, refused, foreign []string // hosts of which another port answers, or works
}

// ports says which the network blocks: those that are silent at a host of which
// another port answers, or refused alike at several. A single refusal is the
// host's own. It says too which it intercepts: those where somebody else
// answers at several hosts of which another port works.
func (v *view) ports(seen []witness) {
	var names []string
	ports := map[string]*port{}
	host := func(is func(visit) bool) map[string]bool {
		hosts := map[string]bool{}
		for _, w := range seen {
			for _, way := range w.ways {
				hosts[way.url.Host] = hosts[way.url.Host] || slices.ContainsFunc(way.visits(), is)
			}
		}
		return hosts
	}
	open, good := host(visit.connected), host(visit.works)
	for _, w := range seen {
		for _, way := range w.ways {
			p := ports[way.url.Port]
			if p == nil {
				p = &port{}
				ports[way.url.Port] = p
				names = append(names, way.url.Port)
			}
			p.see(way, open[way.url.Host], good[way.url.Host])
		}
	}
	var works, shut, foreign []string
	certain := true
	for _, name := range names {
		switch p := ports[name]; {
		case p.works:
			works = append(works, name)
		case !p.answers && (len(p.silent) > 0 || len(p.refused) > 1):
			shut = append(shut, name)
			certain = certain && len(p.silent)+len(p.refused) > 1
		case len(p.foreign) > 1:
			foreign = append(foreign, name)
		}
	}
	v.shut = shut
	also := ""
	if len(works) > 0 {
		also = "; " + and(works) + " " + verb(works, "works", "work")
	}
	if len(shut) > 0 {
		blocks := "blocks"
		if !certain {
			blocks = "seems to block" // it may be the host that is not open there
		}
		v.sentences = append(v.sentences, fmt.Sprintf("This network %s %s%s.", blocks, portList(shut), also))
	}
	if len(foreign) > 0 {
		v.sentences = append(v.sentences, fmt.Sprintf("This network intercepts %s: somebody else answers there%s.", portList(foreign), also))
	}
}

func (p *port) see(w way, open, good bool) {
	visits := w.visits()
	none := func(is func(visit) bool) bool { return !slices.ContainsFunc(visits, is) }
	note := func(to *[]string) {
		if !slices.Contains(*to, w.url.Host) {
			*to = append(*to, w.url.Host)
		}
	}
	connected := !none(visit.connected)
	p.works = p.works || w.works()
	p.answers = p.answers || connected
	switch {
	case w.works() || len(visits) == 0:
	case connected && good && none(func(v visit) bool { s := v.sign(); return s != relay.Imposture && s != relay.Web }):
		note(&p.foreign)
	case connected || !open:
	case none(func(v visit) bool { return v.fault == nil || !isTimeout(v.fault.Err) }):
		note(&p.silent)
	case none(func(v visit) bool { return v.fault == nil || v.fault.Stage != relay.Connect || isTimeout(v.fault.Err) }):
		note(&p.refused)
	}
}

// families says of IPv4 and IPv6 that one does not work where the other does.
func (v *view) families(seen []witness) {
	for _, f := range []struct {
		name, other string
		is          func(visit) bool
	}{
		{"IPv6", "IPv4", func(x visit) bool { return x.ip().Is6() }},
		{"IPv4", "IPv6", func(x visit) bool { return x.ip().Is4() }},
	} {
		var hosts []string
		ok := false
		for _, w := range seen {
			for _, way := range w.ways {
				failed, otherwise := false, false
				for _, x := range way.visits() {
					switch mine := f.is(x); {
					case mine && x.connected():
						ok = true
					case mine:
						failed = true
					case !mine && x.works():
						otherwise = true
					}
				}
				if failed && otherwise && !slices.Contains(hosts, way.url.Host) {
					hosts = append(hosts, way.url.Host)
				}
			}
		}
		switch {
		case ok || len(hosts) == 0:
		case len(hosts) == 1:
			v.sentences = append(v.sentences, fmt.Sprintf("%s does not reach %s; %s does.", f.name, queue.Printable(hosts[0], maxProbeText), f.other))
		default:
			v.sentences = append(v.sentences, fmt.Sprintf("%s does not work here; %s does.", f.name, f.other))
		}
	}
}

func portList(ports []string) string { return verb(ports, "port ", "ports ") + and(ports) }

func verb(of []string, one, many string) string {
	if len(of) == 1 {
		return one
	}
	return many
}

// sentence begins with a capital and ends with a full stop.
func sentence(s string) string {
	return strings.ToUpper(s[:1]) + s[1:] + "."
}
