package relay

import (
	"bufio"
	_ "embed"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

// goldenNow is when all of testdata/replies.txt is said.
var goldenNow = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

//go:embed testdata/replies.txt
var goldenReplies string

// golden is a line of testdata/replies.txt.
type golden struct {
	line    int
	host    string // of the upstream, "" for one of which nothing is known
	at      Stage
	reply   string
	verdict Verdict
	scopes  []Scope // any of them
	wait    string
}

// TestGoldenReplies holds the verdicts against what servers really say. What is
// expected was written from the tables.
func TestGoldenReplies(t *testing.T) {
	all := readGolden(t)
	if n := len(all); n < 250 {
		t.Errorf("%d replies, want 250 at least", n)
	}
	profiles, err := Profiles()
	if err != nil {
		t.Fatal(err)
	}
	for _, g := range all {
		t.Run(fmt.Sprintf("line %d", g.line), func(t *testing.T) {
			m := g.meaning(Rules{Profile: profileOf(profiles, g.host)})
			if !g.fits(m) {
				t.Errorf("%s, %s, %q:\n got %s %q, %s, by %q\nwant %s %q, %s", g.host, g.at, g.reply,
					m.Verdict, m.Scope, waitOf(m), m.Rule, g.verdict, g.scopes, g.wait)
			}
			if m.Rule == "" {
				t.Errorf("%s, %s, %q: nobody is told which rule says so", g.host, g.at, g.reply)
			}
		})
	}
}

// TestGoldenControls: who knows no provider, or says the same of everything,
// fails; and no line wants what must never be.
func TestGoldenControls(t *testing.T) {
	all := readGolden(t)
	misses := func(say func(golden) Meaning) (n int) {
		for _, g := range all {
			if !g.fits(say(g)) {
				n++
			}
		}
		return n
	}
	if n := misses(func(g golden) Meaning { return g.meaning(Rules{}) }); n < 30 {
		t.Errorf("without any provider's rules only %d of %d are wrong", n, len(all))
	}
	for _, same := range []Meaning{{Verdict: Next, Scope: ScopeUnknown}, {Verdict: Next, Scope: ScopeAccount}, {Verdict: Bounce, Scope: ScopeRecipient}} {
		if n := misses(func(golden) Meaning { return same }); n < len(all)*3/4 {
			t.Errorf("to say %+v of everything is wrong in %d of %d lines only", same, n, len(all))
		}
	}
	for _, g := range all {
		if g.at < Mail && g.verdict != Next || g.verdict == Bounce && g.reply[0] != '5' {
			t.Errorf("line %d: %s at %s, %q", g.line, g.verdict, g.at, g.reply)
		}
	}
}

// meaning is what the reply means, read as it comes from the wire.
func (g golden) meaning(rules Rules) Meaning {
	r, err := readReply(bufio.NewReader(strings.NewReader(strings.ReplaceAll(g.reply, `\n`, "\r\n") + "\r\n")))
	return rules.Classify(g.at, r, err, "bob@example.net", goldenNow)
}

func (g golden) fits(m Meaning) bool {
	return m.Verdict == g.verdict && slices.Contains(g.scopes, m.Scope) && g.waits(m)
}

func readGolden(t *testing.T) []golden {
	t.Helper()
	var all []golden
	seen := map[string]bool{}
	line := 0
	for text := range strings.Lines(goldenReplies) {
		if line++; strings.HasPrefix(text, "#") || strings.TrimSpace(text) == "" {
			continue
		}
		f := strings.Split(strings.TrimSpace(text), "|")
		for i := range f {
			f[i] = strings.TrimSpace(f[i])
		}
		if len(f) != 7 {
			t.Fatalf("line %d has %d columns, not 7", line, len(f))
		}
		at := slices.Index(stageNames[:], f[1])
		if at < 0 {
			t.Fatalf("line %d: no stage %q", line, f[1])
		}
		g := golden{line: line, host: strings.TrimPrefix(f[0], "-"), at: Stage(at), reply: f[2], verdict: Verdict(f[3]), wait: f[5]}
		for s := range strings.SplitSeq(f[4], "/") {
			g.scopes = append(g.scopes, Scope(s))
		}
		if key := f[0] + f[1] + f[2]; seen[key] {
			t.Errorf("line %d is there twice", line)
		} else {
			seen[key] = true
		}
		all = append(all, g)
	}
	return all
}

func profileOf(profiles map[string]*Profile, host string) *Profile {
	for _, p := range profiles {
		if p.Serves(host) {
			return p
		}
	}
	return nil
}

// waits says whether the upstream is left alone for as long as the line wants.
func (g golden) waits(m Meaning) bool {
	until, dated := strings.CutPrefix(g.wait, "until ")
	least, most, ranged := strings.Cut(g.wait, "..")
	switch {
	case g.wait == "*":
		return true
	case g.wait == "-":
		return m.Wait == 0 && m.Until.IsZero()
	case dated:
		end, err := time.Parse(time.RFC3339, until)
		return err == nil && m.Until.Equal(end)
	case !ranged:
		most = least
	}
	from, err1 := time.ParseDuration(least)
	to, err2 := time.ParseDuration(most)
	return err1 == nil && err2 == nil && from <= m.Wait && m.Wait <= to
}

func waitOf(m Meaning) string {
	switch {
	case !m.Until.IsZero():
		return "until " + m.Until.UTC().Format(time.RFC3339)
	case m.Wait != 0:
		return m.Wait.String()
	default:
		return "-"
	}
}
