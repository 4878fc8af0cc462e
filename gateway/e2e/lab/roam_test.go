//go:build linux

package lab

import (
	"fmt"
	"testing"
	"time"
)

const (
	large = 8 << 20 // octets of a body
	slow  = 1 << 20 // octets a second
)

// practice is an account at a provider's practice upstream.
func (l *lab) practice(p *provider) string {
	return l.upstream(p.name, fmt.Sprintf("smtps://sink.provider-%s.test:465", p.name))
}

// underWay waits until a body has been read for a good part.
func (p *pace) underWay(t *testing.T) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); p.most.Load() < slow; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("of the body only %d octets were read within 20 s", p.most.Load())
		}
	}
}

// TestRoamInBody: the laptop walks off while a large message is being sent.
func TestRoamInBody(t *testing.T) {
	l := need(t)
	l.in(t, l.home)
	g := l.start(t, l.practice(l.a), l.practice(l.b))
	walk := func(name string, to *network) {
		l.play(t, scenario{name: name, first: 3 * time.Second, round: func() outcome {
			l.in(t, l.home)
			g.waitUp("a")
			l.a.pace.reset(slow)
			defer l.a.pace.reset(0)
			tokens := g.submit(1, 1, large)
			l.a.pace.underWay(t)
			must(t, l.laptop.leave())
			l.a.pace.reset(0)
			return outcome{tokens: tokens, since: l.in(t, to)}
		}})
	}
	walk("roam in the body, slow reader", l.cafe)
	walk("roam in the body, to a twin of home", l.twin)
}

// TestRoamInBodyOfPostfix: the same with a real server behind a narrow line.
func TestRoamInBodyOfPostfix(t *testing.T) {
	l := need(t)
	t.Cleanup(func() { must(t, l.home.calm()) })
	l.in(t, l.home)
	g := l.start(t, l.first(), l.second())
	l.play(t, scenario{name: "roam in the body, Postfix", first: 3 * time.Second, round: func() outcome {
		must(t, l.home.trouble(narrow))
		l.in(t, l.home)
		g.waitUp("a", "b")
		before := l.home.tap.sent()
		tokens := g.submit(1, 1, large)
		for deadline := time.Now().Add(20 * time.Second); l.home.tap.sent() < before+slow; time.Sleep(10 * time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatal("the body did not get on its way within 20 s")
			}
		}
		return outcome{tokens: tokens, since: l.in(t, l.cafe)}
	}})
}

// TestTwins: sessions are kept at home, and the next network has the very same
// addresses.
func TestTwins(t *testing.T) {
	l := need(t)
	l.in(t, l.home)
	g := l.start(t, l.first(), l.second())
	l.play(t, scenario{name: "home's twin, sessions kept from home", first: time.Second, round: func() outcome {
		l.in(t, l.home)
		g.waitUp("a", "b")
		g.keep()
		since := l.in(t, l.twin)
		return outcome{tokens: g.submit(1, 1, 1000), since: since}
	}})
}

// TestBridgeComesUp: containers and split tunnels change the laptop's network,
// but not the way to the provider.
func TestBridgeComesUp(t *testing.T) {
	l := need(t)
	l.in(t, l.home)
	g := l.start(t, l.practice(l.a), l.practice(l.b))
	t.Cleanup(func() { l.a.pace.reset(0) })
	const size = 4 * slow
	for _, s := range []struct{ name, up, down string }{
		{
			"a container bridge comes up in the body",
			"link add docker0 type bridge\nlink set docker0 up\naddr add 172.17.0.1/16 dev docker0\n" +
				"link add c0 type veth peer name c1\nlink set c0 master docker0\nlink set c0 up\nlink set c1 up",
			"link del c0\nlink del docker0",
		},
		{
			"a split tunnel comes up in the body",
			"tuntap add tun0 mode tun\nlink set tun0 up\naddr add 10.8.0.2/24 dev tun0\nroute add 10.8.0.0/16 dev tun0",
			"link del tun0",
		},
	} {
		bodies := int32(0)
		l.play(t, scenario{name: s.name, first: size/slow*time.Second + 2*time.Second, round: func() outcome {
			g.waitUp("a", "b")
			l.a.pace.reset(slow)
			l.b.pace.reset(0)
			since := time.Now()
			tokens := g.submit(1, 1, size)
			l.a.pace.underWay(t)
			must(t, l.laptop.ip(s.up))
			l.mail.wait(tokens, 30*time.Second)
			must(t, l.laptop.ip(s.down))
			bodies = max(bodies, l.a.pace.bodies.Load()+l.b.pace.bodies.Load())
			return outcome{tokens: tokens, since: since, note: fmt.Sprintf("the body began %d times", l.a.pace.bodies.Load())}
		}})
		if bodies != 1 {
			t.Errorf("%s: the body began %d times: it was cut", s.name, bodies)
		}
	}
}
