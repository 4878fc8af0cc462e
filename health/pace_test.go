package health

import (
	"testing"
	"time"
)

// walk probes a tracker as the loop would and gives the gaps between starts.
func walk(p pace, t tracker, d demand, interval time.Duration, n int) []time.Duration {
	now := p.due(t, d, interval)
	p.probed(t, now)
	var gaps []time.Duration
	for range n {
		next := p.due(t, d, interval)
		gaps = append(gaps, next.Sub(now))
		now = next
		p.probed(t, now)
	}
	return gaps
}

func TestPaceOfDown(t *testing.T) {
	const minute = time.Minute
	for _, c := range []struct {
		name        string
		demand      demand
		interval    time.Duration
		most, least time.Duration // of the gaps after long
	}{
		{"mail waits", demand{wanted: true}, minute, 15 * time.Second, 12 * time.Second},
		{"another carries it", demand{wanted: true, elsewhere: true}, minute, 10 * time.Second, 8 * time.Second},
		{"never above interval", demand{wanted: true}, 4 * time.Second, 4 * time.Second, 3200 * time.Millisecond},
		{"nobody asks", demand{}, minute, 5 * time.Minute, 4 * time.Minute},
	} {
		t.Run(c.name, func(t *testing.T) {
			begin := time.Unix(1e9, 0)
			gaps := walk(downPace(begin, begin), tracker{Reach: down}, c.demand, c.interval, 200)
			var since time.Duration
			var last time.Duration
			for i, g := range gaps {
				if since < minute-2*time.Second && (g > time.Second || g < 800*time.Millisecond) {
					t.Fatalf("gap %d is %v after %v, want a second", i, g, since)
				}
				if g > c.most {
					t.Fatalf("gap %d is %v after %v, want %v at most", i, g, since, c.most)
				}
				since += g
				last = g
			}
			if last < c.least {
				t.Errorf("the gaps grow to %v only", last)
			}
		})
	}
}

func TestPaceUnderAPortal(t *testing.T) {
	begin := time.Unix(1e9, 0)
	for i, g := range walk(downPace(begin, begin), tracker{Reach: down}, demand{wanted: true, portal: true}, time.Minute, 500) {
		if g > 2*time.Second || g < 1600*time.Millisecond {
			t.Fatalf("gap %d is %v", i, g)
		}
	}
}

func TestPaceOfUp(t *testing.T) {
	begin := time.Unix(1e9, 0)
	near := func(got, want time.Duration) bool { return got <= want && got >= want*8/10 }
	gaps := walk(upPace(begin, begin, time.Minute), tracker{Reach: up}, demand{}, time.Minute, 7)
	for i, want := range []time.Duration{1, 2, 4, 8, 15, 15, 15} {
		if !near(gaps[i], want*time.Minute) {
			t.Errorf("idle: gap %d is %v, want %d min: %v", i, gaps[i], want, gaps)
		}
	}
	p := upPace(begin, begin, time.Minute)
	if due := p.due(tracker{Reach: up}, demand{served: begin.Add(50 * time.Second)}, time.Minute); due != begin.Add(110*time.Second) {
		t.Errorf("mail is the best probe: due %v after the last, want 1m50s", due.Sub(begin))
	}
	for _, tr := range []tracker{{Reach: suspect}, {Reach: up, Owed: 1}} {
		if gaps := walk(p, tr, demand{served: begin.Add(time.Hour)}, time.Minute, 20); gaps[0] > time.Second || gaps[19] > time.Second {
			t.Errorf("%+v: gaps are %v, want a second", tr, gaps)
		}
	}
	for _, c := range []struct {
		name   string
		p      pace
		t      tracker
		d      demand
		within time.Duration
	}{
		{"up for hours", upPace(begin, begin, 15*time.Minute), tracker{Reach: up}, demand{}, time.Minute},
		{"down for hours", newPace(begin, begin, idleDown, idleDown, 1), tracker{Reach: down}, demand{}, time.Second},
	} {
		c.p.last = begin
		if due := c.p.due(c.t, c.d, time.Minute); due.Sub(begin) <= c.within {
			t.Errorf("%s: due after %v unasked", c.name, due.Sub(begin))
		}
		c.p.early = true
		if due := c.p.due(c.t, c.d, time.Minute); due.Sub(begin) != c.within {
			t.Errorf("%s: asked early, and due after %v, want %v", c.name, due.Sub(begin), c.within)
		}
		c.p.probed(c.t, begin.Add(c.within))
		if due := c.p.due(c.t, c.d, time.Minute); due.Sub(begin) <= 2*c.within {
			t.Errorf("%s: early twice", c.name)
		}
	}
	never := downPace(begin, time.Time{})
	if due := never.due(tracker{Reach: unknown}, demand{}, time.Minute); due.After(begin) {
		t.Errorf("never probed, and due %v", due)
	}
}
