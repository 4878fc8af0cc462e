//go:build linux

package lab

import (
	"testing"
	"time"
)

// TestNameServers: the network is fine but for its name server. Where the
// providers are is known from before, and each proves by its certificate that
// it is still there.
func TestNameServers(t *testing.T) {
	l := need(t)
	t.Cleanup(func() { must(t, l.quiet()) })
	l.in(t, l.home)
	g := l.start(t, l.first(), l.second())
	g.waitUp("a", "b")
	for _, s := range []struct {
		name string
		mood mood
	}{
		{"name server is dead, addresses known", dead},
		{"name server takes 3 s, addresses known", dawdling},
		{"name server lies, addresses known", lying},
		{"name server denies all, addresses known", denying},
	} {
		l.play(t, scenario{name: s.name, first: 2 * time.Second, round: func() outcome {
			l.out(t)
			l.guest.dns.be(s.mood)
			tokens := g.submit(5, 1, 1000)
			g.offline(5 * time.Second)
			return outcome{tokens: tokens, since: l.in(t, l.guest)}
		}})
	}
	l.play(t, scenario{name: "portal by name server alone, nothing else is let out", first: 3 * time.Second, round: func() outcome {
		l.out(t)
		tokens := g.submit(5, 1, 1000)
		l.guest.dns.be(lying)
		must(t, l.guest.trouble(captive("")))
		l.in(t, l.guest)
		note := g.captive(tokens)
		l.guest.dns.be(right)
		must(t, l.guest.calm())
		return outcome{tokens: tokens, since: time.Now(), note: note}
	}})
}

// TestNameServersFromTheStart: the same when nothing was ever known.
func TestNameServersFromTheStart(t *testing.T) {
	l := need(t)
	t.Cleanup(func() { must(t, l.quiet()) })
	for _, s := range []struct {
		name  string
		mood  mood
		first time.Duration // from the moment that it is well
	}{
		{"name server is dead from the start, then well", dead, 3 * time.Second},
		{"name server lies from the start, then does not", lying, 3 * time.Second},
		{"name server denies all from the start, then does not", denying, 3 * time.Second},
	} {
		l.play(t, scenario{name: s.name, first: s.first, round: func() outcome {
			l.guest.dns.be(s.mood)
			l.in(t, l.guest)
			g := l.start(t, l.first(), l.second())
			defer func() { must(t, g.end()) }()
			tokens := g.submit(5, 1, 1000)
			_, known := g.until(30*time.Second, func(s status) bool { return !s.Network.Online })
			if !known {
				t.Errorf("%s: the status never called it anything but online: %+v", s.name, g.status().Network)
			}
			note := "called " + g.status().Network.State
			l.guest.dns.be(right)
			o := outcome{tokens: tokens, since: time.Now(), note: note}
			l.mail.wait(tokens, 30*time.Second)
			return o
		}})
	}
	l.play(t, scenario{name: "name server takes 3 s, from the start", first: 3*time.Second + 1500*time.Millisecond, round: func() outcome {
		l.guest.dns.be(dawdling)
		l.out(t)
		g := l.start(t, l.first(), l.second())
		defer func() { must(t, g.end()) }()
		tokens := g.submit(5, 1, 1000)
		o := outcome{tokens: tokens, since: l.in(t, l.guest)}
		l.mail.wait(tokens, 30*time.Second)
		return o
	}})
}
