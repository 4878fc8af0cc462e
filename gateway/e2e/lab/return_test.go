//go:build linux

package lab

import (
	"fmt"
	"testing"
	"time"
)

// hedge is the default of health.hedge.
const hedge = 2 * time.Second

// in walks into a network, and gives the first moment at which it is usable.
func (l *lab) in(t *testing.T, w *network) time.Time {
	t.Helper()
	up, err := l.laptop.join(w)
	if err != nil {
		t.Fatal(err)
	}
	return up
}

func (l *lab) out(t *testing.T) {
	t.Helper()
	if err := l.laptop.leave(); err != nil {
		t.Fatal(err)
	}
}

// must ends the test when the laboratory itself does not work.
func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// TestNetworkComesBack: mail that waits leaves when there is a network again.
func TestNetworkComesBack(t *testing.T) {
	l := need(t)
	l.in(t, l.home)
	g := l.start(t, l.first(), l.second())
	g.waitUp("a", "b")
	l.play(t, scenario{
		name: "network comes back, 20 wait", first: time.Second, last: 2 * time.Second,
		round: func() outcome {
			l.out(t)
			tokens := g.submit(20, 4, 1000)
			g.offline(5 * time.Second)
			return outcome{tokens: tokens, since: l.in(t, l.home)}
		},
	})
}

// offline waits until the gateway knows that there is no network, or for within.
func (g *gateway) offline(within time.Duration) {
	g.t.Helper()
	g.until(within, func(s status) bool { return !s.Network.Online })
}

// TestBrokenPaths: the first message to leave in a network where the first path
// tried is broken, against the same at home.
func TestBrokenPaths(t *testing.T) {
	l := need(t)
	l.in(t, l.home)
	g := l.start(t, l.first(), l.second())
	g.waitUp("a", "b")
	arrive := func(w *network) outcome {
		l.out(t)
		tokens := g.submit(1, 1, 1000)
		g.offline(5 * time.Second)
		return outcome{tokens: tokens, since: l.in(t, w)}
	}
	const cost = 400 * time.Millisecond
	for _, s := range []struct {
		name string
		in   *network
	}{
		{"IPv6 leads nowhere", l.broken6},
		{"a café drops 25 and 587, 465 is open", l.cafe},
	} {
		// Each round of one follows one of the other, so that both meet the same
		// machine.
		home := l.line(t, "home, for comparison", 0, 0)
		l.play(t, scenario{name: s.name, first: cost, beyond: home, round: func() outcome {
			home.add(arrive(l.home))
			l.settled(t)
			return arrive(s.in)
		}})
		home.end(t)
	}
}

// TestLANSmartHost: a network that leads nowhere but has a smart host of its
// own.
func TestLANSmartHost(t *testing.T) {
	l := need(t)
	l.in(t, l.home)
	g := l.start(t, l.first(), l.upstream("lan", fmt.Sprintf("smtps://%s:465", smartHost)))
	g.waitUp("a")
	l.play(t, scenario{
		name: "no default route, smart host on the LAN", first: time.Second,
		round: func() outcome {
			l.out(t)
			tokens := g.submit(5, 1, 1000)
			g.offline(5 * time.Second)
			return outcome{tokens: tokens, since: l.in(t, l.office)}
		},
	})
}
