package health

import "time"

// breaker keeps mail from an upstream that does not serve us. Its zero value
// is closed: mail may pass.
type breaker struct {
	Kind     Kind      `json:"kind,omitempty"`
	Reason   string    `json:"reason,omitempty"`
	Remedy   string    `json:"remedy,omitempty"`
	Since    time.Time `json:"since,omitzero"` // the first failure of this run
	Until    time.Time `json:"until,omitzero"` // then one delivery may try
	Failures int       `json:"failures,omitempty"`
	// Wait is the first cool-down where the last failure asked for its own.
	Wait time.Duration `json:"wait,omitempty"`
	At   time.Time     `json:"at,omitzero"` // of the last failure
	// Logins are the last with a secret that was refused, the newest first.
	Logins logins `json:"logins,omitzero"`
}

// logins are as many as are allowed in a day.
type logins [6]time.Time

func (l logins) with(now time.Time) logins {
	copy(l[1:], l[:])
	l[0] = now
	return l
}

// without the newest. The one that it had pushed out was more than a day old.
func (l logins) without() logins {
	copy(l[:], l[1:])
	l[len(l)-1] = time.Time{}
	return l
}

// again is when one more may be made with the same secret, whoever asks for it:
// providers lock accounts after a few bad ones, so there are two in any hour and
// six in any day.
func (l logins) again() time.Time {
	t := time.Time{}
	if at := l[1]; !at.IsZero() {
		t = at.Add(time.Hour)
	}
	if at := l[len(l)-1]; !at.IsZero() {
		t = later(t, at.Add(24*time.Hour))
	}
	return t
}

func (b breaker) closed() bool { return b.Kind == None }

// open says that nothing may pass. A breaker neither closed nor open lets one
// delivery through.
func (b breaker) open(now time.Time) bool { return !b.closed() && now.Before(b.Until) }

// suspectsLogin says that the next delivery may meet a secret that was refused.
// So it may when the last one met something else: "too many logins" is no
// refusal of the secret, and no acceptance.
func (b breaker) suspectsLogin() bool { return b.Kind == Account || !b.Logins[0].IsZero() }

// charge counts a login as failed before it is made, for a crash in between
// must not give another one at the next start.
func (b breaker) charge(now time.Time) breaker {
	b.Logins = b.Logins.with(now)
	if b.Kind == Account {
		b.Failures++
		b.Until = now.Add(coolDown(Account, b.Wait, b.Failures))
	}
	b.Until = later(b.Until, b.Logins.again())
	return b
}

// refund takes that back: it never came to the login.
func (b breaker) refund(now time.Time) breaker {
	if !b.suspectsLogin() {
		return b
	}
	b.Logins, b.Until = b.Logins.without(), now
	if b.Kind == Account {
		b.Failures = max(0, b.Failures-1)
	}
	return b
}

// pardon lets one delivery try now: a person may have mended what is wrong. It
// does not make the next wait longer, and comes once a minute at most. A secret
// that was refused is not tried more often for it.
func (b breaker) pardon(now time.Time) breaker {
	if !b.open(now) {
		return b
	}
	next := later(later(now, b.At.Add(time.Minute)), b.Logins.again())
	if next.Before(b.Until) {
		b.Until = next
		if b.Kind != Account {
			b.Failures = max(0, b.Failures-1)
		}
	}
	return b
}

// elsewhere is what is left in another network, where what was refused for the
// place we were in, and sessions that broke there, are forgiven. A secret that was
// refused is tried no more often for it.
func (b breaker) elsewhere(now time.Time) breaker {
	switch b.Kind {
	case Session, Place, Connections:
	default:
		return b
	}
	if !b.suspectsLogin() {
		return breaker{}
	}
	b.Until = later(now, b.Logins.again())
	return b
}

// longest bounds what a server can tell us to wait: after it one delivery
// finds out whether that was meant.
const longest = 24 * time.Hour

// fail opens the breaker.
func (b breaker) fail(f Fault, trial bool, now time.Time) breaker {
	next := breaker{Kind: f.Kind, Reason: f.Reason, Remedy: f.Remedy, Since: now, Failures: 1, Wait: f.Wait, At: now, Logins: b.Logins}
	switch {
	case b.closed():
	case trial && b.Kind == Account && (f.Kind == Account || f.Kind == Session):
		// Charged before. A session that ended early may have been the
		// server's way to refuse the login.
		b.Reason, b.Remedy, b.Wait, b.At = f.Reason, f.Remedy, max(b.Wait, f.Wait), now
		b.Until = later(b.Until, sooner(f.Until, now.Add(longest)))
		return b
	case trial && f.Kind == b.Kind:
		next.Since, next.Failures = b.Since, b.Failures+1
	case !trial && gravity(f.Kind) <= gravity(b.Kind):
		// Of many deliveries that fail together only the first is counted.
		b.Until = sooner(later(b.Until, f.Until), now.Add(longest))
		return b
	}
	if charged := trial && b.suspectsLogin(); f.Kind == Account && !charged {
		next.Logins = next.Logins.with(now)
	}
	wait := coolDown(next.Kind, next.Wait, next.Failures)
	if next.Failures > 1 {
		wait = max(wait, f.Again)
	}
	next.Until = now.Add(wait)
	switch {
	case f.Kind == Account:
		next.Until = later(next.Until, f.Until)
	case f.Until.After(now):
		next.Until = f.Until
	}
	if !trial {
		next.Until = later(next.Until, b.Until)
	}
	next.Until = later(sooner(next.Until, now.Add(longest)), next.Logins.again())
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

// coolDown is the wait after so many failures in a row, of which the first asks
// for wait, or for its kind's own where that is 0.
func coolDown(k Kind, wait time.Duration, failures int) time.Duration {
	switch {
	case wait == 0:
	case k == Account:
		return max(doubled(wait, longest, failures-1), coolDown(k, 0, failures))
	case k == Session || k == Connections:
		return doubled(wait, max(wait, 5*time.Minute), failures-1)
	case wait < time.Hour: // who asks for minutes is not left alone for a day
		return doubled(wait, time.Hour, failures-1)
	default:
		return doubled(wait, longest, failures-1)
	}
	switch k {
	case Connections:
		return doubled(30*time.Second, 5*time.Minute, failures-1)
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
