package health

import (
	"fmt"
	"math"
	"slices"
	"time"
)

// periods are the rolling windows of Limits.
var periods = [...]struct {
	name, words string
	span        time.Duration
}{
	{"minute", "a minute", time.Minute},
	{"hour", "an hour", time.Hour},
	{"day", "a day", 24 * time.Hour},
}

func (l Limits) of(period int) int { return [...]int{l.PerMinute, l.PerHour, l.PerDay}[period] }

// spending is how many recipients were taken lately, for each period. It is
// kept where there is no limit, too: one that is set later counts them.
type spending [len(periods)]window

// window counts in slots, of which a period has slotsOf. A slot counts until all
// of it is older than the period, so that never less is counted than the
// upstream counts.
type window []slot

type slot struct {
	At time.Time `json:"at"` // the beginning
	N  int       `json:"n"`
}

const slotsOf = 60

// ends is when a slot no longer counts.
func (s slot) ends(span time.Duration) time.Time { return s.At.Add(span + span/slotsOf) }

func (w window) used(span time.Duration, now time.Time) (n int) {
	for _, s := range w {
		if now.Before(s.ends(span)) {
			n += s.N
		}
	}
	return n
}

func (w window) add(n int, span time.Duration, now time.Time) window {
	if last := len(w) - 1; last >= 0 && now.Sub(w[last].At) < span/slotsOf {
		w[last].N += n
		return w
	}
	return append(slices.DeleteFunc(w, func(s slot) bool { return !now.Before(s.ends(span)) }), slot{now, n})
}

// sinks is when no more than most are counted.
func (w window) sinks(most int, span time.Duration, now time.Time) time.Time {
	n := w.used(span, now)
	for _, s := range w {
		if n <= most {
			break
		}
		if end := s.ends(span); now.Before(end) {
			n -= s.N
			if n <= most {
				return end
			}
		}
	}
	return now
}

func (s *spending) add(n int, now time.Time) {
	for i, p := range periods {
		s[i] = s[i].add(n, p.span, now)
	}
}

func (s spending) clone() spending {
	for i := range s {
		s[i] = slices.Clone(s[i])
	}
	return s
}

// shift moves all with a clock that was set back.
func (s spending) shift(by time.Duration) {
	for _, w := range s {
		for i := range w {
			w[i].At = w[i].At.Add(by)
		}
	}
}

// budget is what the operator lets an upstream take, and what it took. What a
// delivery may take is set aside when it begins, and spent or given back when it
// ends: since the upstream counts at some moment between the two, no rolling
// window of its own ever holds more than the limit.
type budget struct {
	limits Limits
	spent  spending
	aside  int
	// dry are the limits that are used up. They stay so until a tenth is free
	// again: mail in single recipients would move to and fro between two
	// upstreams, and a message would go out in crumbs.
	dry   [len(periods)]bool
	since time.Time // of the first
}

// set takes other limits. They count at once.
func (b *budget) set(l Limits) {
	if b.limits != l {
		b.limits, b.dry = l, [len(periods)]bool{}
	}
}

// enough is how much of a limit must be free to begin again.
func enough(limit int) int { return max(1, limit/10) }

// free is for how many recipients deliveries may begin now.
func (b *budget) free(now time.Time) int {
	if b.limits == (Limits{}) {
		return math.MaxInt
	}
	was, least := b.dry, math.MaxInt
	for i, p := range periods {
		limit := b.limits.of(i)
		if limit == 0 {
			continue
		}
		left := limit - b.spent[i].used(p.span, now)
		b.dry[i] = left <= 0 || b.dry[i] && left < enough(limit)
		if b.dry[i] {
			left = 0
		}
		least = min(least, left-b.aside)
	}
	if was == ([len(periods)]bool{}) && b.dry != was {
		b.since = now
	}
	return max(0, least)
}

// spare is for how many more recipients until no more than a fifth of a limit is
// left.
func (b *budget) spare(now time.Time) int {
	n := math.MaxInt
	for i, p := range periods {
		if limit := b.limits.of(i); limit > 0 {
			n = min(n, limit-limit/5-b.spent[i].used(p.span, now)-b.aside)
		}
	}
	return max(0, n)
}

func (b *budget) spend(n int, now time.Time) {
	if n > 0 {
		b.spent.add(n, now)
	}
}

// limited says that a limit is used up, and not only set aside.
func (b *budget) limited(now time.Time) bool {
	b.free(now)
	return b.dry != [len(periods)]bool{}
}

// lasting says that it is no limit of a minute: those only set a pace.
func (b *budget) lasting() bool { return b.dry[1] || b.dry[2] }

// until is when no limit is used up any more.
func (b *budget) until(now time.Time) (t time.Time) {
	for i, p := range periods {
		if limit := b.limits.of(i); b.dry[i] {
			t = later(t, b.spent[i].sinks(limit-enough(limit), p.span, now))
		}
	}
	return t
}

// why says for people which limit is used up, the longest.
func (b *budget) why(now time.Time) (text string) {
	for i, p := range periods {
		if limit := b.limits.of(i); b.dry[i] {
			text = fmt.Sprintf("%d of %d recipients %s are used (limits.per_%s)", b.spent[i].used(p.span, now), limit, p.words, p.name)
		}
	}
	return text
}

// status is what is left of each limit.
func (b *budget) status(now time.Time) (list []Budget) {
	b.free(now)
	for i, p := range periods {
		limit := b.limits.of(i)
		if limit == 0 {
			continue
		}
		one := Budget{Per: p.name, Limit: limit, Left: max(0, limit-b.aside-b.spent[i].used(p.span, now))}
		if b.dry[i] {
			one.More = b.spent[i].sinks(limit-enough(limit), p.span, now).UTC()
		}
		list = append(list, one)
	}
	return list
}
