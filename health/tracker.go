package health

import "time"

// reach is whether an upstream answers.
type reach string

const (
	unknown reach = "unknown"
	up      reach = "up"
	suspect reach = "suspect"
	down    reach = "down"
)

// tracker is all that is known of one upstream. It is a value: observe gives
// the next one.
type tracker struct {
	Reach reach     `json:"reach"`
	Since time.Time `json:"since"` // of Reach
	// Kind and Why are the latest fault while Reach is suspect or down.
	Kind Kind   `json:"kind,omitempty"`
	Why  string `json:"why,omitempty"`
	// Owed are the passes until an upstream that was down is preferred again.
	Owed     int       `json:"owed,omitempty"`
	LastGood time.Time `json:"last_good,omitzero"`
	Breaker  breaker   `json:"breaker,omitzero"`
	Fewer    fewer     `json:"fewer,omitzero"`

	easing easing
	vain   int // deliveries that failed where a probe had just passed, since one was served
	strays strays
	// fell: it was down in this network, and failback asks for it.
	fell bool
	// generation rises when what is under way stops to matter.
	generation int
}

// observation is what a probe or a delivery found.
type observation struct {
	probe      bool
	trial      bool // the one delivery that a breaker on trial let through
	generation int  // in which it began; none: it does not speak of now
	underWay   int  // deliveries there, with this one
	fault      Fault
}

// none is the generation of what speaks of no time that matters.
const none = -1

// observe is the reach machine, with the breaker's beside it.
func (t tracker) observe(o observation, now time.Time, rise int) tracker {
	stale := o.generation != t.generation
	switch f := o.fault; {
	case f.OK():
		return t.passed(o, now, rise)
	case o.probe && stale:
	case o.probe && t.Reach != suspect && t.Reach != down:
		t = t.doubt(f, now, rise)
	case o.probe:
		t = t.move(down, f, now)
		t.Owed = rise
	case f.Kind == Network || f.Kind == Identity || f.Sign != NoSign:
		if o.trial {
			t.Breaker = t.Breaker.refund(now)
		}
		if !stale {
			t = t.failed(f, o.trial, now)
			t.Owed = rise
		}
	case stale && (f.Kind == Session || f.Kind == Message || f.Kind == Place || f.Kind == Connections):
		// A connection that broke in a time of trouble says nothing new, nor
		// does a refusal for where we were. What was told about the account
		// or its limits holds wherever we are.
	case f.Kind == Message:
		t = t.strayed(f, o.trial, now)
	case f.Kind == Connections:
		t.Fewer = t.Fewer.refused(o.underWay, now)
		// None at all is the last that helps: somebody else has them.
		if o.trial || o.underWay <= 1 {
			t.Breaker = t.Breaker.fail(f, o.trial, now)
		}
	default:
		t.Breaker = t.Breaker.fail(f, o.trial, now)
	}
	return t
}

// RestsUntil is until when an upstream that was well is left alone after the only
// delivery there ended with f; zero where that is for a probe to say, or never so.
func RestsUntil(f Fault, now time.Time) time.Time {
	t := tracker{Reach: unknown}.observe(observation{fault: f, underWay: 1}, now, 1)
	if !t.Breaker.open(now) {
		return time.Time{}
	}
	return t.Breaker.Until
}

// vainFrom is how many deliveries in a row must fail where a probe had passed,
// until it is believed that probes show nothing: then the breaker keeps the next
// one away, which else would follow each probe.
const vainFrom = 3

// failed is for a delivery that did not get as far as probes do.
func (t tracker) failed(f Fault, trial bool, now time.Time) tracker {
	if t.Reach == up && f.Sign == NoSign {
		if t.vain++; t.vain >= vainFrom {
			t.Breaker = t.Breaker.fail(Fault{Kind: Session, Reason: f.Reason}, trial, now)
		}
	}
	return t.move(down, f, now)
}

func (t tracker) passed(o observation, now time.Time, rise int) tracker {
	t.LastGood = now
	if o.trial {
		t.Breaker, t.easing = breaker{}, easing{most: 1, beside: max(0, o.underWay-1), began: now}
	}
	if !o.probe {
		t.easing, t.vain = t.easing.served(), 0
	}
	switch {
	case o.generation != t.generation:
	case t.Reach == up:
		t.Owed = max(0, t.Owed-1)
	case t.Reach != down:
		t = t.move(up, Fault{}, now)
		t.Owed = max(0, t.Owed-1)
	case o.probe:
		t = t.move(up, Fault{}, now)
		t.Owed = rise - 1
		t.easing = easing{most: 1}
		// What began before now may still fail of the trouble that is over.
		t.generation++
	default:
		// The delivery was served on a connection made before; whether new
		// ones come about is what probes find out.
	}
	return t
}

// doubt makes suspect what was thought to answer.
func (t tracker) doubt(f Fault, now time.Time, rise int) tracker {
	t = t.move(suspect, f, now)
	if t.Owed > 0 {
		t.Owed = rise
	}
	return t
}

func (t tracker) move(to reach, f Fault, now time.Time) tracker {
	if t.Reach != to {
		t.Since = now
	}
	t.Reach, t.Kind, t.Why = to, f.Kind, f.Reason
	t.fell = t.fell || to == down
	return t
}

// anew forgets how the upstream was reached, for that was the network's
// affair.
func (t tracker) anew(now time.Time) tracker {
	t = t.move(unknown, Fault{}, now)
	t.Owed, t.fell, t.vain, t.strays, t.easing = 0, false, 0, strays{}, easing{} // the network was away, not the upstream
	t.generation++
	return t
}

// roam is anew in another network, where the breaker forgives, too.
func (t tracker) roam(now time.Time) tracker {
	t.Breaker = t.Breaker.elsewhere(now)
	return t.anew(now)
}

// forgive drops what was said about the account: the secret or the config is
// another one now. One delivery shows whether it is the right one.
func (t tracker) forgive(now time.Time) tracker {
	if t.Breaker.suspectsLogin() {
		t.Breaker.Failures, t.Breaker.Until, t.Breaker.Logins = 0, now, logins{}
	}
	return t
}

// shift moves all times when the clock was set back: what was to last a minute
// lasts a minute.
func (t tracker) shift(by time.Duration) tracker {
	times := []*time.Time{&t.Since, &t.LastGood, &t.Breaker.Since, &t.Breaker.Until, &t.Breaker.At, &t.Fewer.Since, &t.easing.began}
	for i := range t.Breaker.Logins {
		times = append(times, &t.Breaker.Logins[i])
	}
	for i := range t.strays {
		times = append(times, &t.strays[i].at)
	}
	for _, at := range times {
		if !at.IsZero() {
			*at = at.Add(by)
		}
	}
	return t
}

// atOnce is how many deliveries there may be at a time, 0 for any number.
func (t tracker) atOnce(now time.Time) int {
	return fewest(t.easing.limit(now), t.Fewer.limit(now))
}

// rank is how good an upstream is, apart from a trial that is under way.
func (t tracker) rank(now time.Time) Rank {
	switch {
	case t.Breaker.open(now) || t.Reach == down:
		return Unusable
	case t.Reach == suspect:
		return LastResort
	case t.Owed > 0:
		return Returning
	}
	return Ready
}
