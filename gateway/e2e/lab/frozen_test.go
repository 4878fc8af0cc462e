//go:build linux

package lab

import (
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestFrozen: the gateway stands still, as on a laptop that sleeps, and goes on
// in another network. What no process can be given is a clock that went on
// meanwhile; health and netmon test that with one of their own.
func TestFrozen(t *testing.T) {
	l := need(t)
	l.in(t, l.home)
	g := l.start(t, l.practice(l.a), l.practice(l.b))
	g.waitUp("a", "b")
	const frozen = 3 * time.Second
	// thaw lets the gateway go on in the café, where it then has no fault to find
	// with anybody.
	thaw := func() (since time.Time) {
		t.Helper()
		time.Sleep(frozen)
		l.in(t, l.cafe)
		since = time.Now()
		must(t, syscall.Kill(g.PID(), syscall.SIGCONT))
		return since
	}
	freeze := func() {
		t.Helper()
		must(t, syscall.Kill(g.PID(), syscall.SIGSTOP))
		must(t, l.laptop.leave())
		must(t, l.home.forget())
	}
	uncharged := func(log int) {
		t.Helper()
		for line := range strings.Lines(g.Log()[log:]) {
			if strings.Contains(line, "msg=upstream") && (strings.Contains(line, "state=down") || strings.Contains(line, "state=cooling")) {
				t.Errorf("an upstream was charged for the sleep: %s", line)
			}
		}
	}
	play := func(name string, before, after func() []string) {
		l.play(t, scenario{name: name, first: 3 * time.Second, round: func() outcome {
			l.in(t, l.home)
			g.waitUp("a", "b")
			tokens := before()
			freeze()
			log := len(g.Log())
			since := thaw()
			tokens = append(tokens, after()...)
			l.mail.wait(tokens, time.Minute)
			uncharged(log)
			return outcome{tokens: tokens, since: since}
		}})
	}
	none := func() []string { return nil }
	play("frozen at home with sessions, mail after it", func() []string {
		if l.mail.wait(g.submit(1, 1, 1000), 20*time.Second) > 0 {
			t.Fatal("no mail leaves at home")
		}
		l.settled(t)
		return nil
	}, func() []string { return g.submit(5, 1, 1000) })
	play("frozen offline, 5 wait", func() []string {
		l.out(t)
		g.offline(5 * time.Second)
		return g.submit(5, 1, 1000)
	}, none)
	play("frozen in the body", func() []string {
		l.a.pace.reset(slow)
		t.Cleanup(func() { l.a.pace.reset(0) })
		tokens := g.submit(1, 1, large)
		l.a.pace.underWay(t)
		return tokens
	}, func() []string { l.a.pace.reset(0); return nil })
}
