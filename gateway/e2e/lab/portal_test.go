//go:build linux

package lab

import (
	"fmt"
	"testing"
	"time"

	"mailroam/gateway/e2e/peers"
)

// TestTapCanFail: what the scenarios of this laboratory must not see, is seen
// when a configuration allows it.
func TestTapCanFail(t *testing.T) {
	l := need(t)
	must(t, l.hotel.trouble(portal(trapImplicit, trapStartTLS)))
	t.Cleanup(func() { must(t, l.hotel.calm()) })
	for _, c := range []struct {
		name     string
		upstream string
		wire     bool // on the wire, not only at the portal
	}{
		{"mail in clear", fmt.Sprintf("[[upstream]]\nname = \"x\"\nurls = [\"smtp+insecure://%s:%d\"]\n", l.hotel.lan4.Addr(), trapClear), true},
		{"a portal that is trusted", trusting(l.portalCA, "x", "smtps://mail.provider-a.test:465"), false},
		{"a portal that is trusted, after STARTTLS", trusting(l.portalCA, "x", "smtp://mail.provider-a.test:587"), false},
	} {
		l.in(t, l.hotel)
		wire, _ := l.hotel.tap.seen()
		heard := l.trap.heard()
		g := l.start(t, c.upstream)
		g.submit(1, 1, 1000)
		for deadline := time.Now().Add(15 * time.Second); ; time.Sleep(20 * time.Millisecond) {
			onWire, _ := l.hotel.tap.seen()
			if l.trap.heard() > heard && (!c.wire || onWire > wire) {
				t.Logf("ok: %s: %d secrets seen on the wire, %d told to the portal", c.name, onWire-wire, l.trap.heard()-heard)
				break
			}
			if time.Now().After(deadline) {
				t.Errorf("%s: %d secrets were seen on the wire, %d told to the portal: the tap proves nothing", c.name, onWire-wire, l.trap.heard()-heard)
				break
			}
		}
		must(t, g.end())
	}
}

// trusting is an account whose servers are proven by ca.
func trusting(ca *peers.CA, name, url string) string {
	return fmt.Sprintf("[[upstream]]\nname = %q\nurls = [%q]\nusername = %q\npassword = %q\n", name, url+"?ca="+ca.File, username, password)
}

// TestPortals: somebody else answers in the place of the providers.
func TestPortals(t *testing.T) {
	l := need(t)
	t.Cleanup(func() { must(t, l.hotel.calm()) })
	l.in(t, l.home)
	g := l.start(t, l.first(), l.second())
	g.waitUp("a", "b")
	for _, s := range []struct{ name, rules string }{
		{"portal with a certificate of its own", portal(trapImplicit, trapStartTLS)},
		{"portal that says yes to all in clear", portal(trapClear, trapClear)},
		{"portal answers HTTP to mail", portal(trapHTTP, trapHTTP)},
		{"STARTTLS stripped, 465 closed", stripping()},
	} {
		l.play(t, scenario{name: s.name, first: 3 * time.Second, round: func() outcome {
			l.out(t)
			must(t, l.hotel.trouble(s.rules))
			tokens := g.submit(5, 1, 1000)
			l.in(t, l.hotel)
			note := g.captive(tokens)
			must(t, l.hotel.calm())
			return outcome{tokens: tokens, since: time.Now(), note: note}
		}})
	}
}

// captive waits until the status speaks of a portal, and sees that it goes on to
// and that no mail leaves.
func (g *gateway) captive(tokens []string) (note string) {
	g.t.Helper()
	isPortal := func(s status) bool { return s.Network.State == "portal" }
	after, ok := g.until(20*time.Second, isPortal)
	if !ok {
		g.t.Errorf("the status never spoke of a portal, but of %+v", g.status().Network)
		note = "never called a portal"
	} else {
		note = "called a portal after " + short(after.Round(100*time.Millisecond))
		if after, ok := g.until(4*time.Second, func(s status) bool { return !isPortal(s) }); ok {
			g.t.Errorf("the status took back the portal after %v: %+v", after, g.status().Network)
		}
	}
	if left := len(tokens) - g.lab.mail.wait(tokens, 0); left > 0 {
		g.t.Errorf("%d messages left through a portal", left)
	}
	return note
}
