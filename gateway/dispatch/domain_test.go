package dispatch

import (
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"mailroam/queue"
)

func TestCanonical(t *testing.T) {
	for address, want := range map[string]string{
		"":                                   "",
		"root":                               "root",
		"Ann@Example.COM":                    "ann@example.com",
		"ann@example.com.":                   "ann@example.com",
		"ann@bücher.example":                 "ann@bücher.example",
		"Ann@BÜCHER.Example.":                "ann@bücher.example",
		"ann@xn--bcher-kva.example":          "ann@bücher.example",
		"ann@XN--BCHER-KVA.example":          "ann@bücher.example",
		"@*.xn--bcher-kva.example":           "@*.bücher.example",
		"@xn--80ak6aa92e.xn--p1ai":           "@аррӏе.рф",
		"ann@xn--fiqs8s":                     "ann@中国",
		`"a@xn--bcher-kva"@x.example`:        `"a@xn--bcher-kva"@x.example`,
		"<ann@@xn--bcher-kva.example>":       "<ann@@xn--bcher-kva.example>",
		"ann@[IPv6:2001:DB8::1]":             "ann@[ipv6:2001:db8::1]",
		"ann@xn--.example":                   "ann@xn--.example",
		"ann@xn--example-.com":               "ann@xn--example-.com", // it hides "example"
		"ann@xn--*.example":                  "ann@xn--*.example",
		"ann@xn--99999999999.example":        "ann@xn--99999999999.example",
		"ann@xn--bcher-kv.example":           "ann@xn--bcher-kv.example",
		"ann@x＠example.com":                  "ann@x＠example.com",         // it is nobody's of example.com
		"ann@xn--bcher-2pa.example":          "ann@xn--bcher-2pa.example", // Ü: no U-label has capitals
		"ann@xn--" + strings.Repeat("a", 90): "ann@xn--" + strings.Repeat("a", 90),
	} {
		if got := canonical(address); got != want {
			t.Errorf("%q is %q, want %q", address, got, want)
		}
	}
}

// Whatever stands in a domain, it has one canonical form, and no name in ASCII
// alone becomes another one in ASCII alone.
func TestCanonicalIsStable(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := rapid.OneOf(rapid.String(), rapid.StringMatching(`xn--[a-z0-9-]{0,60}(\.xn--[a-z0-9-]{0,12})?`), rapid.StringMatching(`[A-Za-zÀ-ž.]{1,20}`)).Draw(t, "domain")
		once := canonicalDomain(s)
		if again := canonicalDomain(once); again != once && !strings.HasSuffix(once, ".") {
			t.Fatalf("%q is %q and %q", s, once, again)
		}
		ascii := func(s string) bool { return strings.IndexFunc(s, func(r rune) bool { return r > '~' }) < 0 }
		if ascii(s) && ascii(once) && once != strings.TrimSuffix(strings.ToLower(s), ".") {
			t.Fatalf("%q passes for %q", s, once)
		}
	})
}

// A domain is one and the same for senders, recipients, rewrite and what is
// remembered of senders, however it is written.
func TestOneDomainInTwoForms(t *testing.T) {
	forms := []string{"bücher.example", "xn--bcher-kva.example", "XN--BCHER-KVA.Example", "BÜCHER.example."}
	for _, config := range forms {
		rs := NewRoutes([]Route{
			{Name: "a", Senders: []string{"@" + config}, Recipients: []string{config}},
			{Name: "b", Senders: []string{"ann@" + config}, Recipients: []string{"*.ru"}},
			{Name: "c", Rewrite: []Rewrite{{"@" + config, "us@c.example"}}, Recipients: []string{"c.example"}},
		})
		for _, mail := range forms {
			m := letter("ann@"+mail, "bob@"+mail)
			m.Authors = []string{"Ann@" + forms[0]}
			if why := rs.Bar(&m, 0, "a"); why != "" {
				t.Errorf("%s in the config, %s in the mail: a %s", config, mail, why)
			}
			m = letter("ann@"+mail, "bob@c.example")
			if from, _ := rs.From(&m, "c"); from != "us@c.example" || rs.Bar(&m, 0, "c") != "" {
				t.Errorf("%s in the config, %s in the mail: c sends as %s", config, mail, from)
			}
			s := senders{}
			s.refuse("a", "ann@"+config, "550", time.Now())
			if s.until("a", "Ann@"+mail, time.Now()).IsZero() {
				t.Errorf("refused as %s, welcome as %s", config, mail)
			}
		}
		m := letter("ann@other.example", "bob@other.example")
		if rs.Bar(&m, 0, "a") == "" {
			t.Error("everybody may send by a")
		}
	}
}

func letter(from, to string) queue.Message {
	return queue.Message{ReversePath: from, Recipients: []queue.Recipient{{Address: to, State: queue.Pending}}}
}
