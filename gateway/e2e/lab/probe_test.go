//go:build linux

package lab

import (
	"strings"
	"testing"
)

// TestProbe: what `mailroam probe` says of each network.
func TestProbe(t *testing.T) {
	l := need(t)
	t.Cleanup(func() {
		must(t, l.hotel.calm())
		l.guest.dns.be(right)
	})
	l.in(t, l.home)
	g := l.start(t, l.first(), l.second())
	for _, c := range []struct {
		name  string
		enter func()
		works bool
		says  []string // words of the verdict, in any case
	}{
		{"home", func() { l.in(t, l.home) }, true, nil},
		{"a café that drops 25 and 587", func() { l.in(t, l.cafe) }, true, []string{"587", "465"}},
		{"IPv6 that leads nowhere", func() { l.in(t, l.broken6) }, true, []string{"IPv6"}},
		{"a portal with its own certificate", func() {
			must(t, l.hotel.trouble(portal(trapImplicit, trapStartTLS)))
			l.in(t, l.hotel)
		}, false, []string{"portal"}},
		{"a portal that says yes in clear", func() {
			must(t, l.hotel.trouble(portal(trapClear, trapClear)))
			l.in(t, l.hotel)
		}, false, []string{"portal"}},
		{"STARTTLS stripped", func() {
			must(t, l.hotel.trouble(stripping()))
			l.in(t, l.hotel)
		}, false, []string{"STARTTLS"}},
		{"a name server that lies", func() {
			l.guest.dns.be(lying)
			l.in(t, l.guest)
		}, false, []string{"portal"}},
		{"a dead name server", func() {
			l.guest.dns.be(dead)
			l.in(t, l.guest)
		}, false, []string{"DNS"}},
		{"a network that leads nowhere", func() { l.in(t, l.office) }, false, []string{"route"}},
		{"no network", func() { l.out(t) }, false, []string{"network"}},
	} {
		c.enter()
		out, exit := g.probe()
		verdict := verdict(out)
		t.Logf("%s: exit %d: %s", c.name, exit, verdict)
		if (exit == 0) != c.works {
			t.Errorf("%s: probe exits with %d:\n%s", c.name, exit, out)
		}
		for _, word := range c.says {
			if !strings.Contains(strings.ToLower(verdict), strings.ToLower(word)) {
				t.Errorf("%s: probe's verdict does not speak of %q:\n%s", c.name, word, out)
			}
		}
	}
}

// verdict is the last paragraph of what probe prints.
func verdict(out string) string {
	paragraphs := strings.Split(strings.TrimSpace(out), "\n\n")
	return strings.Join(strings.Fields(paragraphs[len(paragraphs)-1]), " ")
}
