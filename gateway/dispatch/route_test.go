package dispatch

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"mailroam/gateway/header"
	"mailroam/gateway/relay"
	"mailroam/queue"
)

func TestRoutes(t *testing.T) {
	routes := NewRoutes([]Route{
		{Name: "work", Senders: []string{"@example.com", "ann@example.org"}},
		{Name: "home", DefaultFrom: "ann@home.example", Senders: []string{"ann@home.example"}},
		{Name: "any"},
	})
	for _, tt := range []struct {
		from string
		want []string
	}{
		{"bob@example.com", []string{"work", "any"}},
		{"Bob@EXAMPLE.com", []string{"work", "any"}},
		{"ann@example.org", []string{"work", "any"}},
		{"bob@example.org", []string{"any"}},
		{"bob@sub.example.com", []string{"any"}},
		{"", []string{"work", "home", "any"}}, // the null reverse-path goes anywhere
		{"root", []string{"home", "any"}},
		{"pi@raspberry", []string{"home", "any"}},
		{"pi@box.local", []string{"home", "any"}},
	} {
		if got := routes.Eligible(&queue.Message{ReversePath: tt.from}); !slices.Equal(got, tt.want) {
			t.Errorf("Eligible(%q) = %v, want %v", tt.from, got, tt.want)
		}
	}
}

func TestDefaultFrom(t *testing.T) {
	r := Route{DefaultFrom: "ann@example.com"}
	for from, want := range map[string]string{
		"":                "", // stands for "never answer", whoever insists on a sender
		"root":            "ann@example.com",
		"pi@raspberry":    "ann@example.com",
		"pi@nas.lan":      "ann@example.com",
		"x@a.home.arpa":   "ann@example.com",
		"bob@example.net": "bob@example.net",
		"bob@[192.0.2.1]": "bob@[192.0.2.1]",
	} {
		if got := r.From(from); got != want {
			t.Errorf("From(%q) = %q, want %q", from, got, want)
		}
	}
	if got := (&Route{}).From("root"); got != "root" {
		t.Errorf("without default_from: %q", got)
	}
}

// Who cannot be read is nobody: no pattern but "*" is for such a one, and no
// default_from.
func TestMalformedAuthors(t *testing.T) {
	rs := NewRoutes([]Route{
		{Name: "pattern", Senders: []string{"@example.*", "*@example.*"}},
		{Name: "default", Senders: []string{"ann@example.com"}, DefaultFrom: "ann@example.com"},
		{Name: "rewrites", Senders: []string{"x@example.net"}, Rewrite: []Rewrite{{"@*.example", "x@example.net"}, {"*", "y@example.net"}}},
		{Name: "any"},
	})
	for _, from := range []string{
		" <ceo@bank.example x@example.org>", " <ceo@bank.example@x>", " ceo@bank.example@example.com", " =?utf-8?q?ceo=40bank.example?=",
		manyAuthors(),
	} {
		m := &queue.Message{ReversePath: "ann@example.com"}
		m.Authors = header.Read([]byte("From:" + from + "\r\n")).Authors
		if got := rs.Eligible(m); !slices.Equal(got, []string{"rewrites", "any"}) {
			t.Errorf("From:%.60s may go by %v", from, got)
		}
		if _, author := rs.From(m, "rewrites"); author != "y@example.net" {
			t.Errorf("From:%.60s becomes %q", from, author)
		}
	}
}

func manyAuthors() string {
	var b strings.Builder
	for i := range 100 {
		fmt.Fprintf(&b, "a%d@example.com, ", i)
	}
	return b.String() + "ceo@bank.example"
}

func TestMatches(t *testing.T) {
	for _, tt := range []struct {
		pattern, address string
		want             bool
	}{
		{"ann@example.com", "ann@example.com", true},
		{"ann@example.com", "xann@example.com", false},
		{"@example.com", "ann@example.com", true},
		{"@example.com", "ann@sub.example.com", false},
		{"@*.example.com", "ann@sub.example.com", true},
		{"@*.example.com", "ann@example.com", false},
		{"@*example.com", "ann@badexample.com", true},
		{"ann+*@example.com", "ann+news@example.com", true},
		{"ann+*@example.com", "ann@example.com", false},
		{"*@example.com", `"a@b"@example.com`, true},
		{"*", "ann@example.com", true},
		{"*", "root", true},
		{"@*", "root", false},
		{"@example.com", "@", false},
		{"a*b*c", "aXbXbXc", true},
		{"a*b*c", "aXcXb", false},
		{"a**", "a", true},
	} {
		if got := matches(tt.pattern, tt.address); got != tt.want {
			t.Errorf("matches(%q, %q) = %v", tt.pattern, tt.address, got)
		}
	}
	for _, tt := range []struct {
		pattern, address string
		want             bool
	}{
		{"example.com", "bob@Example.COM", true},
		{"@example.com", "bob@example.com", true},
		{"*.example.com", "bob@example.com", false},
		{"*", "postmaster", true},
		{"example.com", "postmaster", false},
	} {
		if got := leadsTo([]string{domainPattern(tt.pattern)}, tt.address); got != tt.want {
			t.Errorf("leadsTo(%q, %q) = %v", tt.pattern, tt.address, got)
		}
	}
}

// FuzzGlob holds the quick way against the plain one.
func FuzzGlob(f *testing.F) {
	f.Add("a*b", "axxb")
	f.Add("**a*", "bab")
	f.Fuzz(func(t *testing.T, pattern, s string) {
		if len(pattern) > 12 || len(s) > 12 {
			return
		}
		var plain func(p, s string) bool
		plain = func(p, s string) bool {
			switch {
			case p == "":
				return s == ""
			case p[0] == '*':
				return plain(p[1:], s) || s != "" && plain(p, s[1:])
			}
			return s != "" && s[0] == p[0] && plain(p[1:], s[1:])
		}
		if got, want := glob(pattern, s), plain(pattern, s); got != want {
			t.Errorf("glob(%q, %q) = %v", pattern, s, got)
		}
	})
}

// letterTo makes a message from someone to some.
func letterTo(from string, to ...string) *queue.Message {
	m := &queue.Message{ReversePath: from}
	for _, a := range to {
		m.Recipients = append(m.Recipients, queue.Recipient{Address: a, State: queue.Pending})
	}
	return m
}

func TestBar(t *testing.T) {
	routes := NewRoutes([]Route{
		{Name: "work", Senders: []string{"@example.com"}, Recipients: []string{"*.example", "@example.net"}, MaxMessage: 25 << 20},
		{Name: "gmail", Senders: []string{"ann@gmail.com", "ann@alias.example"}, DefaultFrom: "ann@gmail.com", Rewrite: []Rewrite{{"@Example.com", "ann@gmail.com"}}},
	})
	by := func(m *queue.Message, authors ...string) *queue.Message { m.Authors = authors; return m }
	sized := func(m *queue.Message, n int64) *queue.Message { m.Size = n; return m }
	for _, tt := range []struct {
		name        string
		m           *queue.Message
		work, gmail string
	}{
		{"both", by(letterTo("bob@example.com", "x@a.example"), "Bob@Example.COM"), "", ""},
		{"a stranger", letterTo("eve@y.example", "x@a.example"), "its senders do not include <eve@y.example>", "its senders do not include <eve@y.example>"},
		{"a strange author", by(letterTo("bob@example.com", "x@a.example"), "bob@example.com", "eve@y.example"), "the From: line names <eve@y.example>, which its senders do not include", "the From: line names <eve@y.example>, which its senders do not include"},
		{"an alias as author", by(letterTo("bob@example.com", "x@a.example"), "ann@alias.example"), "the From: line names <ann@alias.example>, which its senders do not include", ""},
		{"elsewhere", letterTo("bob@example.com", "x@example.org"), "its recipients do not include example.org", ""},
		{"no sender, whoever wrote it", by(letterTo("", "x@a.example"), "mailer-daemon@gw.lan"), "", ""},
		{"a program", by(letterTo("root", "x@a.example"), "root@raspberry"), "its senders do not include <root>", ""},
		{"too large for one", sized(letterTo("bob@example.com", "x@a.example"), 40<<20), "takes at most 25 MiB, this has 40 MiB", ""},
		{"control characters", letterTo("e\x1b@y.example", "x@a.example"), `its senders do not include <e\x1b@y.example>`, `its senders do not include <e\x1b@y.example>`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := routes.Bar(tt.m, 0, "work"); got != tt.work {
				t.Errorf("work: %q, want %q", got, tt.work)
			}
			if got := routes.Bar(tt.m, 0, "gmail"); got != tt.gmail {
				t.Errorf("gmail: %q, want %q", got, tt.gmail)
			}
			var want []string
			for _, b := range [][2]string{{"work", tt.work}, {"gmail", tt.gmail}} {
				if b[1] == "" {
					want = append(want, b[0])
				}
			}
			if got := routes.Eligible(tt.m); !slices.Equal(got, want) {
				t.Errorf("Eligible = %v, want %v", got, want)
			}
			if got := routes.NoRoute(tt.m); (got == "") != (len(want) > 0) {
				t.Errorf("NoRoute = %q", got)
			}
		})
	}
	if got := routes.Bar(letterTo("bob@example.com", "x@a.example"), 0, "gone"); got != "is not in the configuration" {
		t.Error(got)
	}
}

// TestLacks: what an upstream is known not to take sends mail to the next; where
// no one is left, those who may are asked, so that somebody refuses it.
func TestLacks(t *testing.T) {
	offers := map[string]relay.Offers{
		"old":    {Known: true, Size: 10 << 20},
		"new":    {Known: true, Size: 50 << 20, EightBit: true, UTF8: true},
		"secret": {Known: true, EightBit: true, UTF8: true, RequireTLS: true},
	}
	list := func(names ...string) Routes {
		var rs []Route
		for _, n := range names {
			rs = append(rs, Route{Name: n})
		}
		return NewRoutes(rs).Knowing(func(n string) relay.Offers { return offers[n] })
	}
	type content = queue.Content
	for _, tt := range []struct {
		name   string
		routes Routes
		m      queue.Message
		want   []string
	}{
		{"anything", list("old", "new"), queue.Message{}, []string{"old", "new"}},
		{"8 bits", list("old", "new"), queue.Message{Content: content{EightBit: true}}, []string{"new"}},
		{"beyond ASCII", list("old", "new"), queue.Message{Content: content{UTF8: true}}, []string{"new"}},
		{"beyond ASCII, where one is not known", list("old", "unknown"), queue.Message{Content: content{UTF8: true}}, []string{"unknown"}},
		{"beyond ASCII, nowhere", list("old"), queue.Message{Content: content{UTF8: true}}, []string{"old"}},
		{"REQUIRETLS", list("new", "secret"), queue.Message{Content: content{RequireTLS: true}}, []string{"secret"}},
		{"large", list("old", "new", "secret"), queue.Message{Size: 20 << 20}, []string{"new", "secret"}},
		{"too large for all", list("old", "new"), queue.Message{Size: 60 << 20}, []string{"old", "new"}},
		{"two things that no one has together", list("new", "old"), queue.Message{Size: 60 << 20, Content: content{EightBit: true}}, []string{"new", "old"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := tt.routes.Eligible(&tt.m); !slices.Equal(got, tt.want) {
				t.Errorf("got %v, want %v", got, tt.want)
			}
		})
	}
	plain := list("new")
	if plain.Knowing(func(string) relay.Offers { return relay.Offers{} }); !plain.list[0].Offers.Known {
		t.Error("Knowing changed what it was called on")
	}
}

func TestBarWords(t *testing.T) {
	for want, b := range map[string]bar{
		"offers no SMTPUTF8, and an address or the header is beyond ASCII": {kind: barUTF8},
		"offers no 8BITMIME, and the message has 8-bit octets":             {kind: barEightBit},
		"offers no REQUIRETLS, and the message asks for it":                {kind: barTLS},
		"takes at most 9.5 MiB, this has 10 MiB":                           {kind: barSize, size: 10 << 20, most: 9961472},
		"takes at most 64 KiB, this has 700 KiB":                           {kind: barSize, size: 700 << 10, most: 64 << 10},
	} {
		if got := b.String(); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

func TestNoRoute(t *testing.T) {
	strict := []Route{{Name: "work", Senders: []string{"@example.com"}}, {Name: "home", Senders: []string{"@home.example"}, Recipients: []string{"example.net"}}}
	by := func(m *queue.Message, authors ...string) *queue.Message { m.Authors = authors; return m }
	for _, tt := range []struct {
		name string
		list []Route
		m    *queue.Message
		want string
	}{
		{"known", strict, letterTo("ann@example.com"), ""},
		{"a stranger", strict, letterTo("eve@y.example"), "no upstream may send for <eve@y.example>: add it to senders or rewrite of an [[upstream]]"},
		{"a strange author", strict[:1], by(letterTo("ann@example.com", "x@y.example"), "eve@y.example"), "no upstream may send for <eve@y.example>, which the From: line names: add it to senders or rewrite of an [[upstream]]"},
		{"one of two", strict, letterTo("ann@home.example", "bob@example.net", "carl@example.org"), "no upstream that goes there may send for <ann@home.example>: add it to senders or rewrite of an [[upstream]]"},
		{"a notice", strict[:1], by(letterTo("", "x@y.example"), "eve@y.example"), ""},
		{"for two reasons", []Route{{Name: "a", Senders: []string{"x@y.example"}}, {Name: "b", Senders: []string{"@home.example"}}}, by(letterTo("ann@home.example", "bob@example.net"), "eve@y.example"), "no upstream may carry it: change senders, rewrite or recipients of one (a: its senders do not include <ann@home.example>; b: the From: line names <eve@y.example>, which its senders do not include)"},
		{"nowhere", []Route{{Name: "a", Recipients: []string{"x.example"}}}, letterTo("ann@home.example", "carl@example.org"), "no upstream may send to example.org: add it to the recipients of an [[upstream]]"},
		{"none", nil, letterTo("ann@home.example"), "there is no upstream: add an [[upstream]]"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := NewRoutes(tt.list).NoRoute(tt.m); got != tt.want {
				t.Errorf("got  %q\nwant %q", got, tt.want)
			}
		})
	}
}

// TestAskable: each recipient is asked for where it may go, and one in doubt
// only where its copy may be.
func TestAskable(t *testing.T) {
	rs := NewRoutes([]Route{{Name: "work", Recipients: []string{"example.com"}}, {Name: "any"}})
	m := letterTo("ann@example.com", "a@example.com", "b@example.net", "c@example.com", "d@example.com")
	m.Recipients[2].State = queue.Delivered
	m.Recipients[3].Doubt = &queue.Doubt{Upstream: "any"}
	if got := rs.askable(m, "work"); !slices.Equal(got, []int{0}) {
		t.Errorf("work: %v", got)
	}
	if got := rs.askable(m, "any"); !slices.Equal(got, []int{0, 1, 3}) {
		t.Errorf("any: %v", got)
	}
	if got := rs.Eligible(letterTo("ann@example.com", "b@example.net")); !slices.Equal(got, []string{"any"}) {
		t.Errorf("Eligible: %v", got)
	}
}

func TestFrom(t *testing.T) {
	rs := NewRoutes([]Route{
		{Name: "plain"},
		{Name: "strict", Senders: []string{"ann@gmail.com", "ann@alias.example"}, DefaultFrom: "ann@gmail.com", Rewrite: []Rewrite{
			{"bob@example.com", "bob@gmail.com"}, {"@example.com", "ann@gmail.com"}, {"*", "rest@gmail.com"},
		}},
		{Name: "open", Rewrite: []Rewrite{{"@example.com", "ann@gmail.com"}}},
	})
	for _, tt := range []struct {
		name, upstream, from string
		authors              []string
		path, author         string
	}{
		{"as it is", "plain", "ann@example.com", []string{"ann@example.com"}, "ann@example.com", ""},
		{"listed", "strict", "ann@alias.example", []string{"ann@gmail.com"}, "ann@alias.example", ""},
		{"whole address first", "strict", "bob@example.com", []string{"Bob@example.com"}, "bob@gmail.com", "bob@gmail.com"},
		{"its domain", "strict", "carl@example.com", []string{"carl@example.com"}, "ann@gmail.com", "ann@gmail.com"},
		{"the rest", "strict", "x@y.example", []string{"x@y.example"}, "rest@gmail.com", "rest@gmail.com"},
		{"another author", "strict", "ann@gmail.com", []string{"carl@example.com"}, "ann@gmail.com", "ann@gmail.com"},
		{"one author of two", "strict", "ann@gmail.com", []string{"ann@gmail.com", "bob@example.com"}, "ann@gmail.com", "bob@gmail.com"},
		{"no author to be read", "strict", "carl@example.com", nil, "ann@gmail.com", "ann@gmail.com"},
		{"a program", "strict", "root", []string{"root@raspberry"}, "ann@gmail.com", ""},
		{"no sender", "strict", "", []string{"mailer-daemon@gw.example"}, "", "rest@gmail.com"},
		{"no sender, no author", "strict", "", nil, "", ""},
		{"rewritten where anyone may", "open", "carl@example.com", []string{"carl@example.com"}, "ann@gmail.com", "ann@gmail.com"},
		{"not rewritten where anyone may", "open", "x@y.example", []string{"x@y.example"}, "x@y.example", ""},
		{"gone", "gone", "x@y.example", nil, "x@y.example", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			m := letterTo(tt.from, "to@example.net")
			m.Authors = tt.authors
			if path, author := rs.From(m, tt.upstream); path != tt.path || author != tt.author {
				t.Errorf("got %q, %q, want %q, %q", path, author, tt.path, tt.author)
			}
		})
	}
}

func TestLaneOfAnotherListIsUnknown(t *testing.T) {
	a := NewRoutes([]Route{{Name: "a"}, {Name: "b"}})
	lane := a.lane([]string{"a", "b"})
	if got, ok := a.parse(lane); !ok || !slices.Equal(got, []string{"a", "b"}) {
		t.Errorf("parse(%q) = %v, %v", lane, got, ok)
	}
	if got, ok := a.parse(a.lane(nil)); !ok || len(got) != 0 {
		t.Errorf("the lane of nobody is %v, %v", got, ok)
	}
	for name, other := range map[string]Routes{
		"another order": NewRoutes([]Route{{Name: "b"}, {Name: "a"}}),
		"one more":      NewRoutes([]Route{{Name: "a"}, {Name: "b"}, {Name: "c"}}),
		"other senders": NewRoutes([]Route{{Name: "a", Senders: []string{"@x"}}, {Name: "b"}}),
		"other domains": NewRoutes([]Route{{Name: "a", Recipients: []string{"x"}}, {Name: "b"}}),
		"other names":   NewRoutes([]Route{{Name: "a", Rewrite: []Rewrite{{"*", "a@b"}}}, {Name: "b"}}),
		"a limit":       NewRoutes([]Route{{Name: "a", MaxMessage: 1}, {Name: "b"}}),
	} {
		if got, ok := other.parse(lane); ok {
			t.Errorf("%s: the old lane still reads as %v", name, got)
		}
	}
}

// TestLaneOfManyUpstreams: however many there are and however they are called, a
// store can keep the lane, and it reads as it was written.
func TestLaneOfManyUpstreams(t *testing.T) {
	var list []Route
	var names []string
	for k := range 300 {
		names = append(names, fmt.Sprintf("%060d", k))
		list = append(list, Route{Name: names[k]})
	}
	p := Policy{Routes: NewRoutes(list)}
	m := letterTo("ann@example.com", "bob@example.net")
	for _, of := range [][]string{nil, names[:1], names[299:], names[1:], {names[3], names[64], names[298]}, names} {
		lane := p.lane(m, of)
		if err := (queue.Filing{Lane: lane}).Check(); err != nil {
			t.Errorf("of %d: %v", len(of), err)
		}
		if got, ok := p.parse(lane); !ok || !slices.Equal(got, of) {
			t.Errorf("parse(%q) = %v, %v, want %v", lane, got, ok, of)
		}
	}
	past := p.lane(m, names[299:]) + "0" // more than there are
	if got, ok := p.parse(past); ok {
		t.Errorf("parse(%q) = %v", past, got)
	}
}

func TestSchedule(t *testing.T) {
	s := Schedule{Initial: 30 * time.Second, Max: 30 * time.Minute}
	want := []time.Duration{30 * time.Second, time.Minute, 2 * time.Minute, 4 * time.Minute, 8 * time.Minute, 16 * time.Minute, 30 * time.Minute, 30 * time.Minute}
	id := queue.NewID()
	for i, w := range want {
		got := s.Wait(id, i+1)
		if got < w*8/10 || got > w*12/10 {
			t.Errorf("Wait(%d) = %v, want %v ± 20 %%", i+1, got, w)
		}
		if again := s.Wait(id, i+1); again != got {
			t.Errorf("Wait(%d) is not repeatable: %v, %v", i+1, got, again)
		}
	}
	for _, n := range []int{0, -1, 1000} {
		if got := s.Wait(id, n); got < 24*time.Second || got > 36*time.Minute {
			t.Errorf("Wait(%d) = %v", n, got)
		}
	}
	spread := map[time.Duration]bool{}
	for range 50 {
		spread[s.Wait(queue.NewID(), 3)] = true
	}
	if len(spread) < 40 {
		t.Errorf("50 messages share %d waits: they would come back together", len(spread))
	}
}
