package gateway

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"mailroam/gateway/relay"
	"mailroam/health"
	"mailroam/health/netmon"
	"mailroam/queue"
)

// evidence is all that a probe found. What it means is decided by report, which
// is pure.
type evidence struct {
	tried   []tried // in the config's order
	login   bool    // logins were asked for
	network netmon.Snapshot
	manager netmon.Connectivity
}

// tried is an upstream with what was found there.
type tried struct {
	name    string
	account bool // it needs a login
	ways    []way
}

// way is an endpoint with what was found there.
type way struct {
	url      UpstreamURL
	rules    relay.Rules
	findings []relay.Finding
}

func newTried(u UpstreamConfig) tried {
	t := tried{name: u.Name, account: u.Auth != "none" && u.Username != ""}
	for _, url := range u.URLs {
		t.ways = append(t.ways, way{url: url, rules: u.rules()})
	}
	return t
}

// note keeps a finding, with those of the same address.
func (t *tried) note(f relay.Finding) {
	w := &t.ways[f.Number]
	at := len(w.findings)
	for i, o := range w.findings {
		if o.Address == f.Address {
			at = i + 1
		}
	}
	w.findings = slices.Insert(w.findings, at, f)
}

// visit is how far one address went: its last finding.
type visit struct {
	relay.Finding
	fault *relay.Error // nil: it works
}

// visits lists the addresses of an endpoint. A lookup that failed is one
// without an address. Those that no route leads to are left out where there are
// others: a machine without IPv6 misses nothing.
func (w way) visits() (all []visit) {
	for i, f := range w.findings {
		last := i+1 == len(w.findings) || w.findings[i+1].Address != f.Address
		if !last || f.Stage == relay.Resolve && f.Err == nil {
			continue
		}
		fault, _ := errors.AsType[*relay.Error](f.Err)
		all = append(all, visit{f, fault})
	}
	if slices.ContainsFunc(all, func(v visit) bool { return !noRoute(v) }) {
		all = slices.DeleteFunc(all, noRoute)
	}
	return all
}

func (v visit) works() bool { return v.Err == nil }

// connected says that somebody took the connection.
func (v visit) connected() bool { return v.works() || v.fault != nil && v.fault.Stage > relay.Connect }

// proven says that the upstream itself answered: it works, or it speaks of our
// account.
func (v visit) proven() bool { return v.works() || v.fault != nil && v.fault.Stage == relay.Auth }

// stripped says that STARTTLS was hidden or refused.
func (v visit) stripped() bool {
	_, unverified := errors.AsType[*tls.CertificateVerificationError](v.Err)
	return v.sign() != relay.NoSign && v.fault.Stage == relay.StartTLS && !unverified
}

func (v visit) ip() netip.Addr {
	a, _ := netip.ParseAddrPort(v.Address)
	return a.Addr().Unmap()
}

func (v visit) sign() relay.Sign {
	if v.fault == nil {
		return relay.NoSign
	}
	return v.fault.Sign()
}

func (w way) works() bool { return slices.ContainsFunc(w.visits(), visit.works) }

// local says that nothing of it leaves this machine, so that it shows nothing
// of the network.
func (w way) local() bool {
	return w.url.loopback() || slices.ContainsFunc(w.findings, func(f relay.Finding) bool { return visit{Finding: f}.ip().IsLoopback() })
}

// loggedIn is whether the login worked.
func (t tried) loggedIn() bool {
	return slices.ContainsFunc(t.ways, func(w way) bool {
		return slices.ContainsFunc(w.findings, func(f relay.Finding) bool { return f.Stage == relay.Auth && f.Err == nil })
	})
}

// report says what was found and what it means.
func (e evidence) report(now time.Time) ProbeReport {
	view := e.view(now)
	r := ProbeReport{Network: view.network, Upstreams: []ProbeUpstream{}}
	var works, fails []string
	for _, t := range e.tried {
		u := e.upstream(t, view, now)
		r.Upstreams = append(r.Upstreams, u)
		if u.Works {
			works = append(works, u.Name)
		} else {
			fails = append(fails, u.Name)
		}
	}
	r.Works = len(works) > 0
	r.Verdict = view.sentences
	switch {
	case len(works) == 0:
		r.Verdict = append(r.Verdict, "No upstream works.")
	case len(fails) == 0:
		r.Verdict = append(r.Verdict, "Mail can leave by "+and(works)+".")
	case len(fails) == 1:
		r.Verdict = append(r.Verdict, "Mail can leave by "+and(works)+"; "+fails[0]+" does not work.")
	default:
		r.Verdict = append(r.Verdict, "Mail can leave by "+and(works)+"; "+and(fails)+" do not work.")
	}
	return r
}

func (e evidence) upstream(t tried, v view, now time.Time) ProbeUpstream {
	u := ProbeUpstream{Name: t.name, Endpoints: []ProbeEndpoint{}}
	var by []string
	var plights []plight
	for _, w := range t.ways {
		pe := ProbeEndpoint{Endpoint: queue.Printable(w.url.Address(), maxProbeText), Works: w.works(), Steps: []ProbeStep{}}
		for _, f := range w.findings {
			pe.Steps = append(pe.Steps, stepOf(w.url, f, now))
		}
		worst := w.plight(now)
		switch {
		case pe.Works:
			by = append(by, pe.Endpoint)
			pe.Verdict = w.praise(now)
		case v.blocked(w):
			worst = plight{what: "blocked by this network: " + worst.what}
			pe.Verdict = worst.what
		default:
			pe.Verdict = worst.what
		}
		if !pe.Works {
			plights = append(plights, worst)
		}
		u.Endpoints = append(u.Endpoints, pe)
	}
	u.Works = len(by) > 0
	if e.login && t.account && u.Works && !t.loggedIn() {
		u.Works = false
		for _, w := range t.ways {
			if p, ok := w.refusedLogin(now); ok {
				u.Why = p.String()
				return u
			}
		}
		u.Why = "it could not be logged in there"
		return u
	}
	if u.Works {
		u.Why = "works by " + and(by)
		return u
	}
	away := slices.ContainsFunc(t.ways, func(w way) bool { return !w.local() })
	u.Why = sum(t.ways, plights, away && v.network.State != health.Online)
	return u
}

// sum says why an upstream does not work: once, where all endpoints fail alike.
// What to do about it is left out where the network is to blame.
func sum(ways []way, plights []plight, network bool) string {
	var parts []string
	fix := ""
	for i, p := range plights {
		if p.what != plights[0].what {
			fix = "" // there is no one way out
			parts = parts[:0]
			for k, q := range plights {
				part := q.what
				if !strings.HasPrefix(part, ways[k].url.Host+" ") {
					part = ways[k].url.Address() + ": " + part
				}
				parts = append(parts, part)
			}
			break
		}
		if i == 0 {
			parts, fix = append(parts, p.what), p.fix
		}
	}
	why := strings.Join(parts, "; ")
	if fix != "" && !network {
		why += "; " + fix
	}
	return why
}

// plight is what is wrong with an endpoint that does not work: the fault of the
// address that went farthest.
func (w way) plight(now time.Time) plight {
	var farthest visit
	for _, v := range w.visits() {
		if v.Err != nil && (farthest.Err == nil || v.Stage > farthest.Stage) {
			farthest = v
		}
	}
	if farthest.Err == nil {
		return plight{what: "not tried"}
	}
	return explain(w.url, w.rules, farthest.Finding, now)
}

// praise says how an endpoint works, and where it does not.
func (w way) praise(now time.Time) string {
	text := "works"
	for _, f := range w.findings {
		if f.Stage == relay.Auth && f.Err == nil {
			text = "works, " + f.Text
		}
	}
	var not []visit
	visits := w.visits()
	for _, v := range visits {
		if !v.works() {
			not = append(not, v)
		}
	}
	switch {
	case len(not) == 1:
		text += fmt.Sprintf(", but not at %s: %s", not[0].ip(), explain(w.url, w.rules, not[0].Finding, now).what)
	case len(not) > 1:
		text += fmt.Sprintf(", but not at %d of its %d addresses: %s", len(not), len(visits), explain(w.url, w.rules, not[0].Finding, now).what)
	}
	return queue.Printable(text, maxProbeText)
}

// refusedLogin is what came of the login, if that was no success.
func (w way) refusedLogin(now time.Time) (plight, bool) {
	for _, f := range w.findings {
		if f.Stage == relay.Auth && f.Err != nil {
			return explain(w.url, w.rules, f, now), true
		}
	}
	return plight{}, false
}
