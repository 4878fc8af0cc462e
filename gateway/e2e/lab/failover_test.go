//go:build linux

package lab

import (
	"testing"
	"time"
)

// TestFirstVanishes: the first upstream is gone and nobody has noticed yet.
func TestFirstVanishes(t *testing.T) {
	l := need(t)
	l.in(t, l.home)
	t.Cleanup(func() { must(t, l.a.appear()) })
	for _, s := range []struct {
		name, how string
		kept      bool
		first     time.Duration
	}{
		{"first refuses, session kept", refusing, true, 200 * time.Millisecond},
		{"first refuses, none kept", refusing, false, 200 * time.Millisecond},
		{"first is a black hole, session kept", blackHole, true, hedge + 500*time.Millisecond},
		{"first is a black hole, none kept", blackHole, false, hedge + 500*time.Millisecond},
	} {
		var g *gateway
		if s.kept {
			g = l.start(t, l.first(), l.second())
		}
		var following []string
		var began time.Time
		one := func() outcome {
			must(t, l.a.appear())
			if g == nil || !s.kept {
				if g != nil {
					must(t, g.end())
				}
				g = l.start(t, l.first(), l.second())
			}
			g.waitUp("a", "b")
			if s.kept {
				g.keep()
			}
			following = nil
			must(t, l.a.vanish(s.how))
			since := time.Now()
			o := outcome{tokens: g.submit(1, 1, 1000), since: since}
			if l.mail.wait(o.tokens, 30*time.Second) > 0 {
				return o
			}
			began = time.Now()
			following = g.submit(200, 4, 1000)
			return o
		}
		// Each round of the second line follows one of the first.
		then := l.line(t, "… the following 200 together", 0, 3*time.Second)
		l.play(t, scenario{name: s.name, first: s.first, also: then, round: func() outcome {
			o := one()
			then.add(outcome{tokens: following, since: began, wait: 30 * time.Second})
			return o
		}})
		then.end(t)
		must(t, g.end())
	}
}
