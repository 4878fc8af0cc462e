package health

import "time"

// breaker keeps mail from an upstream that does not serve us. Its zero value
// is closed: mail may pass.
type breaker struct {
	Kind     Kind      `json:"kind,omitempty"`
	Reason   string    `json:"reason,omitempty"`
	Since    time.Time `json:"since,omitzero"` // the first failure of this run
	Until    time.Time `json:"until,omitzero"` // then one delivery may try
	Failures int       `json:"failures,omitempty"`
}

func (b breaker) closed() bool { return b.Kind == None }

// open says that nothing may pass. A breaker neither closed nor open lets one
// delivery through.
func (b breaker) open(now time.Time) bool { return !b.closed() && now.Before(b.Until) }

// charge counts a login as failed before it is made, for a crash in between
// must not give another one at the next start.
func (b breaker) charge(now time.Time) breaker {
	b.Failures++
	b.Until = now.Add(coolDown(Account, b.Failures))
	return b
}

// refund takes that back: it never came to the login.
func (b breaker) refund(now time.Time) breaker {
	if b.Kind == Account {
		b.Failures, b.Until = max(0, b.Failures-1), now
	}
	return b
}

// longest bounds what a server can tell us to wait: after it one delivery
// finds out whether that was meant.
const longest = 24 * time.Hour

// fail opens the breaker.
func (b breaker) fail(f Fault, trial bool, now time.Time) breaker {
	next := breaker{Kind: f.Kind, Reason: f.Reason, Since: now, Failures: 1}
	switch {
	case b.closed():
	case trial && b.Kind == Account && (f.Kind == Account || f.Kind == Session):
		// Charged before. A session that ended early may have been the
		// server's way to refuse the login.
		b.Reason = f.Reason
		return b
	case trial && f.Kind == b.Kind:
		next.Since, next.Failures = b.Since, b.Failures+1
	case !trial && gravity(f.Kind) <= gravity(b.Kind):
		// Of many deliveries that fail together only the first is counted.
		b.Until = sooner(later(b.Until, f.Until), now.Add(longest))
		return b
	}
	next.Until = now.Add(coolDown(next.Kind, next.Failures))
	if f.Until.After(now) {
		next.Until = f.Until
	}
	if !trial {
		next.Until = later(next.Until, b.Until)
	}
	next.Until = sooner(next.Until, now.Add(longest))
	return next
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

func sooner(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

// gravity orders the kinds by how much a person must do about them. Place is
// below what another network does not cure.
func gravity(k Kind) int {
	switch k {
	case Account:
		return 4
	case Policy:
		return 3
	case Quota:
		return 2
	case Place:
		return 1
	}
	return 0
}

// coolDown is the wait after so many failures in a row.
func coolDown(k Kind, failures int) time.Duration {
	switch k {
	case Quota, Policy, Place:
		return doubled(15*time.Minute, 4*time.Hour, failures-1)
	case Account:
		// Providers lock accounts after a few bad logins: two in the first
		// hour, six in a day.
		if failures <= 1 {
			return time.Minute
		}
		return doubled(time.Hour, 24*time.Hour, failures-2)
	}
	return doubled(5*time.Second, 5*time.Minute, failures-1)
}

func doubled(d, most time.Duration, times int) time.Duration {
	for ; times > 0 && d < most; times-- {
		d *= 2
	}
	return min(d, most)
}
