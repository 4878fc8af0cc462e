//go:build linux

package lab

import (
	"testing"
	"time"

	"mailroam/gateway/sink"
)

// A session with nobody at the other end may be held for 30 s, which TCP does
// not keep to the tenth. A kept one is then replaced at once; one that was lost
// in the middle of a message has the upstream cool down for 30 s.
const (
	giveUp  = 30*time.Second + 1500*time.Millisecond
	coolOff = 30*time.Second + 500*time.Millisecond
)

// TestRouterForgets: the router has forgotten the session and says nothing.
func TestRouterForgets(t *testing.T) {
	l := need(t)
	l.in(t, l.home)
	t.Cleanup(func() { l.a.practice.SetFaults(); l.a.pace.reset(0) })
	keep := func(g *gateway) {
		t.Helper()
		g.waitUp("a")
		g.keep()
	}
	two := l.start(t, l.practice(l.a), l.practice(l.b))
	l.play(t, scenario{name: "NAT forgets an idle session, two upstreams", first: hedge + 500*time.Millisecond, round: func() outcome {
		keep(two)
		must(t, l.home.forget())
		since := time.Now()
		return outcome{tokens: two.submit(1, 1, 1000), since: since}
	}})
	must(t, two.end())

	one := l.start(t, l.practice(l.a))
	l.play(t, scenario{name: "NAT forgets an idle session, one upstream", first: hedge + 500*time.Millisecond, round: func() outcome {
		keep(one)
		must(t, l.home.forget())
		since := time.Now()
		return outcome{tokens: one.submit(1, 1, 1000), since: since}
	}})
	l.play(t, scenario{name: "NAT forgets before the reply to MAIL", first: giveUp, rounds: 1, round: func() outcome {
		keep(one)
		l.a.practice.SetFaults(sink.Fault{Stage: sink.Mail, Steps: []sink.Step{{Do: sink.Delay, For: 5 * time.Second}}})
		before, since := l.a.practice.Transactions(), time.Now()
		tokens := one.submit(1, 1, 1000)
		for deadline := time.Now().Add(20 * time.Second); l.a.practice.Transactions() == before; time.Sleep(10 * time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatal("no MAIL came within 20 s")
			}
		}
		// TCP puts an acknowledgement off for up to 200 ms in the hope of a reply,
		// and a MAIL that is not acknowledged would be sent again elsewhere.
		time.Sleep(500 * time.Millisecond)
		must(t, l.home.forget())
		l.a.practice.SetFaults()
		return outcome{tokens: tokens, since: since}
	}})
	const again = 1500 * time.Millisecond // for the whole body
	l.play(t, scenario{name: "NAT forgets in the body", first: giveUp + coolOff + again, rounds: 1, round: func() outcome {
		keep(one)
		l.a.pace.reset(slow)
		tokens := one.submit(1, 1, large)
		l.a.pace.underWay(t)
		must(t, l.home.forget())
		l.a.pace.reset(0)
		return outcome{tokens: tokens, since: time.Now()}
	}})
}

// TestDeadRouter: the link stays up, and nothing comes back.
func TestDeadRouter(t *testing.T) {
	l := need(t)
	t.Cleanup(func() { must(t, l.home.calm()) })
	l.in(t, l.home)
	g := l.start(t, l.first(), l.second())
	l.play(t, scenario{name: "dead router revives, link up all the time", first: 2 * time.Second, round: func() outcome {
		g.waitUp("a", "b")
		must(t, l.home.trouble(deadRouter))
		tokens := g.submit(5, 1, 1000)
		note := g.unreachable()
		must(t, l.home.calm())
		return outcome{tokens: tokens, since: time.Now(), note: note}
	}})
}

// unreachable waits until the status says that nobody can be reached, and sees
// that the time online then stands still.
func (g *gateway) unreachable() (note string) {
	g.t.Helper()
	after, ok := g.until(45*time.Second, func(s status) bool { return !s.Network.Online })
	if !ok {
		g.t.Errorf("the status never spoke of a dead network, but of %+v", g.status().Network)
		return "never called unreachable"
	}
	before := g.status().Network
	if before.State != "unreachable" {
		g.t.Errorf("the network is called %q, want unreachable", before.State)
	}
	time.Sleep(3 * time.Second)
	if now := g.status().Network; now.OnlineFor != before.OnlineFor {
		g.t.Errorf("the time online went on from %v to %v s on a dead network", before.OnlineFor, now.OnlineFor)
	}
	return "called " + before.State + " after " + short(after.Round(100*time.Millisecond)) + ", the time online stood still"
}
