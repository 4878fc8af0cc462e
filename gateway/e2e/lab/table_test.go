//go:build linux

package lab

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"testing"
	"text/tabwriter"
	"time"
)

// scenario is a line of the table.
type scenario struct {
	name        string
	first, last time.Duration // the most that the medians may be; 0: printed, not judged
	beyond      *line         // first is what a message may take longer than here
	rounds      int           // at most; 0: as many as asked for
	round       func() outcome
	also        *line // that the rounds add to; the caller ends it
}

// enough rounds for a median: one slow moment of the machine is not the
// gateway's.
const enough = 5

// outcome is what one round brought.
type outcome struct {
	tokens []string      // of all messages
	since  time.Time     // what the times count from
	wait   time.Duration // for the mail, a minute beyond its limit by default
	note   string        // by default where the mail went
}

// line is what a scenario brought.
type line struct {
	lab          *lab
	name         string
	before       int // secrets seen by then
	wasFailed    bool
	tokens       []string
	first, last  []time.Duration
	limits       [2]time.Duration
	lost, copies int
	allowed      int // of the copies: their messages were in doubt
	seen         int
	notes        []string
	failed       bool
}

// play plays the rounds of a scenario, judges and prints the line. What misses
// its figure is played until there are enough rounds for a median.
func (l *lab) play(t *testing.T, s scenario) *line {
	t.Helper()
	n := *rounds
	if s.rounds > 0 {
		n = min(n, s.rounds)
	}
	r := l.line(t, s.name, s.first, s.last)
	for played := 0; played < n; {
		r.add(s.round())
		l.settled(t)
		if s.beyond != nil {
			r.limits[0] = median(s.beyond.first) + s.first
		}
		if played++; played == n && (r.slow() || s.also != nil && s.also.slow()) {
			n = max(n, enough)
		}
	}
	r.end(t)
	return r
}

// line begins a line; add takes its rounds, and end judges it.
func (l *lab) line(t *testing.T, name string, first, last time.Duration) *line {
	r := &line{lab: l, wasFailed: t.Failed(), name: name, limits: [2]time.Duration{first, last}}
	r.before, _ = l.seen()
	return r
}

// add waits for what a round sent.
func (r *line) add(o outcome) {
	mail := r.lab.mail
	r.lost += mail.wait(o.tokens, cmp.Or(o.wait, time.Minute+r.limits[0]))
	if first, last := mail.span(o.tokens); !first.IsZero() {
		r.first = append(r.first, first.Sub(o.since))
		r.last = append(r.last, last.Sub(o.since))
	}
	r.tokens = append(r.tokens, o.tokens...)
	if note := cmp.Or(o.note, places(mail.where(o.tokens))); !slices.Contains(r.notes, note) {
		r.notes = append(r.notes, note)
	}
}

func (r *line) end(t *testing.T) {
	t.Helper()
	r.lab.settled(t) // so that a second copy shows itself
	r.copies = r.lab.mail.copies(r.tokens)
	after, whole := r.lab.seen()
	r.seen = after - r.before
	r.judge(t, whole)
	r.failed = t.Failed() && !r.wasFailed || r.failed
	r.lab.lines = append(r.lab.lines, r)
	t.Log(r.text())
}

// late counts the copies that came when their line had been judged already.
func (l *lab) late() int {
	n := l.mail.copies(l.mail.all())
	for _, r := range l.lines {
		n -= r.copies
	}
	return n
}

// slow says that a median is beyond its limit so far.
func (r *line) slow() bool {
	return r.limits[0] > 0 && median(r.first) > r.limits[0] || r.limits[1] > 0 && median(r.last) > r.limits[1]
}

func (r *line) judge(t *testing.T, whole bool) {
	t.Helper()
	bad := func(format string, args ...any) {
		r.failed = true
		t.Errorf(r.name+": "+format, args...)
	}
	for i, took := range [][]time.Duration{r.first, r.last} {
		word, limit := []string{"first", "last"}[i], r.limits[i]
		if limit > 0 && len(took) == 0 {
			bad("nothing was delivered")
		} else if limit > 0 && median(took) > limit {
			bad("the %s message took %v, want %v at most", word, short(median(took)), limit)
		}
	}
	if r.lost > 0 {
		bad("%d messages did not arrive", r.lost)
	}
	if r.copies > r.allowed {
		bad("%d messages arrived twice", r.copies-r.allowed)
	}
	if r.seen > 0 {
		bad("%d secrets were seen outside proven TLS", r.seen)
	}
	if !whole {
		bad("the tap missed frames: nothing is proven of what was sent")
	}
}

func median(d []time.Duration) time.Duration {
	if len(d) == 0 {
		return 0
	}
	s := slices.Sorted(slices.Values(d))
	return s[len(s)/2]
}

func short(d time.Duration) string {
	if d < 10*time.Second {
		return d.Round(time.Millisecond).String()
	}
	return d.Round(100 * time.Millisecond).String()
}

func times(d []time.Duration, limit time.Duration) string {
	if len(d) == 0 {
		return "-"
	}
	s := short(median(d))
	if len(d) > 1 {
		s += " (" + short(slices.Max(d)) + ")"
	}
	if limit > 0 {
		s += " ≤ " + short(limit)
	}
	return s
}

func (r *line) cells() []string {
	verdict := "ok"
	if r.failed {
		verdict = "MISSED"
	}
	return []string{
		verdict, r.name, times(r.first, r.limits[0]), times(r.last, r.limits[1]),
		fmt.Sprint(r.lost), fmt.Sprint(r.copies), fmt.Sprint(r.seen), strings.Join(r.notes, "; "),
	}
}

func (r *line) text() string {
	c := r.cells()
	return fmt.Sprintf("%s: %s: first %s, last %s, lost %s, copies %s, secrets seen %s; %s", c[0], c[1], c[2], c[3], c[4], c[5], c[6], c[7])
}

// table is all lines so far.
func (l *lab) table() string {
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "\n\tWHAT HAPPENED\tFIRST (WORST)\tLAST (WORST)\tLOST\tCOPIES\tSEEN\t")
	for _, r := range l.lines {
		fmt.Fprintln(w, strings.Join(r.cells(), "\t"))
	}
	w.Flush()
	return b.String()
}
