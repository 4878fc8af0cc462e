package relay

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"
)

func addrs(texts ...string) (as []netip.Addr) {
	for _, t := range texts {
		as = append(as, netip.MustParseAddr(t))
	}
	return as
}

// TestCandidates: an address of each family of each endpoint goes before the
// rest, the winner's endpoint and family before all.
func TestCandidates(t *testing.T) {
	const a4, b4, c4, a6, b6 = "192.0.2.1", "192.0.2.2", "192.0.2.3", "2001:db8::1", "2001:db8::2"
	for _, c := range []struct {
		name  string
		first winner
		hosts map[string][]netip.Addr
		ports []string
		want  string
	}{
		{"one", winner{}, map[string][]netip.Addr{"": addrs(a4)}, []string{"465"}, "0 192.0.2.1"},
		{"left to Dial", winner{1, ipv4}, map[string][]netip.Addr{"": {{}}}, []string{"465", "587"}, "1 invalid IP, 0 invalid IP"},
		{
			"as looked up",
			winner{},
			map[string][]netip.Addr{"": addrs(a6, b6, a4, b4)},
			[]string{"465", "587"},
			"0 2001:db8::1, 0 192.0.2.1, 1 2001:db8::1, 1 192.0.2.1, 0 2001:db8::2, 0 192.0.2.2, 1 2001:db8::2, 1 192.0.2.2",
		},
		{
			"four first",
			winner{},
			map[string][]netip.Addr{"": addrs(a4, b4, c4, a6)},
			[]string{"465"},
			"0 192.0.2.1, 0 2001:db8::1, 0 192.0.2.2, 0 192.0.2.3",
		},
		{
			"winner of four",
			winner{1, ipv4},
			map[string][]netip.Addr{"": addrs(a6, a4)},
			[]string{"465", "587", "25"},
			"1 192.0.2.1, 1 2001:db8::1, 0 192.0.2.1, 0 2001:db8::1, 2 192.0.2.1, 2 2001:db8::1",
		},
		{"winner's family is gone", winner{0, ipv6}, map[string][]netip.Addr{"": addrs(a4, b4)}, []string{"465"}, "0 192.0.2.1, 0 192.0.2.2"},
		{"not looked up yet", winner{}, map[string][]netip.Addr{"465": nil, "587": addrs(a4)}, []string{"465", "587"}, "1 192.0.2.1"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := candidates(inClear(c.ports...), c.first, func(e Endpoint) []netip.Addr {
				if as, ok := c.hosts[e.Port]; ok {
					return as
				}
				return c.hosts[""]
			})
			var texts []string
			for _, g := range got {
				texts = append(texts, fmt.Sprint(g.endpoint, " ", g.addr))
			}
			if s := strings.Join(texts, ", "); s != c.want {
				t.Errorf("got %s, want %s", s, c.want)
			}
		})
	}
}

// TestDue: when the next one starts beside those that run.
func TestDue(t *testing.T) {
	now := time.Now()
	ms := func(n int) time.Time { return now.Add(time.Duration(n) * time.Millisecond) }
	for _, c := range []struct {
		name    string
		running []pace
		want    time.Time
	}{
		{"nobody runs", nil, time.Time{}},
		{"in TCP", []pace{{ms(0), false}}, ms(120)},
		{"two in TCP", []pace{{ms(0), false}, {ms(120), false}}, ms(240)},
		{"connected", []pace{{ms(30), true}}, ms(1030)},
		{"one of them is connected", []pace{{ms(0), false}, {ms(150), true}, {ms(120), false}}, ms(1150)},
		{"it was silent for long", []pace{{ms(0), true}, {ms(1000), false}}, ms(1120)},
	} {
		if got := due(c.running); !got.Equal(c.want) {
			t.Errorf("%s: %v after the start, want %v", c.name, got.Sub(now), c.want.Sub(now))
		}
	}
}

// TestNext: whose turn it is, and the rules for remembered addresses.
func TestNext(t *testing.T) {
	began := time.Now()
	ms := func(n int) time.Time { return began.Add(time.Duration(n) * time.Millisecond) }
	tls := func(es ...Endpoint) (is []Endpoint) {
		for _, e := range es {
			e.Mode = Implicit
			is = append(is, e)
		}
		return is
	}
	good, old := netip.MustParseAddr(v4), netip.MustParseAddr(other4)
	one := tls(inClear("465")...)
	waiting := answer{waiting: true, old: []netip.Addr{old}}
	failed := answer{old: []netip.Addr{old}}
	found := answer{addrs: []netip.Addr{good}, old: []netip.Addr{old}}
	first, fallback := candidate{addr: good}, candidate{addr: old, old: true}
	run := func(cs ...any) map[candidate]pace {
		m := map[candidate]pace{}
		for i := 0; i < len(cs); i += 2 {
			m[cs[i].(candidate)] = cs[i+1].(pace)
		}
		return m
	}
	many := make([]candidate, maxCandidates)
	for _, c := range []struct {
		name      string
		endpoints []Endpoint
		host      answer
		tried     []candidate
		running   map[candidate]pace
		want      candidate
		at        time.Time
		ok        bool
	}{
		{"found", one, found, nil, nil, first, time.Time{}, true},
		{"found, one runs", inClear("25", "26"), found, []candidate{first}, run(first, pace{ms(0), false}), candidate{endpoint: 1, addr: good}, ms(120), true},
		{"the lookup has 300 ms", one, waiting, nil, nil, fallback, ms(300), true},
		{"never in the clear, slow lookup", inClear("25"), waiting, nil, nil, candidate{}, time.Time{}, false},
		{"never in the clear, failed lookup", inClear("25"), failed, nil, nil, candidate{}, time.Time{}, false},
		{"the lookup failed", one, failed, nil, nil, fallback, time.Time{}, true},
		{"what was found has failed", one, found, []candidate{first}, nil, fallback, time.Time{}, true},
		{"what was found is a black hole", one, found, []candidate{first}, run(first, pace{ms(0), false}), fallback, ms(120), true},
		{"what was found is only slow", one, found, []candidate{first}, run(first, pace{ms(0), true}), candidate{}, time.Time{}, false},
		{"found again", one, answer{addrs: []netip.Addr{old}, old: []netip.Addr{old}}, []candidate{fallback}, run(fallback, pace{ms(300), false}), candidate{}, time.Time{}, false},
		{"too many", one, found, many, nil, candidate{}, time.Time{}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := &field{endpoints: c.endpoints, began: began, hosts: map[string]*answer{host: &c.host}, tried: c.tried}
			got, at, ok := f.next(c.running)
			if ok != c.ok || ok && (got != c.want || !at.Equal(c.at)) {
				t.Errorf("got %v at %v, %v; want %v at %v, %v", got, at.Sub(began), ok, c.want, c.at.Sub(began), c.ok)
			}
		})
	}
	t.Run("a better endpoint's lookup is awaited for a moment", func(t *testing.T) {
		es := inClear("25", "26")
		es[1].Host = "other"
		f := &field{endpoints: es, began: began, hosts: map[string]*answer{host: {waiting: true}, "other": {addrs: []netip.Addr{good}}}}
		if c, at, ok := f.next(nil); !ok || c.endpoint != 1 || !at.Equal(ms(50)) {
			t.Errorf("got %v at %v, %v", c, at.Sub(began), ok)
		}
		f.first.endpoint = 1
		if c, at, ok := f.next(nil); !ok || c.endpoint != 1 || !at.IsZero() {
			t.Errorf("the winner has to wait: %v at %v, %v", c, at, ok)
		}
	})
	t.Run("side by side", func(t *testing.T) {
		running := map[candidate]pace{}
		for i := range maxRunning {
			running[candidate{endpoint: i + 1}] = pace{}
		}
		f := &field{endpoints: one, began: began, hosts: map[string]*answer{host: &found}}
		if _, _, ok := f.next(running); ok {
			t.Error("one more")
		}
	})
}
