package alert

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"time"
)

// most bounds the alerts told in an hour. Their ends come on top: whoever heard
// of a trouble must hear that it is over.
const most = 20

// ledger makes news of what is so, and remembers what was told. It has no
// clock and does nothing else.
type ledger struct {
	open    map[key]*entry
	last    map[key]time.Time // when the beginning of each was last told
	begun   []time.Time       // when the beginnings of the last hour were told
	tooMany time.Time         // when it was last told that there are too many
}

// entry is something that is so.
type entry struct {
	since time.Time
	seen  time.Duration // the odometer when it was first seen
	news  bool          // it is in the log
	told  bool
}

func newLedger() *ledger { return &ledger{open: map[key]*entry{}, last: map[key]time.Time{}} }

// observe gives what is news and, of that and of what had to wait, what is to
// be told to the command and the webhook now.
func (l *ledger) observe(v View, s Settings) (news, tell []Event) {
	l.forget(v.Now, s.Every)
	here := conditions(v, s.Down)
	for _, c := range here {
		e := l.open[c.key]
		if e == nil {
			e = &entry{since: v.Now, seen: v.Odometer}
			if !c.since.IsZero() && c.since.Before(v.Now) {
				e.since = c.since
			}
			l.open[c.key] = e
		}
		event := Event{Kind: c.kind, Upstream: c.upstream, Text: c.text, Since: e.since.UTC(), key: c.key}
		if !e.news && (c.met || v.Odometer-e.seen >= c.lasts) {
			e.news = true
			news = append(news, event)
		}
		if e.news && !e.told && v.Now.Sub(l.last[c.key]) >= s.Every {
			tell = l.begin(e, event, v.Now, tell)
		}
	}
	for _, k := range slices.SortedFunc(maps.Keys(l.open), compare) {
		e := l.open[k]
		if slices.ContainsFunc(here, func(c condition) bool { return c.key == k }) || v.unsure(k) {
			continue
		}
		delete(l.open, k)
		event := Event{Kind: k.kind, Upstream: k.upstream, Text: v.over(k, v.Now.Sub(e.since)), Since: e.since.UTC(), Ended: true, key: k}
		if k.kind == SecondChoice {
			event.Kind = FirstChoice
		}
		if e.news {
			news = append(news, event)
		}
		if e.told {
			tell = append(tell, event)
		}
	}
	return news, tell
}

// begin tells of a beginning unless there were too many: then it says that
// once, and the beginning waits.
func (l *ledger) begin(e *entry, event Event, now time.Time, tell []Event) []Event {
	if len(l.begun) < most {
		e.told = true
		l.last[event.key] = now
		l.begun = append(l.begun, now)
		return append(tell, event)
	}
	if now.Sub(l.tooMany) < time.Hour {
		return tell
	}
	l.tooMany = now
	return append(tell, Event{
		Kind: TooMany, Since: now.UTC(), key: key{kind: TooMany},
		Text: fmt.Sprintf("There were %d alerts within an hour: more are in the log, and in `mailroam status`.", most),
	})
}

// forget drops what no longer keeps anything from being told.
func (l *ledger) forget(now time.Time, every time.Duration) {
	old := func(t time.Time, after time.Duration) bool { return now.Sub(t) >= after || t.After(now) }
	l.begun = slices.DeleteFunc(l.begun, func(t time.Time) bool { return old(t, time.Hour) })
	maps.DeleteFunc(l.last, func(_ key, t time.Time) bool { return old(t, every) })
	if old(l.tooMany, time.Hour) {
		l.tooMany = time.Time{}
	}
}

func compare(a, b key) int {
	return cmp.Or(cmp.Compare(a.kind, b.kind), cmp.Compare(a.upstream, b.upstream))
}
