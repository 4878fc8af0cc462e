package health

import (
	"math/rand/v2"
	"time"

	"github.com/cenkalti/backoff/v4"
)

// The probes' pace, all from the start of one probe to that of the next.
const (
	quick     = time.Second      // suspect, just gone down, about to be preferred again
	quickFor  = time.Minute      // how long down is "just"
	carried   = 10 * time.Second // down, and another upstream carries the mail
	waiting   = 15 * time.Second // down, and mail waits or passed lately
	idleDown  = 5 * time.Minute  // down, and nobody asks
	idleUp    = 15 * time.Minute // up, and no mail passes
	opening   = 2 * time.Second  // down, and somebody may be logging in to the portal
	mailFlows = 5 * time.Minute  // how long mail that passed counts as lately
	// spread is the most that jitter takes off a wait, so that a bound holds
	// with jitter included.
	spread = 0.2
)

// pace is when to probe next. Two growing waits take turns in it: the one for
// down begins when the upstream goes down or mail begins to wait, the one for
// up whenever mail passes.
type pace struct {
	began  time.Time // of the growing
	last   time.Time // the start of the last probe
	wait   time.Duration
	jitter float64
	early  bool // once, the next probe comes after the shortest wait
	grow   *backoff.ExponentialBackOff
}

// newPace grows from first to most. A backoff is never stored nor shared, and
// never ends.
func newPace(began, last time.Time, first, most time.Duration, factor float64) pace {
	p := pace{began: began, last: last, grow: backoff.NewExponentialBackOff(
		backoff.WithInitialInterval(first), backoff.WithMaxInterval(most), backoff.WithMultiplier(factor),
		backoff.WithMaxElapsedTime(0), backoff.WithRandomizationFactor(0),
	)}
	p.wait, p.jitter = first, 1
	return p
}

func downPace(began, last time.Time) pace { return newPace(began, last, quick, idleDown, 1.5) }

func upPace(began, last time.Time, interval time.Duration) pace {
	return newPace(began, last, interval, idleUp, 2)
}

// probed notes the start of a probe and draws the wait after it.
func (p *pace) probed(t tracker, now time.Time) {
	p.last, p.early = now, false
	p.jitter = 1 - spread*rand.Float64()
	if t.Reach == up && t.Owed == 0 || t.Reach == down && now.Sub(p.began) >= quickFor {
		p.wait = p.grow.NextBackOff()
	}
}

// demand is what the mail asks of the probes.
type demand struct {
	wanted    bool      // mail waits for this upstream, or passed lately
	elsewhere bool      // another upstream carries it
	served    time.Time // the last delivery served by this upstream
	portal    bool      // somebody else answers, until a person has logged in
}

// due is when the next probe should start.
func (p *pace) due(t tracker, d demand, interval time.Duration) time.Time {
	if p.last.IsZero() {
		return time.Time{} // never probed: now
	}
	wait := quick
	switch {
	case t.Reach == down && d.portal:
		wait = opening
	case t.Reach == down:
		most := idleDown
		switch {
		case d.wanted && d.elsewhere:
			most = min(carried, interval)
		case d.wanted:
			most = min(waiting, interval)
		}
		wait = min(p.wait, most)
	case t.Reach == up && t.Owed == 0 && d.served.After(p.last):
		// Mail is the best probe.
		return d.served.Add(interval)
	case t.Reach == up && t.Owed == 0:
		wait = p.wait
	}
	switch {
	case !p.early:
	case t.Reach == up && t.Owed == 0:
		wait = min(wait, interval)
	default:
		wait = quick
	}
	return p.last.Add(time.Duration(float64(wait) * p.jitter))
}
