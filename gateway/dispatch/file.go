package dispatch

import (
	"slices"
	"time"

	"mailroam/gateway/relay"
	"mailroam/queue"
)

// Policy is what the configuration says about waiting and giving up.
type Policy struct {
	Routes     Routes
	Schedule   Schedule
	Expire     time.Duration // time online, then a bounce
	Warn       time.Duration // by the clock, then a delay notice; 0: none
	PolicyHold time.Duration // time online for mail that all refuse for its sender or by policy, then a bounce
	// What to do in the cases where people may differ; "" is the first.
	InDoubt       InDoubt
	ContentReject ContentReject
	SecondOpinion SecondOpinion
	// SoftBounce: nothing bounces but by age. For trying out a configuration.
	SoftBounce bool
}

// InDoubt is what becomes of mail that an upstream may already have.
type InDoubt string

// The choices.
const (
	SameUpstream InDoubt = "same-upstream" // it alone is asked for a while
	FailOver     InDoubt = "failover"      // the next is asked at once: soon there, maybe twice
	HoldInDoubt  InDoubt = "hold"          // a person decides
)

// ContentReject is what becomes of mail that an upstream refuses for what is in
// it: spam, or a virus.
type ContentReject string

// The choices.
const (
	BounceContent   ContentReject = "bounce"   // others would say the same, and think the worse of us
	FailOverContent ContentReject = "failover" // another one is asked, as if it were unclear whose fault it is
	HoldContent     ContentReject = "hold"     // a person decides
)

// SecondOpinion is when another upstream is asked about a refusal for good.
type SecondOpinion string

// The choices.
const (
	Unattributed SecondOpinion = "unattributed" // when it does not say whose fault it is
	Always       SecondOpinion = "always"       // also when it says that the recipient is unknown
	NeverAsk     SecondOpinion = "never"        // the first refusal that may be the message's fault ends it
)

// The waits that are no key of the configuration.
const (
	oldest = 30 * 24 * time.Hour // by the clock, then held for a person

	// A message that all refuse for its sender or by policy is shown to them again
	// after an hour, and then each time as long as this has gone on by then: five
	// times a day show whether anything has changed, more would look like abuse.
	barredAgain = time.Hour
	// warnOnline is what mail needs, at most, to leave after a time offline: a
	// notice of its delay before that would be overtaken by it.
	warnOnline = 5 * time.Minute

	// After a crash there is nothing to wait for but the upstream itself.
	crashRelease = 15 * time.Minute // online
	crashAgain   = time.Minute      // between two refusals that together release

	soon = time.Second // the least distance of a next look, so that nothing spins
	// The same for times counted online: offline they do not come nearer.
	offline = time.Minute
)

// doubtRetry is when mail in doubt goes back to the upstream that may hold it.
// After a loss that was witnessed that upstream first gets time to show what it
// did with the copy; a provider that recognises a repeated message needs
// minutes. One whose machine did not acknowledge the dot hardly has it.
func doubtRetry(d *queue.Doubt) time.Duration {
	if d.Unacked {
		return time.Minute
	}
	return 10 * time.Minute
}

// Now is what a decision may know about the moment.
type Now struct {
	Time   time.Time
	Online time.Duration // odometer
	// Locked are the upstreams that refuse our account: who may have a copy of
	// something is not waited for there.
	Locked []string
}

// File says where pending mail waits: in the lane of those upstreams that can
// take its next step. Upstreams that refuse it for a while are left out, so
// mail refused by one waits for the others without a timer; when all refuse it,
// it waits for the first to be asked again. What is left to each recipient
// counts for itself: one whose mailbox is busy keeps no other from an upstream
// that comes back. ok is false when no upstream may ever send it; mail in doubt
// at an upstream that is gone waits for its release before that is said.
func (p Policy) File(m *queue.Message, refusals []queue.Refusal, due time.Time, now Now) (f queue.Filing, ok bool) {
	var names, open []string
	var next time.Time // the first of them may be asked, of those that may not be now
	for _, n := range p.Routes.Eligible(m) {
		from, any := p.from(m, refusals, n)
		if !any {
			continue
		}
		names = append(names, n)
		switch {
		case !from.After(now.Time):
			open = append(open, n)
		case next.IsZero() || from.Before(next):
			next = from
		}
	}
	if len(names) == 0 && m.InDoubt() == "" {
		return f, false
	}
	f.Age = p.age(m, now)
	switch {
	case next.IsZero():
	case len(open) == 0:
		open, due = names, latest(due, next)
	default:
		f.Age = earliest(f.Age, next)
	}
	f.Lane, f.Due = p.lane(m, open), due.UTC()
	f.Age = latest(f.Age, now.Time.Add(soon)).UTC()
	return f, true
}

// from is when an upstream may be asked for some recipient of m; any is false
// when it may for none.
func (p Policy) from(m *queue.Message, refusals []queue.Refusal, upstream string) (from time.Time, any bool) {
	for _, i := range p.Routes.askable(m, upstream) {
		if at := p.rests(m, i); !any || at.Before(from) {
			from, any = at, true
		}
	}
	for _, r := range refusals {
		if r.Upstream == upstream {
			from = latest(from, r.Until)
		}
	}
	return from, any
}

// rests is until when a recipient is put to nobody: its own side asked to wait,
// so that every upstream would meet the same.
func (p Policy) rests(m *queue.Message, i int) time.Time {
	a := m.Recipients[i].Last
	if a.Scope != string(relay.ScopeRecipient) || a.Permanent() {
		return time.Time{}
	}
	return a.At.Add(p.Schedule.Wait(m.ID, m.Tries))
}

// age is the earliest wall time at which the clock alone changes something:
// a time counted online is filed as if the machine stayed online.
func (p Policy) age(m *queue.Message, now Now) time.Time {
	at := tooOld(m)
	online := func(left time.Duration) time.Time { return now.Time.Add(max(left, offline)) }
	at = earliest(at, online(p.Expire-(now.Online-m.Online)))
	if p.toWarn(m) {
		warn := latest(m.Accepted, m.Released).Add(p.Warn)
		if left := warnOnline - (now.Online - m.Online); left > 0 {
			warn = latest(warn, online(left))
		}
		at = earliest(at, warn)
	}
	if m.Barred != 0 && p.PolicyHold < p.Expire && p.outvoted(m) != nil {
		at = earliest(at, online(p.PolicyHold-(now.Online-m.Barred)))
	}
	for _, i := range m.Pending() {
		if d := m.Recipients[i].Doubt; d != nil {
			at = earliest(at, online(p.doubtWait(m, d, now)-(now.Online-p.doubtSince(m, d))))
		}
	}
	return at
}

// toWarn says that the sender is still to be told of a delay, when it has come
// to that.
func (p Policy) toWarn(m *queue.Message) bool {
	return p.Warn > 0 && m.Warned.IsZero() && m.ReversePath != ""
}

// doubtWait is how long, online, only the upstream in doubt is asked.
func (p Policy) doubtWait(m *queue.Message, d *queue.Doubt, now Now) time.Duration {
	switch {
	case p.InDoubt == FailOver, slices.Contains(now.Locked, d.Upstream):
		return 0
	case d.Crash, d.Unacked,
		!slices.Contains(p.Routes.Eligible(m), d.Upstream): // it may come back to the configuration, or to this sender
		return crashRelease
	}
	return 2 * time.Hour
}

// doubtSince is the odometer from which that counts. Mail that was held for its
// doubt was let go to be asked for there, so the time that it was held is none
// that its upstream had.
func (p Policy) doubtSince(m *queue.Message, d *queue.Doubt) time.Duration {
	if p.InDoubt == HoldInDoubt {
		return max(d.Online, m.Online)
	}
	return d.Online
}

// tooOld is when mail has waited so long by the clock that only a person can
// say whether it is still wanted.
func tooOld(m *queue.Message) time.Time { return latest(m.Accepted, m.Released).Add(oldest) }

func earliest(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

func latest(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}
