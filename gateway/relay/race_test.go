package relay

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"mailroam/gateway/sink"
)

// TestRace: what networks do to some ways does not delay the others by much.
func TestRace(t *testing.T) {
	both := name{addrs: []string{v6, v4}}
	at := func(ports ...string) (all []string) {
		for _, p := range ports {
			all = append(all, v6At+":"+p, v4+":"+p)
		}
		return all
	}
	for _, c := range []struct {
		name   string
		is     name
		ports  []string
		listen []string
		holes  []string
		want   string // endpoint, and where it is
		took   time.Duration
		dials  int
	}{
		{"all is well", both, []string{"587", "465"}, at("587", "465"), nil, "587 ipv6", 0, 1},
		{"IPv6 is a black hole", both, []string{"587", "465"}, at("587", "465"), []string{v6At + ":587", v6At + ":465"}, "587 ipv4", 120 * time.Millisecond, 2},
		{"587 is blocked", name{addrs: []string{v4}}, []string{"587", "465"}, at("465"), at("587"), "465 ipv4", 120 * time.Millisecond, 2},
		{"both", both, []string{"587", "465"}, []string{v4 + ":465"}, append(at("587"), v6At+":465"), "465 ipv4", 360 * time.Millisecond, 4},
		{"refused", both, []string{"587", "465"}, at("465"), nil, "465 ipv6", 0, 3},
		{"the last of many", name{addrs: []string{v6, other6, other4, v4}}, []string{"587"}, []string{v4 + ":587"}, nil, "587 ipv4", 0, 4},
		{"slow lookup", name{addrs: []string{v4}, after: time.Second}, []string{"587"}, at("587"), nil, "587 ipv4", time.Second, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			inInternet(t, Options{Endpoints: inClear(c.ports...)}, func(n *internet) {
				n.setName(host, c.is)
				n.serve(sink.Options{}, c.listen...)
				n.hole(c.holes...)
				d := mail(letter, "b@example.com")
				d.Hurry = true
				res := n.deliver(d)
				n.want(res, "dot 250")
				got := fmt.Sprintf("%s ipv%d", res.Endpoint[len(host)+1:], n.up.roster.here().winner.family)
				if got != c.want || res.Took.Truncate(10*time.Millisecond) != c.took || n.net.Dials() != c.dials {
					t.Errorf("got %s after %v, %d dials; want %s after %v, %d", got, res.Took, n.net.Dials(), c.want, c.took, c.dials)
				}
				if took := res.Took; c.name != "slow lookup" && took >= 400*time.Millisecond {
					t.Errorf("it costs %v", took)
				}
				synctest.Wait()
				if left := n.seats(); left != 1 {
					t.Errorf("%d are left, the losers too", left)
				}
				// The winner goes first from now on, and a probe learns the same.
				n.up.CloseIdle()
				if err := n.up.Probe(n.t.Context()); err != nil || n.net.Dials() != c.dials+1 {
					if c.name != "the last of many" { // the address is not remembered, only the family
						t.Errorf("%d dials by the probe, %v", n.net.Dials()-c.dials, err)
					}
				}
				if e := n.up.Endpoint(); e != res.Endpoint {
					t.Errorf("the endpoint in use is %q", e)
				}
			})
		})
	}
}

// TestAnsweringIsNotRacedAgainst: who goes on step by step is let go on; one
// that took the connection and is silent for a second is not waited for.
func TestAnsweringIsNotRacedAgainst(t *testing.T) {
	for fault, want := range map[string]string{
		"greeting%1=delay 900ms; slow": "587 1 dials",
		"greeting%1=delay 900ms":       "587 1 dials",
		"greeting%1=delay 1100ms":      "465 2 dials",
		"ehlo%1=hang":                  "465 2 dials",
	} {
		inInternet(t, Options{Endpoints: inClear("587", "465")}, func(n *internet) {
			n.setName(host, name{addrs: []string{v4}})
			n.serve(sink.Options{Faults: faults(t, fault)}, v4+":587", v4+":465")
			res := n.deliver(mail(letter, "b@example.com"))
			n.want(res, "dot 250")
			if got := fmt.Sprintf("%s %d dials", res.Endpoint[len(host)+1:], n.net.Dials()); fault != "greeting%1=delay 900ms; slow" && got != want {
				t.Errorf("%s: got %s, want %s", fault, got, want)
			}
		})
	}
}

// TestOneLogin: only the winner is logged in to, also when two get ready at
// the same moment; the other is told no more than QUIT.
func TestOneLogin(t *testing.T) {
	for _, late := range []time.Duration{1500 * time.Millisecond, 2 * time.Second} {
		var told [2]string
		ready := func(me int, after time.Duration) func(*peer) {
			return func(p *peer) {
				time.Sleep(after)
				p.opening("250-mx\r\n250 AUTH PLAIN\r\n")
				if p.hear("AUTH") {
					p.say("235 ok\r\n")
				}
				p.rest()
				told[me] = p.told.String()
			}
		}
		e := Endpoint{Mode: Insecure, Host: "localhost", Port: "25"}
		scripts := []func(*peer){ready(0, late), ready(1, 500*time.Millisecond)} // which starts after a second
		withPeer(t, Options{Endpoints: []Endpoint{e, e}, Username: "ann", Password: password("pw")}, scripts, func(w *world) {
			w.route()
			if err := w.up.Login(w.t.Context()); err != nil {
				t.Error(err)
			}
		})
		winner, loser := told[1], told[0]
		if strings.Contains(loser, "AUTH") {
			winner, loser = loser, winner
		}
		const ehlo, quit = "EHLO client.example\r\n", "QUIT\r\n"
		if !strings.Contains(winner, "AUTH") || !strings.HasSuffix(winner, quit) || loser != "" && loser != ehlo && loser != ehlo+quit {
			t.Errorf("told %q", told)
		}
		if late > 1500*time.Millisecond && !strings.Contains(told[1], "AUTH") {
			t.Error("the slow one won")
		}
	}
}

// TestRemembered: what to do without name servers. Only where who answers has
// to prove it, addresses of yesterday are good enough.
func TestRemembered(t *testing.T) {
	id, wrong := identity(t, host), identity(t, "portal.example")
	const portal, old, fresh = "192.0.2.66", v4, other4
	for _, c := range []struct {
		name string
		mode Mode
		now  name // what the name servers say when it matters
		wait time.Duration
		hole bool // the remembered address is one
		want string
	}{
		{"control: the new address", Implicit, name{addrs: []string{fresh}}, 0, false, "dot 250 0s 192.0.2.2"},
		{"slow", Implicit, name{addrs: []string{fresh}, after: 2 * time.Second}, 0, false, "dot 250 300ms 192.0.2.1"},
		{"not so slow", Implicit, name{addrs: []string{fresh}, after: 200 * time.Millisecond}, 0, false, "dot 250 200ms 192.0.2.2"},
		{"slow, and it has moved", Implicit, name{addrs: []string{fresh}, after: 350 * time.Millisecond}, 0, true, "dot 250 420ms 192.0.2.2"},
		{"dead", Implicit, name{after: time.Hour}, 0, false, "dot 250 300ms 192.0.2.1"},
		{"failing", Implicit, name{err: errServFail}, 0, false, "dot 250 0s 192.0.2.1"},
		{"no such host", Implicit, name{err: errNXDomain}, 0, false, "dot 250 0s 192.0.2.1"},
		{"no address", Implicit, name{}, 0, false, "dot 250 0s 192.0.2.1"},
		{"lying", Implicit, name{addrs: []string{portal}}, 0, false, "dot 250 0s 192.0.2.1"},
		{"lying into a black hole", Implicit, name{addrs: []string{"192.0.2.77"}}, 0, false, "dot 250 120ms 192.0.2.1"},
		{"dead, and it has moved", Implicit, name{after: time.Hour}, 0, true, "dns error 10.3s"},
		{"failing, and it has moved", Implicit, name{err: errServFail}, 0, true, "dns error 10s"},
		{"lying, and it has moved", Implicit, name{addrs: []string{portal}}, 0, true, "tls error 10s"},
		{"a day later", Implicit, name{err: errServFail}, 25 * time.Hour, false, "dns error 0s"},
		{"failing, in the clear", Insecure, name{err: errServFail}, 0, false, "dns error 0s"},
		{"dead, in the clear", Insecure, name{after: time.Hour}, 0, false, "dns error 10s"},
		{"lying into a black hole, in the clear", Insecure, name{addrs: []string{"192.0.2.77"}}, 0, false, "connect error 10s"},
	} {
		t.Run(c.name, func(t *testing.T) {
			inInternet(t, Options{Endpoints: []Endpoint{{Mode: c.mode, Host: host, Port: "465", Roots: id.Roots}}}, func(n *internet) {
				so := func(config *tls.Config) sink.Options { return sink.Options{TLS: config, Implicit: c.mode == Implicit} }
				n.serve(so(id.Server), old+":465", fresh+":465")
				n.serve(so(wrong.Server), portal+":465")
				n.hole("192.0.2.77:465")
				n.setName(host, name{addrs: []string{old}})
				d := mail(letter, "b@example.com")
				d.Hurry = true
				n.want(n.deliver(d), "dot 250")
				n.up.CloseIdle()
				n.setName(host, c.now)
				if c.hole {
					n.hole(old + ":465")
				}
				time.Sleep(c.wait)
				n.up.Roam("another")
				res := n.deliver(d)
				got := fmt.Sprintf("%s %v", brief(res.Rcpts[0]), res.Took.Truncate(10*time.Millisecond))
				if res.Rcpts[0].Accepted() {
					got += " " + n.up.idle.idle[0].wire.RemoteAddr().(interface{ AddrPort() netip.AddrPort }).AddrPort().Addr().String()
				}
				if got != c.want {
					t.Errorf("got %s, want %s: %v", got, c.want, res.Rcpts[0])
				}
			})
		})
	}
}

// TestMoved: a name that leads into private space is a portal's sign only where
// it led to the Internet before; it may always have been a smart host at home.
func TestMoved(t *testing.T) {
	id, wrong := identity(t, host), identity(t, "portal.example")
	for known, want := range map[string]Sign{v4: Web, "192.168.9.9": Imposture, "": Imposture} {
		inInternet(t, Options{Endpoints: []Endpoint{{Mode: Implicit, Host: host, Port: "465", Roots: id.Roots}}}, func(n *internet) {
			n.serve(sink.Options{TLS: wrong.Server, Implicit: true}, "10.0.0.1:465")
			if known != "" {
				n.serve(sink.Options{TLS: id.Server, Implicit: true}, known+":465")
				n.setName(host, name{addrs: []string{known}})
				if err := n.up.Probe(n.t.Context()); err != nil {
					t.Fatal(err)
				}
				n.hole(known + ":465")
			}
			n.setName(host, name{addrs: []string{"10.0.0.1"}})
			ctx, cancel := context.WithTimeout(n.t.Context(), 5*time.Second)
			defer cancel()
			fault, _ := errors.AsType[*Error](n.up.Probe(ctx))
			if fault == nil || fault.Sign() != want {
				t.Errorf("known at %q: %v has the sign %q, want %q", known, fault, fault.Sign(), want)
			}
		})
	}
}

// TestAddrs: what the configuration says and what worked, asked of nobody.
func TestAddrs(t *testing.T) {
	es := append(inClear("587", "465"), Endpoint{Mode: Insecure, Host: v6, Port: "25"})
	inInternet(t, Options{Endpoints: es}, func(n *internet) {
		n.setName(host, name{addrs: []string{other4, v4, "::ffff:192.0.2.1"}})
		n.serve(sink.Options{}, v4+":465")
		if got := n.up.Addrs(); !slices.Equal(got, addrs(v6)) || n.up.Endpoint() != "" {
			t.Errorf("before: %v, %q", got, n.up.Endpoint())
		}
		if err := n.up.Probe(n.t.Context()); err != nil {
			t.Fatal(err)
		}
		asked := n.lookups()
		if got := n.up.Addrs(); !slices.Equal(got, addrs(v4, other4, v6)) || n.up.Endpoint() != host+":465" {
			t.Errorf("after: %v, %q", got, n.up.Endpoint())
		}
		if asked != 1 || n.lookups() != 1 {
			t.Errorf("%d lookups of one name, then %d", asked, n.lookups())
		}
	})
}

// TestLiteral: an address is not looked up.
func TestLiteral(t *testing.T) {
	inInternet(t, Options{Endpoints: []Endpoint{{Mode: Insecure, Host: v6, Port: "25"}}}, func(n *internet) {
		n.serve(sink.Options{}, v6At+":25")
		n.want(n.deliver(mail(letter, "b@example.com")), "dot 250")
		if n.lookups() != 0 {
			t.Error("it was looked up")
		}
	})
}

// TestWinnerPerNetwork: what works at home says nothing about the café, and is
// known again back at home.
func TestWinnerPerNetwork(t *testing.T) {
	inInternet(t, Options{Endpoints: inClear("587", "465")}, func(n *internet) {
		n.setName(host, name{addrs: []string{v6, v4}})
		n.serve(sink.Options{}, v6At+":587", v4+":587", v4+":465")
		probe := func(where string, holes []string, want string, dials int) {
			t.Helper()
			for _, at := range []string{v6At + ":587", v4 + ":587", v6At + ":465", v4 + ":465"} {
				n.net.Silence(at, slices.Contains(holes, at))
			}
			before := n.net.Dials()
			if err := n.up.Probe(n.t.Context()); err != nil {
				t.Errorf("%s: %v", where, err)
			}
			if got := n.net.Dials() - before; n.up.Endpoint() != host+":"+want || got != dials {
				t.Errorf("%s: %s after %d dials, want %s after %d", where, n.up.Endpoint(), got, want, dials)
			}
		}
		home := []string{v6At + ":587"}
		cafe := []string{v6At + ":587", v4 + ":587", v6At + ":465"}
		n.up.Roam("home")
		probe("home", home, "587", 2)
		probe("home again", home, "587", 1)
		n.up.Roam("café")
		probe("café", cafe, "465", 4)
		probe("café again", cafe, "465", 1)
		n.up.Roam("home")
		probe("back at home", home, "587", 1)
		n.up.Roam("café")
		probe("back in the café", cafe, "465", 1)
	})
}

// TestPast: the memory of networks is bounded, and the latest stay.
func TestPast(t *testing.T) {
	var p past
	p.keep("nothing learnt", winner{})
	for i := range 2 * maxPast {
		p.keep(strconv.Itoa(i), winner{i, ipv4})
		p.keep("home", winner{7, ipv6})
	}
	if len(p) != maxPast || p.recall("home") != (winner{7, ipv6}) || p.recall("127") != (winner{127, ipv4}) || p.recall("0") != (winner{}) {
		t.Errorf("%d networks: %v", len(p), p)
	}
}

// TestTellsMore: which of two faults is reported.
func TestTellsMore(t *testing.T) {
	timeout := &Error{Stage: Connect, Err: os.ErrDeadlineExceeded}
	greeting := &Error{Stage: Greeting, Err: os.ErrDeadlineExceeded}
	dns := &Error{Stage: Resolve, Err: errServFail}
	noRoute := &Error{Stage: Connect, Err: os.NewSyscallError("connect", syscall.ENETUNREACH)}
	forged := &Error{Stage: TLS, Err: fmt.Errorf("%w: %w", errHandshake, x509.HostnameError{})}
	stripped := &Error{Stage: StartTLS, Err: errNoStartTLS}
	refused := &Error{Stage: Hello, Reply: Reply{Code: 554}, proven: true}
	hungUp := &Error{Stage: TLS, Err: fmt.Errorf("%w: %w", errHandshake, io.EOF)}
	for _, c := range []struct {
		name       string
		more, less *Error
	}{
		{"further", greeting, timeout},
		{"TCP, not DNS", timeout, dns},
		{"silence, not that there is no IPv6", timeout, noRoute},
		{"no route, not DNS", noRoute, dns},
		{"forged, not a black hole", forged, timeout},
		{"forged, not a silent port", forged, greeting},
		{"stripped, not forged", stripped, forged},
		{"the upstream's own word", refused, stripped},
		{"a lost handshake proves nothing", greeting, hungUp},
	} {
		if !c.more.tellsMore(c.less) || c.less.tellsMore(c.more) {
			t.Errorf("%s: %v, %v", c.name, c.more, c.less)
		}
	}
}

// TestImpostureIsReported: a wrong certificate at one port is not hidden by a
// black hole at the other, whoever ends first.
func TestImpostureIsReported(t *testing.T) {
	id, wrong := identity(t, host), identity(t, "portal.example")
	for _, ports := range [][]string{{"465", "587"}, {"587", "465"}} {
		es := inClear(ports...)
		for i := range es {
			es[i].Mode, es[i].Roots = Implicit, id.Roots
		}
		inInternet(t, Options{Endpoints: es}, func(n *internet) {
			n.setName(host, name{addrs: []string{v4}})
			n.serve(sink.Options{TLS: wrong.Server, Implicit: true}, v4+":465")
			n.hole(v4 + ":587")
			ctx, cancel := context.WithTimeout(n.t.Context(), 5*time.Second)
			defer cancel()
			err := n.up.Probe(ctx)
			fault, ok := errors.AsType[*Error](err)
			if !ok || fault.Stage != TLS || fault.Endpoint != host+":465" || fault.Addr != netip.MustParseAddrPort(v4+":465") {
				t.Fatalf("got %#v", err)
			}
			if _, s := classify(fault.Stage, fault.Reply, fault.Err, ""); s != ScopeIdentity {
				t.Errorf("got %s: %v", s, err)
			}
		})
	}
}

// TestNoEndpoint: nothing is configured, nothing hangs.
func TestNoEndpoint(t *testing.T) {
	inInternet(t, Options{}, func(n *internet) {
		if err := n.up.Probe(n.t.Context()); !errors.Is(err, errNoEndpoint) {
			t.Errorf("got %v", err)
		}
	})
}

// TestRaceLeavesNothing: whatever the race was cut by, all that ran in it ends,
// which the bubble sees to. A lookup that heeds no context delays nobody.
func TestRaceLeavesNothing(t *testing.T) {
	for cut, is := range map[string]name{
		"lookup": {after: time.Hour}, "deaf lookup": {after: time.Hour, deaf: true}, "connect": {addrs: []string{v6, v4, other4}},
	} {
		inInternet(t, Options{Endpoints: inClear("587", "465")}, func(n *internet) {
			n.setName(host, is)
			for _, p := range []string{":587", ":465"} {
				n.hole(v6At+p, v4+p, other4+p)
			}
			giveUp := make(chan struct{})
			time.AfterFunc(time.Second, func() { close(giveUp) })
			d := mail(letter, "b@example.com")
			d.GiveUp = giveUp
			res := n.deliver(d)
			if !errors.Is(res.Rcpts[0].Err, ErrGivenUp) || res.Took != time.Second || (res.Rcpts[0].Stage == Connect) != (cut == "connect") {
				t.Errorf("%s: %v after %v", cut, res.Rcpts[0], res.Took)
			}
			synctest.Wait()
			if left := n.seats(); left != 0 {
				t.Errorf("%s: %d are left on the roster", cut, left)
			}
			time.Sleep(is.after)
		})
	}
}

// TestRememberedAndConfirmed: a fault at a remembered address counts when the
// lookup, come late, gives that address too.
func TestRememberedAndConfirmed(t *testing.T) {
	for _, c := range []struct {
		is   name
		want Stage
	}{
		{name{addrs: []string{v4}}, Connect},
		{name{addrs: []string{v4}, after: 500 * time.Millisecond}, Connect},
		{name{err: errServFail, after: 500 * time.Millisecond}, Resolve},
	} {
		e := inClear("25")
		e[0].Mode = Implicit
		inInternet(t, Options{Endpoints: e}, func(n *internet) {
			n.setName(host, c.is)
			n.up.memory.worked(e[0], netip.MustParseAddr(v4), nil, time.Now())
			r := n.deliver(mail(letter, "b@example.com")).Rcpts[0]
			if r.Stage != c.want || errors.Is(r.Err, errNoEndpoint) {
				t.Errorf("%+v: got %v, want a fault at %v", c.is, r, c.want)
			}
		})
	}
}
