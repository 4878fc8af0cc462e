package health

import (
	"slices"
	"strings"
	"testing"
	"time"
)

// gaps are the waits between the last n probes.
func (s *server) gaps(n int) (gaps []time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := max(1, len(s.probes)-n); i < len(s.probes); i++ {
		gaps = append(gaps, s.probes[i].Sub(s.probes[i-1]))
	}
	return gaps
}

// Three days behind a dead router cost what the first seconds did, whether mail
// waits or not, and are over within a probe's wait.
func TestOfflineByInference(t *testing.T) {
	for long, waits := range map[time.Duration][]string{3 * day: nil, 3 * time.Hour: {"a", "b"}} {
		inBubble(t, Options{Targets: two, Network: home}, func(b *bubble) {
			b.deliver("a", Fault{})
			b.fails(refused)
			b.deliver("a", *refused)
			b.outlook(Online) // it may be a alone
			b.deliver("b", *refused)
			b.outlook(Unreachable)
			b.Demand(waits)
			at, since := b.Odometer(), time.Now()
			b.wait(long)
			if d := b.Odometer() - at; d != 0 {
				t.Errorf("%v online", d)
			}
			for _, s := range []*server{&b.a, &b.b} {
				if gaps := s.gaps(500); slices.Max(gaps) > 15*time.Second || slices.Min(gaps) < 10*time.Second {
					t.Errorf("probes %v to %v apart", slices.Min(gaps), slices.Max(gaps))
				}
			}
			if o := b.Outlook(); !o.Since.Equal(since) || o.Advice == "" {
				t.Errorf("%+v", o)
			}
			b.fails(passes)
			b.until("b", Returning, 15*time.Second)
			b.outlook(Online)
			b.wait(0)
			// It was not they: nothing is owed, and who is first is first.
			b.want("a", "up", Ready)
			b.want("b", "up", Ready)
			lines := b.lines("network")
			if len(lines) != 2 || !strings.Contains(lines[0], "level=WARN msg=network state=unreachable why=") || !strings.Contains(lines[0], "advice=") ||
				!strings.Contains(lines[1], "level=INFO msg=network state=online") {
				t.Errorf("%q", lines)
			}
		})
	}
}

func TestNoNames(t *testing.T) {
	inBubble(t, Options{Targets: []Target{two[0], {Hosts: []string{"localhost"}}}, Network: home}, func(b *bubble) {
		b.a.set(func() { b.a.fault = *noDNS })
		b.deliver("a", *noDNS)
		b.outlook(Unreachable)
		b.want("b", "up", Ready) // this machine is not to blame
		b.a.mend()
		b.until("a", Ready, 2*time.Second)
		b.outlook(Online)
	})
}

func TestPortal(t *testing.T) {
	inBubble(t, Options{Targets: two, Network: home}, func(b *bubble) {
		b.fails(foreign)
		b.Network(another)
		b.wait(0)
		b.outlook(Portal)
		b.want("a", "suspect", Unusable) // it is not even tried
		at := b.Odometer()
		b.wait(time.Hour)
		if gaps := b.b.gaps(1000); slices.Max(gaps) > 2*time.Second || slices.Min(gaps) < time.Second {
			t.Errorf("probes %v to %v apart", slices.Min(gaps), slices.Max(gaps))
		}
		if d := b.Odometer() - at; d != 0 {
			t.Errorf("%v online", d)
		}
		b.a.mend() // the portal opens, and the first to be asked is the first to know
		b.until("a", Ready, 2*time.Second)
		b.outlook(Online)
		b.want("b", "suspect", LastResort) // asked anew at once, and still charged as itself
		b.b.mend()
		b.until("b", Ready, time.Second)
	})
}

// A single upstream's own fault is no matter of the network.
func TestSingleIsChargedAsItself(t *testing.T) {
	for _, f := range []*Fault{expired, foreign, refused, weakTLS} {
		for name, other := range map[string]Target{
			"another on this machine":   {Hosts: []string{"localhost"}},
			"another on the same host":  {Hosts: []string{"A.example."}, Addrs: two[0].Addrs},
			"another that is not known": {},
			"another without a route":   {Hosts: []string{"c.example"}, Addrs: addrs("2001:db8::1")},
		} {
			inBubble(t, Options{Targets: []Target{two[0], other}, Network: home}, func(b *bubble) {
				at := b.Odometer()
				b.fails(f)
				b.deliver("a", *f)
				if name != "another without a route" {
					b.deliver("b", *f)
				}
				b.wait(time.Hour)
				b.outlook(Online)
				b.want("a", "down", Unusable)
				if s := b.Status()[0]; s.Kind != f.Kind || s.Why != f.Reason {
					t.Errorf("beside %s charged as %+v", name, s)
				}
				if d := b.Odometer() - at; d != time.Hour {
					t.Errorf("%v online in an hour", d)
				}
				b.a.mend()
				b.Demand([]string{"a"})
				b.until("a", Returning, time.Second)
				b.want("a", "up", Returning) // and it owes passes
			})
		}
	}
}

// While another answers it is not the network.
func TestOneThatAnswersIsEnough(t *testing.T) {
	inBubble(t, Options{Targets: two, Network: home}, func(b *bubble) {
		b.a.set(func() { b.a.fault = *foreign })
		b.deliver("a", *foreign)
		b.wait(time.Hour)
		b.outlook(Online)
		b.want("a", "down", Unusable)
		b.want("b", "up", Ready)
	})
}

func TestNoInferenceBeforeAllWereAsked(t *testing.T) {
	inBubble(t, Options{Targets: two, Network: home}, func(b *bubble) {
		b.fails(foreign)
		b.b.set(func() { b.b.takes = 3 * time.Second })
		b.Network(another)
		b.wait(2900 * time.Millisecond)
		b.outlook(Online)
		b.wait(200 * time.Millisecond)
		b.outlook(Portal)
		b.Network(another)
		b.outlook(Online) // it is another network, and nobody was asked yet
		b.wait(3 * time.Second)
		b.outlook(Portal)
	})
}

// A preferred upstream that was dead before the network was, is dead after it.
func TestOnlyTheNetworksDoingIsForgiven(t *testing.T) {
	inBubble(t, Options{Targets: two, Network: home}, func(b *bubble) {
		b.a.cut()
		b.deliver("a", *refused)
		b.wait(time.Minute)
		b.deliver("b", Fault{})
		b.wait(time.Minute)
		b.b.cut()
		b.deliver("b", *refused)
		b.outlook(Unreachable)
		b.wait(time.Hour)
		b.b.mend()
		b.until("b", Ready, 15*time.Second)
		b.want("a", "down", Unusable)
		b.outlook(Online)
	})
}

// Under a portal nothing goes to who need not prove who he is, and that he
// answers ends nothing.
func TestUnprovenUnderAPortal(t *testing.T) {
	plain := Target{Hosts: []string{"nas.lan"}, Addrs: addrs("10.0.0.25"), Unproven: true}
	inBubble(t, Options{Targets: []Target{two[0], plain}, Network: home}, func(b *bubble) {
		setup := b.Down("b")
		b.a.set(func() { b.a.fault = *http })
		b.deliver("a", *http)
		b.outlook(Portal)
		b.want("b", "up", Unusable)
		if s := b.Status()[1]; s.Preferred || s.Why == "" {
			t.Errorf("nobody says why: %+v", s)
		}
		if !isClosed(setup) {
			t.Error("what is being set up there goes on")
		}
		b.wait(time.Hour)
		b.outlook(Portal)
		b.a.mend()
		b.wait(2 * time.Second)
		b.want("b", "up", Ready)
		if isClosed(b.Down("b")) {
			t.Error("Down still says otherwise")
		}
	})
	// If nobody at all answers, who does answer is used.
	inBubble(t, Options{Targets: []Target{two[0], plain}, Network: home}, func(b *bubble) {
		b.a.set(func() { b.a.fault = *noDNS })
		b.deliver("a", *noDNS)
		b.outlook(Unreachable)
		b.want("b", "up", Ready)
	})
}

// Sessions that break where the network is known to be bad are charged to
// nobody; and they are no sign that it is well.
func TestSessionsLostInABadNetwork(t *testing.T) {
	for _, bad := range []bool{true, false} {
		inBubble(t, Options{Targets: two, Network: home}, func(b *bubble) {
			p, _ := b.Start("a", 1)
			b.a.cut()
			b.deliver("a", *refused)
			if bad {
				b.b.cut()
				b.deliver("b", *refused)
				b.outlook(Unreachable)
			}
			p.Done(Fault{Kind: Session, Reason: "connection lost"})
			b.outlook(map[bool]string{true: Unreachable, false: Online}[bad])
			b.mu.Lock()
			if open := !b.upstreams["a"].Breaker.closed(); open == bad {
				t.Errorf("in a bad network %v: charged %v", bad, open)
			}
			b.mu.Unlock()
		})
	}
}

// A delivery that ends well on a kept connection shows that the network is.
func TestServedEndsAnInference(t *testing.T) {
	inBubble(t, Options{Targets: two, Network: home}, func(b *bubble) {
		p, _ := b.Start("a", 1)
		b.fails(refused)
		b.deliver("a", *refused)
		b.deliver("b", *refused)
		b.outlook(Unreachable)
		b.a.set(func() { b.a.takes = time.Second })
		p.Done(Fault{})
		b.outlook(Online)
		b.want("a", "unknown", Ready)
		// Should new connections still fail, that is known at once.
		b.wait(time.Second)
		b.outlook(Unreachable)
	})
}
