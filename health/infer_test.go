package health

import (
	"strings"
	"testing"
)

// what an upstream showed last.
var (
	passes  = &Fault{}
	refused = &Fault{Kind: Network, Reason: "connection refused"}
	noDNS   = &Fault{Kind: Network, Reason: "no name server answers", Sign: DeadDNS}
	foreign = &Fault{Kind: Identity, Reason: "certificate is for portal.hotel.example", Sign: Imposture}
	private = &Fault{Kind: Network, Reason: "nobody at 10.0.0.1", Sign: Imposture}
	banner  = &Fault{Kind: Session, Reason: "a foreign greeting", Sign: Imposture}
	http    = &Fault{Kind: Identity, Reason: "HTTP/1.1 302 Found", Sign: Web}
	expired = &Fault{Kind: Identity, Reason: "certificate expired", Sign: WrongClock}
	weakTLS = &Fault{Kind: Identity, Reason: "no common version of TLS"}
	login   = &Fault{Kind: Account, Reason: "535"}
	greets  = &Fault{Kind: Session, Reason: "421"}
)

func TestInfer(t *testing.T) {
	// at is a proven upstream on some hosts, from which a route leads.
	at := func(hosts string, latest *Fault) witness {
		return witness{hosts: strings.Fields(hosts), routed: true, latest: latest}
	}
	local := func(latest *Fault) witness {
		return witness{hosts: []string{"localhost"}, routed: true, local: true, latest: latest}
	}
	plain := func(hosts string, latest *Fault) witness {
		w := at(hosts, latest)
		w.unproven = true
		return w
	}
	away := func(latest *Fault) witness { return witness{hosts: []string{"away"}, latest: latest} }
	for _, c := range []struct {
		name string
		see  []witness
		want string
	}{
		{"nothing to reach", nil, Online},
		{"no route to any", []witness{away(nil), away(refused)}, Offline},
		{"a route to one, not asked yet", []witness{away(refused), at("a", nil)}, Online},
		{"a route to this machine only", []witness{away(nil), local(passes)}, Online},

		{"all answer", []witness{at("a", passes), at("b", passes)}, Online},
		{"one answers", []witness{at("a", refused), at("b", passes)}, Online},
		{"one refuses the login, so it was reached", []witness{at("a", refused), at("b", login)}, Online},
		{"one is too busy, so it was reached", []witness{at("a", refused), at("b", greets)}, Online},
		{"one answers, where others look like a portal", []witness{at("a", http), at("b", foreign), at("c", passes)}, Online},
		{"one has not been asked yet", []witness{at("a", refused), at("b", nil)}, Online},
		{"one has not been asked yet, two look like a portal", []witness{at("a", foreign), at("b", foreign), at("c", nil)}, Online},
		{"one that has no route is no witness", []witness{at("a", refused), away(refused)}, Online},
		{"nor need it be waited for", []witness{at("a", refused), at("b", refused), away(nil)}, Unreachable},

		{"a single one is down", []witness{at("a", refused)}, Online},
		{"a single one has a wrong name", []witness{at("a", foreign)}, Online},
		{"a single one is expired", []witness{at("a", expired)}, Online},
		{"a single one is a web server", []witness{at("a", http)}, Portal},
		{"a single one, and no name server", []witness{at("a", noDNS)}, Unreachable},
		{"the same host twice is down", []witness{at("a", refused), at("a", refused)}, Online},
		{"the same host, written otherwise", []witness{at("a.example", refused), at("A.Example.", refused)}, Online},
		{"one host in common", []witness{at("a b", foreign), at("b c", foreign)}, Online},
		{"one host in common, but a third", []witness{at("a b", foreign), at("b c", foreign), at("c d", foreign)}, Portal},
		{"the same host is a web server", []witness{at("a", refused), at("a", http)}, Portal},
		{"hosts that are not known", []witness{at("", refused), at("", refused)}, Online},
		{"one whose hosts are not known", []witness{at("a", refused), at("", refused)}, Online},

		{"nobody answers", []witness{at("a", refused), at("b", refused)}, Unreachable},
		{"nobody answers, in part for the names", []witness{at("a", refused), at("b", noDNS)}, Unreachable},
		{"no names at all", []witness{at("a", noDNS), at("b", noDNS)}, Unreachable},
		{"nobody answers, and this machine does", []witness{at("a", refused), at("b", refused), local(passes)}, Unreachable},
		{"this machine is no second witness", []witness{at("a", refused), local(refused)}, Online},
		{"this machine is no witness", []witness{local(refused), local(refused)}, Online},

		{"somebody else answers everywhere", []witness{at("a", foreign), at("b", foreign)}, Portal},
		{"in the greeting", []witness{at("a", banner), at("b", foreign)}, Portal},
		{"or the names lead astray", []witness{at("a", private), at("b", private)}, Portal},
		{"at two of three", []witness{at("a", foreign), at("b", foreign), at("c", refused)}, Portal},
		{"at two of three names of one host", []witness{at("a", foreign), at("a", foreign), at("c", refused)}, Unreachable},
		{"at one, a web server", []witness{at("a", http), at("b", refused)}, Portal},
		// One stranger and one that is silent: no portal lets the others time
		// out, and nobody is reached all the same.
		{"at one of two", []witness{at("a", foreign), at("b", refused)}, Unreachable},
		{"at one, and no names for the other", []witness{at("a", foreign), at("b", noDNS)}, Unreachable},
		{"nobody gets as far as a proof", []witness{at("a", weakTLS), at("b", refused)}, Unreachable},

		{"all are of another time", []witness{at("a", expired), at("b", expired)}, Clock},
		{"the same host is, twice", []witness{at("a", expired), at("a", expired)}, Online},
		{"two are, and one is down", []witness{at("a", expired), at("b", expired), at("c", refused)}, Clock},
		// Only the right server has the key of an expired certificate: the
		// network leads there.
		{"one is expired, the other down", []witness{at("a", expired), at("b", refused)}, Online},
		{"one is expired, the other a stranger", []witness{at("a", expired), at("b", foreign)}, Online},
		{"one is expired, the other a web server", []witness{at("a", expired), at("b", http)}, Online},

		{"who proves nothing ends nothing", []witness{at("a", foreign), at("b", foreign), plain("c", passes)}, Portal},
		{"nor by a refusal", []witness{at("a", foreign), at("b", foreign), plain("c", login)}, Portal},
		{"nor is it waited for", []witness{at("a", foreign), at("b", foreign), plain("c", nil)}, Portal},
		{"but its silence shows something", []witness{at("a", refused), plain("b", refused)}, Unreachable},
		{"and its answer beside one that is down nothing", []witness{at("a", refused), plain("b", passes)}, Online},
		{"who has no better witness takes it", []witness{plain("a", refused), plain("b", passes)}, Online},
		{"if there is one at all", []witness{plain("a", refused), plain("b", refused), plain("c", passes)}, Online},
		{"a better one without a route is none", []witness{plain("a", refused), plain("b", passes), away(nil)}, Online},
		{"without any answer", []witness{plain("a", refused), plain("b", refused)}, Unreachable},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := infer(c.see)
			if got.State != c.want {
				t.Fatalf("%s, want %s", got.State, c.want)
			}
			if calm := got.State == Online; calm != (got.Why == "") || calm != (got.Advice == "") {
				t.Errorf("%q, %q", got.Why, got.Advice)
			}
		})
	}
	if w := infer([]witness{at("a", noDNS)}).Why; !strings.Contains(w, "name") {
		t.Errorf("the names are the trouble, and it says %q", w)
	}
}

// Whatever was inferred, one that shows itself ends it.
func TestOneAnswerEndsIt(t *testing.T) {
	all := []*Fault{nil, passes, refused, noDNS, foreign, private, banner, http, expired, weakTLS, login, greets}
	for _, a := range all {
		for _, b := range all {
			for _, good := range []*Fault{passes, login} {
				ws := []witness{{hosts: []string{"a"}, routed: true, latest: a}, {hosts: []string{"b"}, routed: true, latest: b}, {hosts: []string{"c"}, routed: true, latest: good}}
				if got := infer(ws); got.State != Online {
					t.Errorf("%+v, %+v, and one answers %+v: %s", a, b, good, got.State)
				}
			}
		}
	}
}
