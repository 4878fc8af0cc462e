package health

import (
	"math"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// No rolling window ever holds more than its limit, wherever between beginning
// and end of a delivery the upstream counts; and none is left half unused.
func TestBudgetByBruteForce(t *testing.T) {
	type taken struct {
		at time.Time
		n  int
	}
	type delivery struct {
		rcpts int
		end   time.Time
	}
	for seed := range uint64(20) {
		random := rand.New(rand.NewPCG(seed, 1))
		limits := Limits{PerMinute: 1 + random.IntN(60), PerHour: 200 + random.IntN(400), PerDay: 2000}
		b := budget{limits: limits}
		now := time.Unix(1e9, 0)
		var log []taken
		var open []delivery
		for range 10_000 {
			now = now.Add(time.Duration(random.IntN(12_000)) * time.Millisecond)
			if random.IntN(500) == 0 {
				now = now.Add(time.Duration(random.IntN(6)) * time.Hour)
			}
			for len(open) > 0 && !now.Before(open[0].end) {
				d := open[0]
				open = open[1:]
				b.aside -= d.rcpts
				spent := d.rcpts
				if random.IntN(4) == 0 {
					spent = random.IntN(d.rcpts + 1)
				}
				b.spend(spent, now)
				// It counted at any moment of the delivery; the earliest of all
				// is as bad as it gets for windows that end before ours.
				log = append(log, taken{now.Add(-time.Duration(random.IntN(3000)) * time.Millisecond), spent})
			}
			if n := min(1+random.IntN(5), b.free(now)); n > 0 {
				b.aside += n
				end := now.Add(3 * time.Second)
				open = append(open, delivery{n, end})
			}
		}
		for i, p := range periods {
			most, sum, first := 0, 0, 0
			for _, l := range log {
				sum += l.n
				for l.at.Sub(log[first].at) >= p.span {
					sum -= log[first].n
					first++
				}
				most = max(most, sum)
			}
			if limit := limits.of(i); most > limit {
				t.Errorf("seed %d: %d within a %s, the limit is %d", seed, most, p.name, limit)
			}
		}
		for i, p := range periods {
			if len(b.spent[i]) > slotsOf+2 {
				t.Errorf("%d slots for a %s", len(b.spent[i]), p.name)
			}
		}
		if len(log) < 500 {
			t.Errorf("seed %d: only %d went", seed, len(log))
		}
	}
}

// What is sent as fast as it may be comes near the limit.
func TestBudgetIsUsed(t *testing.T) {
	b := budget{limits: Limits{PerMinute: 30}}
	now, sent := time.Unix(1e9, 0), 0
	for range 3600 {
		for b.free(now) > 0 {
			b.spend(1, now)
			sent++
		}
		now = now.Add(time.Second)
	}
	if sent < 1700 || sent > 1800 {
		t.Errorf("%d in an hour at 30 a minute", sent)
	}
}

func spend(b *bubble, name string, n int) {
	b.t.Helper()
	p, ok := b.Start(name, n)
	if !ok || p.Rcpts() != n {
		b.t.Fatalf("%s takes %d of %d", name, p.Rcpts(), n)
	}
	p.Spent(n)
	p.Done(Fault{})
}

func TestBudget(t *testing.T) {
	limited := []Target{{Limits: Limits{PerHour: 20, PerDay: 1000}}, {}}
	inBubble(t, Options{Targets: limited}, func(b *bubble) {
		spend(b, "a", 15)
		if s := b.Standing("a"); s.Room != 5 || s.Rank != Ready {
			t.Errorf("%+v", s)
		}
		// The rest is set aside, given back, and set aside for less than asked.
		p, _ := b.Start("a", 5)
		b.want("a", "up", Unusable)
		if _, ok := b.Start("a", 1); ok {
			t.Error("one more than may be")
		}
		told(b)
		p.Spent(2)
		p.Cancel()
		if s := b.Standing("a"); s.Room != 3 || !told(b) {
			t.Errorf("%+v", s)
		}
		p, ok := b.Start("a", 100)
		if !ok || p.Rcpts() != 3 {
			t.Fatalf("for %d recipients", p.Rcpts())
		}
		p.Spent(3)
		p.Done(Fault{})
		b.want("a", "limited", Unusable)
		s := b.Status()[0]
		if s.Preferred || !s.Since.Equal(time.Now()) || s.Why != "20 of 20 recipients an hour are used (limits.per_hour)" {
			t.Errorf("%+v", s)
		}
		// 15 of them were the first.
		if want := time.Now().Add(time.Hour + time.Minute); !s.Until.Equal(want) || len(s.Budget) != 2 || s.Budget[0] != (Budget{"hour", 20, 0, s.Until}) || s.Budget[1] != (Budget{Per: "day", Limit: 1000, Left: 980}) {
			t.Errorf("%+v", s)
		}
		if !strings.Contains(b.logs.String(), "level=INFO msg=upstream upstream=a state=limited") {
			t.Error(b.logs)
		}
		told(b)
		b.wait(time.Hour + time.Minute - time.Second)
		b.want("a", "limited", Unusable)
		b.wait(time.Second)
		if b.want("a", "up", Ready); !told(b) {
			t.Error("nobody hears that some is free")
		}
		if s := b.Standing("a"); s.Room != 20 {
			t.Errorf("%+v", s)
		}
	})
}

// Other limits count at once, and know what was sent before there were any.
func TestOtherLimits(t *testing.T) {
	inBubble(t, Options{}, func(b *bubble) {
		target := func(l Limits) []Target { return []Target{{Name: "a", Probe: b.a.probe, Limits: l}} }
		spend(b, "a", 100)
		if s := b.Standing("a"); s.Room != 0 || s.Rank != Ready || b.Status()[0].Budget != nil {
			t.Errorf("%+v", s)
		}
		for _, c := range []struct {
			limits Limits
			rank   Rank
			room   int
		}{
			{Limits{PerDay: 100}, Unusable, 0},
			{Limits{PerDay: 105}, Ready, 5},
			{Limits{PerDay: 50}, Unusable, 0},
			{Limits{}, Ready, 0},
		} {
			told(b)
			b.Set(target(c.limits), Settings{})
			if s := b.Standing("a"); s.Rank != c.rank || s.Room != c.room || !told(b) {
				t.Errorf("%+v: %+v", c.limits, s)
			}
		}
	})
}

// A limit of a minute sets the pace: it is no news.
func TestPaceIsNoNews(t *testing.T) {
	inBubble(t, Options{Targets: []Target{{Limits: Limits{PerMinute: 2}}, {}}}, func(b *bubble) {
		before := b.logs.String()
		spend(b, "a", 2)
		b.want("a", "limited", Unusable)
		b.wait(62 * time.Second)
		b.want("a", "up", Ready)
		if after := b.logs.String(); after != before {
			t.Error(strings.TrimPrefix(after, before))
		}
	})
}

func TestBudgetOutlivesARestart(t *testing.T) {
	file := filepath.Join(t.TempDir(), "health.json")
	limited := Options{File: file, Targets: []Target{{Limits: Limits{PerDay: 10}}, {}}}
	inBubble(t, limited, func(b *bubble) {
		b.wait(time.Hour)
		spend(b, "a", 6)
		b.Start("a", 3) // under way at the end: it may have been sent
	})
	// The clock was set back by an hour.
	inBubble(t, limited, func(b *bubble) {
		if s := b.Standing("a"); s.Room != 1 {
			t.Errorf("%+v", s)
		}
		spend(b, "a", 1)
		b.want("a", "limited", Unusable)
		if until := b.Status()[0].Until; !until.Equal(time.Now().Add(24*time.Hour + 24*time.Minute)) {
			t.Errorf("limited until %v", until)
		}
	})
	// So it is while it runs.
	inBubble(t, Options{Targets: limited.Targets}, func(b *bubble) {
		spend(b, "a", 10)
		b.mu.Lock()
		b.rewind(100 * time.Hour)
		b.mu.Unlock()
		b.wait(0)
		if until := b.Status()[0].Until; until.After(time.Now()) {
			t.Errorf("limited until %v", until)
		}
	})
}

// told says whether dispatch was called since it was last asked.
func told(b *bubble) bool {
	select {
	case <-b.Changed():
		return true
	default:
		return false
	}
}

// Of each limit all but the last fifth is to spare, whichever has the least left.
func TestBudgetToSpare(t *testing.T) {
	now := time.Unix(1e9, 0)
	b := budget{limits: Limits{PerMinute: 10, PerHour: 100}}
	for _, step := range []struct {
		after      time.Duration
		spend, set int // set: aside
		spare      int
	}{
		{spend: 7, spare: 1},
		{spend: 0, set: 1},
		{spend: 0, set: 0, spare: 1},
		{spend: 2},
		{after: 62 * time.Second, spare: 8},
		{after: time.Minute, spend: 71},
		{after: 2 * time.Minute}, // of the hour
		{after: time.Hour, spare: 8},
	} {
		now = now.Add(step.after)
		b.spend(step.spend, now)
		b.aside = step.set
		if got := b.spare(now); got != step.spare {
			t.Errorf("%+v: %d to spare", step, got)
		}
	}
	if none := (budget{}); none.spare(now) != math.MaxInt {
		t.Error("where there is no limit, not all is to spare")
	}
}
