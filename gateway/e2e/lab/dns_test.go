//go:build linux

package lab

import (
	"testing"
	"time"
)

// TestNameServers: the network is fine but for its name server.
func TestNameServers(t *testing.T) {
	l := need(t)
	t.Cleanup(func() { l.guest.dns.be(right) })
	l.in(t, l.home)
	g := l.start(t, l.first(), l.second())
	g.waitUp("a", "b")
	waiting := func() []string {
		l.out(t)
		l.guest.dns.be(right)
		tokens := g.submit(5, 1, 1000)
		g.offline(5 * time.Second)
		return tokens
	}
	for _, s := range []struct {
		name  string
		mood  mood
		first time.Duration
	}{
		{"name server is dead, addresses known", dead, 6 * time.Second},
		{"name server takes 3 s", dawdling, 3*time.Second + 1500*time.Millisecond},
	} {
		l.play(t, scenario{name: s.name, first: s.first, round: func() outcome {
			tokens := waiting()
			l.guest.dns.be(s.mood)
			return outcome{tokens: tokens, since: l.in(t, l.guest)}
		}})
	}
	l.play(t, scenario{name: "name server lies, then does not", first: 3 * time.Second, round: func() outcome {
		tokens := waiting()
		l.guest.dns.be(lying)
		l.in(t, l.guest)
		note := g.captive(tokens)
		l.guest.dns.be(right)
		return outcome{tokens: tokens, since: time.Now(), note: note}
	}})
	l.play(t, scenario{name: "name server denies all, then does not", first: 3 * time.Second, round: func() outcome {
		tokens := waiting()
		l.guest.dns.be(denying)
		l.in(t, l.guest)
		time.Sleep(3 * time.Second) // of denial
		since := time.Now()
		l.guest.dns.be(right)
		return outcome{tokens: tokens, since: since}
	}})
}

// TestDeadNameServerFromTheStart: nothing was ever known.
func TestDeadNameServerFromTheStart(t *testing.T) {
	l := need(t)
	t.Cleanup(func() { l.guest.dns.be(right) })
	l.play(t, scenario{name: "name server is dead from the start, then well", first: 3 * time.Second, round: func() outcome {
		l.guest.dns.be(dead)
		l.in(t, l.guest)
		g := l.start(t, l.first(), l.second())
		defer func() { must(t, g.end()) }()
		tokens := g.submit(5, 1, 1000)
		after, ok := g.until(30*time.Second, func(s status) bool { return !s.Network.Online })
		note := "called offline after " + short(after.Round(100*time.Millisecond))
		if !ok {
			t.Errorf("the status never called it offline, but %+v", g.status().Network)
			note = "never called offline"
		}
		l.guest.dns.be(right)
		o := outcome{tokens: tokens, since: time.Now(), note: note}
		l.mail.wait(tokens, 30*time.Second)
		return o
	}})
}
