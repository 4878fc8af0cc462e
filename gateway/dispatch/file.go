package dispatch

import (
	"slices"
	"time"

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

	// Mail in doubt goes back to the upstream that may hold it. After a loss
	// that was witnessed that upstream first gets time to show what it did with
	// the copy; a provider that recognises a repeated message needs minutes.
	doubtRetry   = 10 * time.Minute
	doubtRelease = 2 * time.Hour // online, then another upstream may be asked
	// After a crash there is nothing to wait for but the upstream itself.
	crashRelease = 15 * time.Minute // online
	crashAgain   = time.Minute      // between two refusals that together release

	soon = time.Second // the least distance of a next look, so that nothing spins
	// The same for times counted online: offline they do not come nearer.
	offline = 10 * time.Second
)

// Now is what a decision may know about the moment.
type Now struct {
	Time   time.Time
	Online time.Duration // odometer
}

// File says where pending mail waits: in the lane of those upstreams that can
// take its next step. Upstreams that refuse it for a while are left out, so
// mail refused by one waits for the others without a timer; when all refuse it,
// it waits for the first to be asked again. ok is false when no upstream may
// ever send it; mail in doubt at an upstream that is gone waits for its release
// before that is said.
func (p Policy) File(m *queue.Message, refusals []queue.Refusal, due time.Time, now Now) (f queue.Filing, ok bool) {
	names := p.Routes.next(m)
	if len(names) == 0 && m.InDoubt() == "" {
		return f, false
	}
	open := slices.Clone(names)
	var ends []time.Time
	for _, r := range refusals {
		if r.Until.After(now.Time) && slices.Contains(names, r.Upstream) {
			open = slices.DeleteFunc(open, func(n string) bool { return n == r.Upstream })
			ends = append(ends, r.Until)
		}
	}
	f.Age = p.age(m, now)
	switch {
	case len(ends) == 0:
	case len(open) == 0:
		open = names
		due = latest(due, slices.MinFunc(ends, time.Time.Compare))
	default:
		f.Age = earliest(f.Age, slices.MinFunc(ends, time.Time.Compare))
	}
	f.Lane, f.Due = p.Routes.lane(open), due.UTC()
	f.Age = latest(f.Age, now.Time.Add(soon)).UTC()
	return f, true
}

// age is the earliest wall time at which the clock alone changes something:
// a time counted online is filed as if the machine stayed online.
func (p Policy) age(m *queue.Message, now Now) time.Time {
	at := tooOld(m)
	online := func(left time.Duration) time.Time { return now.Time.Add(max(left, offline)) }
	at = earliest(at, online(p.Expire-(now.Online-m.Online)))
	for _, i := range m.Pending() {
		if d := m.Recipients[i].Doubt; d != nil {
			at = earliest(at, online(p.doubtWait(m, d)-(now.Online-d.Online)))
		}
	}
	return at
}

// doubtWait is how long, online, only the upstream in doubt is asked.
func (p Policy) doubtWait(m *queue.Message, d *queue.Doubt) time.Duration {
	// One that is gone from the configuration, or from this sender, may come back.
	if d.Crash || !slices.Contains(p.Routes.Eligible(m), d.Upstream) {
		return crashRelease
	}
	return doubtRelease
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
