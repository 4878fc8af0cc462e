package health

import (
	"context"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"mailroam/health/netmon"
)

// network is one with these routes out of its only interface.
func network(routes ...string) netmon.Snapshot {
	s := netmon.Snapshot{Interfaces: []netmon.Interface{}}
	for _, r := range routes {
		s.Routes = append(s.Routes, netmon.Route{To: netip.MustParsePrefix(r), Dev: "eth0"})
	}
	if len(routes) > 0 {
		s.Interfaces = append(s.Interfaces, netmon.Interface{Name: "eth0", Addrs: []netip.Prefix{netip.MustParsePrefix("10.0.0.2/24")}})
	}
	return s
}

var (
	home    = network("0.0.0.0/0", "10.0.0.0/24")
	islands = network("10.0.0.0/24") // no way out but to the neighbours

	nowhere = netmon.Delta{Major: true, Offline: true, New: network(), Why: []string{"the last address is gone"}}
	another = netmon.Delta{Major: true, New: home, Why: []string{"another default route"}}
	bridge  = netmon.Delta{New: network("0.0.0.0/0", "10.0.0.0/24", "172.17.0.0/16"), Why: []string{"a bridge came up"}}
)

func addrs(list ...string) func() []netip.Addr {
	var as []netip.Addr
	for _, a := range list {
		as = append(as, netip.MustParseAddr(a))
	}
	return func() []netip.Addr { return as }
}

// two are upstreams on different hosts of the internet.
var two = []Target{
	{Hosts: []string{"a.example"}, Addrs: addrs("192.0.2.1")},
	{Hosts: []string{"b.example"}, Addrs: addrs("198.51.100.1", "2001:db8::1")},
}

func (b *bubble) fails(f *Fault) {
	b.a.set(func() { b.a.fault = *f })
	b.b.set(func() { b.b.fault = *f })
}

// outlook checks the state of the network, and that Online says the same.
func (b *bubble) outlook(state string) {
	b.t.Helper()
	if o := b.Outlook(); o.State != state || b.Online() != (state == Online) {
		b.t.Errorf("the network is %+v, want %s", o, state)
	}
}

// lines are the log's lines of an event.
func (b *bubble) lines(event string) (lines []string) {
	for l := range strings.Lines(b.logs.String()) {
		if strings.Contains(l, "msg="+event+" ") {
			lines = append(lines, l)
		}
	}
	return lines
}

func TestRouted(t *testing.T) {
	for _, c := range []struct {
		name  string
		hosts string
		addrs string
		in    netmon.Snapshot
		want  bool
		local bool
	}{
		{"by the default route", "a", "192.0.2.1", home, true, false},
		{"a neighbour needs none", "a", "10.0.0.25", islands, true, false},
		{"who is no neighbour does", "a", "192.0.2.1", islands, false, false},
		{"one of its addresses is a neighbour", "a", "192.0.2.1 10.0.0.25", islands, true, false},
		{"only by a family that it has not", "a", "2001:db8::1", home, false, false},
		{"its name may have another address where IPv4 is not", "a", "192.0.2.1", network("::/0"), true, false},
		{"which an address has not", "192.0.2.1", "192.0.2.1", network("::/0"), false, false},
		{"an IPv4 address written as IPv6", "a", "::ffff:10.0.0.25", islands, true, false},
		{"nothing leads anywhere", "a", "192.0.2.1", network(), false, false},
		{"this machine", "a", "127.0.0.1", network(), true, true},
		{"this machine, in IPv6", "a", "::1", network(), true, true},
		{"this machine and another", "a", "127.0.0.1 192.0.2.1", network(), true, false},
		{"not looked up yet", "a", "", islands, true, false},
		{"not looked up yet, and no network", "a", "", network(), false, false},
		{"localhost, not looked up yet", "localhost", "", network(), true, true},
		{"an address of loopback", "127.1.2.3 ::1", "", network(), true, true},
		{"below localhost", "smtp.Localhost.", "", network(), true, true},
		{"localhost and another", "localhost a", "", network(), false, false},
		{"called so elsewhere", "localhost", "10.0.0.25", islands, true, false},
		{"without hosts", "", "", home, true, false},
	} {
		target := Target{Hosts: strings.Fields(c.hosts), Addrs: addrs(strings.Fields(c.addrs)...)}
		if got, local := routed(target, c.in), isLocal(target); got != c.want || local != c.local {
			t.Errorf("%s: routed %v, local %v; want %v, %v", c.name, got, local, c.want, c.local)
		}
	}
	if !routed(Target{}, home) || routed(Target{}, network()) {
		t.Error("nothing is known of it: any network may lead there")
	}
}

// Three days on a train without a network cost nothing.
func TestOfflineForCertain(t *testing.T) {
	inBubble(t, Options{Targets: two, Network: network()}, func(b *bubble) {
		b.outlook(Offline)
		at := b.Odometer()
		b.Demand([]string{"a", "b"})
		b.wait(3 * day)
		if n := b.a.count() + b.b.count(); n != 0 {
			t.Errorf("%d probes", n)
		}
		if d := b.Odometer() - at; d != 0 {
			t.Errorf("%v online", d)
		}
		for _, s := range b.Status() {
			if s.State != Offline || s.Preferred || !s.NextProbe.IsZero() || !strings.HasPrefix(s.Why, "no route leads there: 1") {
				t.Errorf("shown as %+v", s)
			}
			if time.Since(s.Since) != 3*day {
				t.Errorf("since %v", s.Since)
			}
		}
		if _, ok := b.Start("a", 1); ok || !isClosed(b.Down("a")) {
			t.Error("mail is sent to where no route leads")
		}
		drained(b.Changed())
		b.Network(another)
		b.wait(0)
		b.outlook(Online)
		if b.a.count() != 1 || b.b.count() != 1 {
			t.Errorf("%d and %d probes at once", b.a.count(), b.b.count())
		}
		b.want("a", "up", Ready)
		b.want("b", "up", Ready)
		select {
		case <-b.Changed():
		default:
			t.Error("nobody is told")
		}
		if b.wait(time.Hour); b.Odometer()-at != time.Hour {
			t.Errorf("%v in an hour online", b.Odometer()-at)
		}
	})
}

// What fails as the network goes, before that is known, is forgiven too.
func TestGoingOfflineCostsNothing(t *testing.T) {
	inBubble(t, Options{Targets: two, Network: home}, func(b *bubble) {
		late, _ := b.Start("b", 1)
		b.deliver("a", *refused)
		b.a.cut()
		b.want("a", "down", Unusable)
		gone := b.Down("b")
		b.wait(time.Minute)
		b.Network(nowhere)
		if !isClosed(gone) {
			t.Error("a delivery is set up to where no route leads")
		}
		late.Done(Fault{Kind: Network, Reason: "network is unreachable"})
		b.wait(day)
		b.a.set(func() { b.a.fault, b.a.takes = Fault{}, time.Second })
		b.Network(another)
		b.want("a", "unknown", Ready) // in its place before its probe ends
		b.wait(time.Second)
		b.want("a", "up", Ready)
		b.want("b", "up", Ready)
		if lines := b.lines("network"); len(lines) != 2 || !strings.Contains(lines[0], "state=offline") || !strings.Contains(lines[1], "state=online") {
			t.Errorf("a line for each change: %q", lines)
		}
		for _, l := range b.lines("upstream") {
			if strings.Contains(l, "state=offline") {
				t.Errorf("said of one what is so of all: %s", l)
			}
		}
	})
}

func TestNobodyWatchesTheNetwork(t *testing.T) {
	inBubble(t, Options{Targets: two}, func(b *bubble) {
		b.outlook(Online)
		b.want("a", "up", Ready)
		b.Network(nowhere)
		b.outlook(Offline) // now somebody does
	})
	inBubble(t, Options{Targets: []Target{{}, {Hosts: []string{"localhost"}}}, Network: network()}, func(b *bubble) {
		b.outlook(Online)
		b.want("a", "offline", Unusable)
		b.want("b", "up", Ready)
	})
}

// A smart host on the LAN needs no default route.
func TestNeighbour(t *testing.T) {
	lan := []Target{two[0], {Hosts: []string{"nas"}, Addrs: addrs("10.0.0.25")}}
	inBubble(t, Options{Targets: lan, Network: home}, func(b *bubble) {
		setup := b.Down("b")
		b.Network(netmon.Delta{Major: true, New: islands})
		b.a.forget()
		b.wait(0)
		b.outlook(Online)
		b.want("a", "offline", Unusable)
		b.want("b", "up", Ready)
		if isClosed(setup) {
			t.Error("what is being set up there is broken off")
		}
		b.deliver("b", Fault{})
		b.wait(time.Hour)
		if b.a.count() != 0 {
			t.Error("probes to where no route leads")
		}
		if lines := b.lines("upstream"); len(lines) == 0 || !strings.Contains(lines[len(lines)-1], "state=offline why=\"no route leads there: 192.0.2.1\"") {
			t.Errorf("only one has no route, and nobody says so: %q", lines)
		}
		for range 2 { // routes come and go, and nothing else changes
			b.a.forget()
			b.Network(netmon.Delta{New: home})
			b.wait(0)
			if b.want("a", "up", Ready); b.a.count() != 1 {
				t.Errorf("%d probes when a route comes", b.a.count())
			}
			b.Network(netmon.Delta{New: islands})
			b.want("a", "offline", Unusable)
		}
	})
}

// An address becomes known, and shows that there is no way.
func TestRouteIsJudgedAgain(t *testing.T) {
	var known atomic.Bool
	target := Target{Hosts: []string{"a.example"}, Addrs: func() []netip.Addr {
		if known.Load() {
			return []netip.Addr{netip.MustParseAddr("192.0.2.1")}
		}
		return nil
	}}
	inBubble(t, Options{Targets: []Target{target}, Network: islands}, func(b *bubble) {
		b.want("a", "up", Ready)
		p, _ := b.Start("a", 1)
		known.Store(true)
		p.Done(Fault{Kind: Network, Reason: "network is unreachable"})
		b.want("a", "offline", Unusable)
		b.Network(bridge)
		b.want("a", "up", Ready) // it was not charged with having no route
		known.Store(false)
		b.Network(netmon.Delta{New: islands})
		b.wait(0)
		b.want("a", "up", Ready)
		known.Store(true)
		b.wait(lookAgain)
		b.want("a", "offline", Unusable)
	})
}

// What began in the network before counts only if it was told in words.
func TestOldGeneration(t *testing.T) {
	for kind, want := range map[Kind]bool{Network: false, Identity: false, Session: false, Place: false, Account: true, Quota: true, Policy: true} {
		for _, roams := range []bool{true, false} {
			inBubble(t, Options{Targets: two, Network: home}, func(b *bubble) {
				p, _ := b.Start("a", 1)
				d := another
				d.Major = roams
				b.Network(d)
				b.wait(0)
				p.Done(Fault{Kind: kind, Reason: "it says"})
				if counts := b.Standing("a").Rank != Ready; counts != (want || !roams) {
					t.Errorf("%s, another network %v: counts %v: %+v", kind, roams, counts, b.Status()[0])
				}
			})
		}
	}
}

// Another network forgives what was about the one before.
func TestRoamForgives(t *testing.T) {
	for kind, want := range map[Kind]bool{Network: true, Identity: true, Session: true, Place: true, Account: false, Quota: false, Policy: false} {
		inBubble(t, Options{Targets: two, Network: home}, func(b *bubble) {
			b.a.cut()
			b.deliver("a", Fault{Kind: kind, Reason: "it says"})
			b.Network(bridge)
			b.wait(100 * time.Millisecond)
			if b.Standing("a").Rank == Ready {
				t.Errorf("%s: a bridge forgives", kind)
			}
			b.a.mend()
			good := b.Status()[0].LastGood
			b.Network(another)
			if forgiven := b.Standing("a").Rank == Ready; forgiven != want {
				t.Errorf("%s: forgiven %v", kind, forgiven)
			}
			if o := b.Outlook(); o.Generation != 2 {
				t.Errorf("network %d, want 2", o.Generation)
			}
			if s := b.Status()[0]; s.LastGood.Before(good) || good.IsZero() {
				t.Errorf("last good %v, was %v", s.LastGood, good)
			}
		})
	}
}

// Like a policy in its waits, until the network changes.
func TestPlace(t *testing.T) {
	inBubble(t, Options{Targets: two, Network: home}, func(b *bubble) {
		for _, wait := range []time.Duration{15 * time.Minute, 30 * time.Minute} {
			b.deliver("a", Fault{Kind: Place, Reason: "554 5.7.1 relaying denied"})
			b.wait(wait - time.Second)
			b.want("a", "cooling", Unusable)
			b.wait(time.Second)
			b.want("a", "trial", Ready)
		}
		b.Network(another)
		b.wait(0)
		b.want("a", "up", Ready)
		if s := b.Standing("a"); s.Trial {
			t.Error("forgiven, and still on trial")
		}
	})
}

// A probe that hangs in the old network neither delays the one in the new nor
// speaks for it.
func TestProbeOfTheOldNetwork(t *testing.T) {
	inBubble(t, Options{Targets: two, Network: home}, func(b *bubble) {
		b.a.set(func() { b.a.takes = 4 * time.Second; b.a.fault = *refused }) // and does not look at its context
		b.deliver("a", *refused)
		b.wait(1100 * time.Millisecond)
		if b.state("a") != "down" {
			t.Fatalf("a is %s", b.state("a"))
		}
		b.a.set(func() { b.a.takes = 10 * time.Second; b.a.probes = nil })
		b.Network(another)
		b.wait(0)
		if n := b.a.count(); n != 1 {
			t.Fatalf("%d probes in the new network at once", n)
		}
		b.wait(4 * time.Second) // the old one ends
		if b.want("a", "unknown", Ready); b.a.count() != 1 {
			t.Errorf("%d probes beside each other", b.a.count())
		}
		b.mu.Lock()
		if b.upstreams["a"].probing == nil {
			t.Error("the old probe's end was taken for the new one's")
		}
		b.mu.Unlock()
	})
}

func TestOldProbeIsCancelled(t *testing.T) {
	for what, end := range map[string]func(*bubble){
		"another network": func(b *bubble) { b.Network(another) },
		"no network":      func(b *bubble) { b.Network(nowhere) },
		"another config":  func(b *bubble) { b.Set([]Target{{Name: "b", Probe: b.b.probe}}, Settings{}) },
		"nothing":         func(*bubble) {},
	} {
		inBubble(t, Options{Targets: two, Network: home}, func(b *bubble) {
			ended := make(chan struct{}, 9)
			b.a.set(func() { b.a.silent = true })
			b.Set([]Target{{Name: "a", Probe: func(ctx context.Context) Fault {
				defer func() { ended <- struct{}{} }()
				return b.a.probe(ctx)
			}}}, Settings{Interval: time.Second, Timeout: 10 * time.Second})
			b.wait(5 * time.Second)
			end(b)
			b.wait(0)
			if want := what != "nothing"; (len(ended) == 1) != want {
				t.Errorf("%s: %d probes ended", what, len(ended))
			}
		})
	}
}

// Mail that is being set up goes on: whether its connection is worth anything
// in the new network is not for health to say.
func TestRoamEndsNoSetup(t *testing.T) {
	inBubble(t, Options{Targets: two, Network: home}, func(b *bubble) {
		setup := b.Down("a")
		b.Network(another)
		b.wait(0)
		if isClosed(setup) {
			t.Error("broken off by a change of the network")
		}
		b.Network(nowhere)
		if !isClosed(setup) {
			t.Error("set up without a route")
		}
		b.Network(another)
		if isClosed(b.Down("a")) {
			t.Error("back, and Down still says otherwise")
		}
	})
}

// Nobody waits for the answer to a trial of the old network.
func TestTrialOfTheOldNetwork(t *testing.T) {
	inBubble(t, Options{Targets: two, Network: home}, func(b *bubble) {
		fail := func() { b.deliver("a", Fault{Kind: Session, Reason: "421"}); b.wait(5 * time.Second) }
		fail()
		old, _ := b.Start("a", 1)
		b.Network(another)
		b.wait(0)
		b.want("a", "up", Ready)
		fail()
		b.want("a", "trial", Ready)
		fresh, ok := b.Start("a", 1)
		if !ok {
			t.Fatal("the trial of the old network takes the new one's place")
		}
		old.Done(Fault{})
		if _, ok := b.Start("a", 1); ok {
			t.Error("the old one's answer ends the new one's trial")
		}
		fresh.Done(Fault{})
		b.want("a", "up", Ready)
	})
	// A login is one wherever it was made.
	inBubble(t, Options{Targets: two, Network: home}, func(b *bubble) {
		b.deliver("a", Fault{Kind: Account, Reason: "535"})
		b.wait(time.Minute)
		p, _ := b.Start("a", 1)
		b.Network(another)
		b.wait(0)
		if _, ok := b.Start("a", 1); ok {
			t.Error("two logins beside each other")
		}
		p.Done(Fault{Kind: Session, Reason: "connection lost"})
		b.wait(59 * time.Minute)
		b.want("a", "cooling", Unusable)
	})
}

// idle is how long ago the last probe was.
func (s *server) idle() time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	return time.Since(s.probes[len(s.probes)-1])
}

// A minor change asks early, once, and not who serves.
func TestMinorChange(t *testing.T) {
	inBubble(t, Options{Targets: two, Network: home}, func(b *bubble) {
		b.a.cut()
		b.wait(10 * time.Hour)
		b.want("a", "down", Unusable)
		for b.a.idle() < time.Minute || b.b.idle() < time.Minute {
			b.wait(10 * time.Second)
		}
		b.a.forget()
		b.b.forget()
		b.Network(bridge)
		b.wait(0)
		if b.a.count() != 1 || b.b.count() != 1 {
			t.Errorf("%d probes of the one down and %d of the idle one, want 1 of each", b.a.count(), b.b.count())
		}
		b.wait(10 * time.Hour)
		b.deliver("b", Fault{})
		b.b.forget()
		b.Network(bridge)
		b.wait(time.Second)
		if b.b.count() != 0 {
			t.Errorf("%d probes of the one that serves", b.b.count())
		}
		b.a.mend()
		b.wait(10 * time.Hour)
		b.a.forget()
		b.b.forget()
		for range 300 { // a container that dies and is started again, and again
			b.Network(bridge)
			b.wait(time.Second)
		}
		if b.a.count() > 8 || b.b.count() > 8 || b.a.count() == 0 {
			t.Errorf("%d and %d probes in 5 min of those that are up", b.a.count(), b.b.count())
		}
		if b.Outlook().Generation != 1 || len(b.lines("network")) != 0 {
			t.Errorf("%+v, logged %q", b.Outlook(), b.lines("network"))
		}
	})
}

// After any outage the new network has waiting mail's upstreams asked often.
func TestPaceBeginsAnewInANewNetwork(t *testing.T) {
	inBubble(t, Options{Targets: two, Network: home}, func(b *bubble) {
		b.a.cut()
		b.Demand([]string{"a"})
		b.wait(3 * time.Hour)
		b.a.forget()
		b.Network(another)
		b.wait(30 * time.Second)
		if n := b.a.count(); n < 30 {
			t.Errorf("%d probes in 30 s", n)
		}
		b.a.mend()
		if took := b.until("a", Returning, 2*time.Second); took > time.Second {
			t.Errorf("back after %v", took)
		}
	})
}

func TestNothingIsOwedInANewNetwork(t *testing.T) {
	inBubble(t, Options{Targets: two, Network: home, Settings: Settings{Rise: 5}}, func(b *bubble) {
		b.deliver("a", *refused)
		b.until("a", Returning, 2*time.Second)
		b.want("a", "up", Returning)
		b.Network(another)
		b.wait(0)
		b.want("a", "up", Ready)
	})
}

func TestPlaceIsForgivenAtStart(t *testing.T) {
	file := t.TempDir() + "/health.json"
	synctest.Test(t, func(t *testing.T) {
		m := New(Options{Targets: []Target{{Name: "a"}, {Name: "b"}}, File: file})
		for name, kind := range map[string]Kind{"a": Place, "b": Policy} {
			p, _ := m.Start(name, 1)
			p.Done(Fault{Kind: kind, Reason: "no"})
		}
		m.saveNow()
		if s, err := readState(file); err != nil || s.Upstreams["a"].Breaker.Kind != Place || s.Upstreams["a"].Breaker.Until.IsZero() {
			t.Errorf("saved as %+v, %v", s.Upstreams["a"], err)
		}
		m = New(Options{Targets: []Target{{Name: "a"}, {Name: "b"}}, File: file})
		if m.Standing("a") != (Standing{Rank: Ready}) || m.Standing("b").Rank != Unusable {
			t.Errorf("after a restart %+v and %+v", m.Standing("a"), m.Standing("b"))
		}
	})
}

// TestPlaceHidesNoLogin: what is forgiven for the place is no licence to tell the
// same wrong secret again, after a restart or in another network; nor does it
// wait for hours longer than that.
func TestPlaceHidesNoLogin(t *testing.T) {
	now := time.Unix(1e9, 0)
	tr := tracker{Reach: up}
	no := func(k Kind, trial bool) {
		if trial {
			now = tr.Breaker.Until
			tr.Breaker = tr.Breaker.charge(now)
		}
		tr = tr.observe(observation{trial: trial, generation: tr.generation, underWay: 1, fault: Fault{Kind: k, Reason: "no"}}, now, 2)
	}
	no(Account, false)
	no(Account, true)
	again := tr.Breaker.Logins.again()
	tr.Breaker.Until = now.Add(time.Second) // a person's wish, say
	no(Place, true)
	if tr.Breaker.Kind != Place || !tr.Breaker.Until.After(again) {
		t.Fatalf("%+v", tr.Breaker)
	}
	again = tr.Breaker.Logins.again()
	if b := tr.roam(now).Breaker; !b.Until.Equal(again) {
		t.Errorf("in another network: again at %v, want %v", b.Until, again)
	}

	file := t.TempDir() + "/health.json"
	synctest.Test(t, func(t *testing.T) {
		start := func() (*Monitor, Standing) {
			m := New(Options{Targets: []Target{{Name: "a"}}, File: file})
			return m, m.Standing("a")
		}
		m, _ := start()
		m.upstreams["a"].tracker = tr.shift(wall().Sub(now))
		m.saveNow()
		if _, s := start(); s.Rank != Unusable {
			t.Errorf("a restart gives a third login: %+v", s)
		}
	})
}

// TestOneFailsAllAreAsked: a router dies behind a link that stays up, while
// nobody had reason to ask: a session that is lost shows it within seconds.
func TestOneFailsAllAreAsked(t *testing.T) {
	inBubble(t, Options{Targets: two, Network: home}, func(b *bubble) {
		b.wait(30 * time.Minute) // both are up, and asked every quarter of an hour
		p, ok := b.Start("a", 1)
		if !ok {
			t.Fatal("a cannot be used")
		}
		b.fails(&Fault{Kind: Network, Reason: "no answer"})
		b.wait(time.Second)
		p.Done(Fault{Kind: Session, Reason: "the connection was lost"})
		b.wait(5 * time.Second)
		b.outlook(Unreachable)
	})
}

// TestOneThatStaysDownHurriesNobody: its failures are no news.
func TestOneThatStaysDownHurriesNobody(t *testing.T) {
	inBubble(t, Options{Targets: two, Network: home}, func(b *bubble) {
		b.a.cut()
		b.wait(10 * time.Minute)
		b.b.forget()
		b.wait(time.Hour)
		if n := b.b.count(); n > 7 {
			t.Errorf("b, which is up and idle, was asked %d times in an hour", n)
		}
	})
}
