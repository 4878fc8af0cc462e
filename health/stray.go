package health

import "time"

// strays are the last messages that sessions may have ended badly for, the newest
// first.
type strays [2]stray

type stray struct {
	by string
	at time.Time
}

// Of so many messages within so long it is not each that is odd, but the upstream.
const (
	straysWithin = 5 * time.Minute
	straysRest   = 5 * time.Minute
)

// with notes one more, and says whether those of the time are too many now.
func (s strays) with(by string, now time.Time) (next strays, many bool) {
	next, many = strays{{by, now}}, true
	for _, old := range s {
		switch fresh := now.Sub(old.at) < straysWithin; {
		case !fresh, old.by == by:
			many = false
		case next[1] == (stray{}):
			next[1] = old
		}
	}
	return next, many
}

// strayed is for a session that may have ended badly for what was sent in it.
func (t tracker) strayed(f Fault, trial bool, now time.Time) tracker {
	var many bool
	t.strays, many = t.strays.with(f.By, now)
	switch {
	case many:
		t.Breaker = t.Breaker.fail(Fault{Kind: Session, Reason: f.Reason, Wait: straysRest}, trial, now)
	case trial: // which did not show that it serves
		t.Breaker = t.Breaker.fail(Fault{Kind: Session, Reason: f.Reason}, trial, now)
	}
	return t
}
