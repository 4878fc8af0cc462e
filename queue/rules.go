package queue

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// MaxNotice is the most octets that the body of a spawned notice may have.
const MaxNotice = 256 << 10

// Check says what is wrong with a new message. Stores ask before they write,
// so that one bad message never fails the others of its transaction.
func (n NewMessage) Check() error {
	switch {
	case n.ID.IsZero():
		return errors.New("a message needs an ID")
	case len(n.Recipients) == 0:
		return errors.New("a message needs a recipient")
	case len(n.Body) > MaxNotice:
		return fmt.Errorf("a notice has %d octets, at most %d are allowed", len(n.Body), MaxNotice)
	}
	return n.Filing.Check()
}

// Check says whether a store can file a message there: lanes are keys.
func (f Filing) Check() error {
	if len(f.Lane) > maxLane || strings.ContainsRune(f.Lane, 0) {
		return fmt.Errorf("lane %q is too long or holds a NUL", f.Lane[:min(len(f.Lane), 60)])
	}
	return nil
}

const maxLane = 8 << 10

// Check says what is wrong with an outcome, before it is stored.
func (o Outcome) Check() error {
	for _, n := range o.Spawn {
		if err := n.Check(); err != nil {
			return fmt.Errorf("notice: %w", err)
		}
	}
	return o.Filing.Check()
}

// New builds the stored message from a draft of the given size.
func (n NewMessage) New(size int64) Message {
	m := Message{
		ID: n.ID, State: Queued, Accepted: wall(n.Accepted), Online: n.Online,
		ReversePath: n.ReversePath, Size: size, Content: n.Content, Return: n.Return, Notice: n.Notice,
		Client: n.Client, Filing: Filing{Lane: n.Lane, Due: wall(n.Due), Age: wall(n.Age)},
	}
	for _, a := range n.Recipients {
		m.Recipients = append(m.Recipients, Recipient{Address: a.Address, State: Pending, Notify: a.Notify, ORcpt: a.ORcpt})
	}
	return m
}

// wall is t as it will be read back: UTC, without a monotonic reading.
func wall(t time.Time) time.Time { return t.UTC().Round(0) }

// Record stores results. A recipient that is settled keeps its standing: it is
// never offered again, so nothing later can be truer.
func (m *Message) Record(rs []RcptResult) {
	for _, r := range rs {
		if r.Index < 0 || r.Index >= len(m.Recipients) {
			continue
		}
		rc := &m.Recipients[r.Index]
		if rc.State != Pending {
			continue
		}
		rc.State, rc.Doubt, rc.Last, rc.Said = r.State, r.Doubt, r.Last, r.Said
		if rc.State != Pending {
			rc.Doubt = nil
		}
	}
}

// Settle applies the outcome of a pass, and a person's wish that waited for
// it, and gives the message its next state.
func (m *Message) Settle(o Outcome, want Want) {
	m.Record(o.Rcpts)
	m.log(o.Attempts...)
	if o.Counted {
		m.Tries++
	}
	m.Refusals, m.Barred = o.Refusals, o.Barred
	if o.Warned {
		m.Warned = o.At.UTC()
	}
	if o.Online != 0 {
		m.Online = o.Online
	}
	if want == WantDrop {
		m.end(Dropped, Answer{Text: "dropped by the operator", At: o.At})
	}
	switch {
	case len(m.Pending()) == 0:
		m.finish(o.At)
	case want == WantHold:
		m.hold(Hold{Reason: "held by the operator", By: "operator", Since: o.At.UTC()})
	case o.Hold.Reason != "":
		m.hold(o.Hold)
	default:
		m.State, m.Filing = Queued, o.Filing
	}
}

// Requeue ends a pass that sent nothing since what is known: the message waits
// again where it was, due now, and nothing is counted.
func (m *Message) Requeue(known []RcptResult, want Want, now time.Time) {
	m.Record(known)
	m.State, m.Due = Queued, now.UTC()
	m.obey(want, now)
}

// Interrupt turns a lease that outlived its process into mail that can be
// judged again: queued in the empty lane, due now. A lease that named no
// upstream sent nothing. Else what was already known is kept, and every
// recipient still pending is in doubt at the upstream the lease names; one that
// was in doubt elsewhere stays so, since it may not have been offered here.
func (m *Message) Interrupt(upstream string, rcpts []int, known []RcptResult, want Want, now time.Time) {
	m.State, m.Lane, m.Due = Queued, "", now.UTC()
	m.Record(known)
	if upstream != "" {
		for _, i := range m.Pending() {
			r := &m.Recipients[i]
			elsewhere := r.Doubt != nil && r.Doubt.Upstream != upstream // so it was not offered here
			if !elsewhere && (rcpts == nil || slices.Contains(rcpts, i)) {
				r.Doubt = &Doubt{Upstream: upstream, At: now.UTC(), Crash: true}
			}
		}
		m.log(Attempt{
			At: now.UTC(), Upstream: upstream, Rcpts: rcpts, Stage: "dot", Verdict: inDoubt, Interrupted: true,
			Why: "mailroam was stopped in the middle of this attempt; the same upstream is asked first",
		})
	}
	m.obey(want, now)
}

// Do applies a person's verb to a message that no pass owns. It reports
// whether anything changed; a verb that makes no sense in a state does nothing.
func (m *Message) Do(op Op) bool {
	switch {
	case op.Verb == OpHold && m.State == Queued:
		m.hold(Hold{Reason: op.Reason, By: op.By, Since: op.At.UTC()})
	case op.Verb == OpRelease && m.State == Held:
		at := op.At.UTC()
		m.State, m.Held, m.Released, m.Refusals = Queued, Hold{}, at, nil
		m.Filing = Filing{Due: at, Age: at}
		// Its time begins anew: what a delay notice said of its end holds no more,
		// so another may go out. Whoever files it knows the odometer.
		m.Online, m.Barred, m.Warned = 0, 0, time.Time{}
	case op.Verb == OpRetry && m.State == Queued:
		m.Lane, m.Due, m.Refusals, m.Barred = "", op.At.UTC(), nil, 0
	case op.Verb == OpFail && (m.State == Queued || m.State == Held):
		m.end(Failed, Answer{Text: op.Reason, At: op.At.UTC()})
		m.finish(op.At)
	case op.Verb == OpDrop && (m.State == Queued || m.State == Held):
		m.end(Dropped, Answer{Text: op.Reason, At: op.At.UTC()})
		m.finish(op.At)
	default:
		return false
	}
	return true
}

// obey gives a message that no pass owns any more the state it must have when
// nothing is pending or a person wished for something meanwhile.
func (m *Message) obey(want Want, now time.Time) {
	if want == WantDrop {
		m.end(Dropped, Answer{Text: "dropped by the operator", At: now.UTC()})
	}
	switch {
	case len(m.Pending()) == 0:
		m.finish(now)
	case want == WantHold:
		m.hold(Hold{Reason: "held by the operator", By: "operator", Since: now.UTC()})
	}
}

// Next is the wish on a leased message after a verb, and whether it changed.
// The last wish wins, and a release takes back a hold.
func (w Want) Next(v Verb) (Want, bool) {
	next := w
	switch {
	case v == OpHold:
		next = WantHold
	case v == OpDrop:
		next = WantDrop
	case v == OpRelease && w == WantHold:
		next = WantNothing
	}
	return next, next != w
}

// WantOf is the wish that a verb leaves on a leased message.
func WantOf(v Verb) Want {
	switch v {
	case OpHold:
		return WantHold
	case OpDrop:
		return WantDrop
	}
	return WantNothing
}

func (m *Message) hold(h Hold) { m.State, m.Held = Held, h }

func (m *Message) end(s RcptState, why Answer) {
	for _, i := range m.Pending() {
		r := &m.Recipients[i]
		r.State, r.Doubt = s, nil
		why.Upstream = r.Last.Upstream
		r.Last = why
	}
}

func (m *Message) finish(at time.Time) {
	m.State, m.Ended, m.Filing, m.Held, m.Barred = Done, at.UTC(), Filing{}, Hold{}, 0
}

// inDoubt is the verdict of attempts after which there may be a copy.
const inDoubt = "in-doubt"

// log adds to the timeline. Of a long one the first line stays, with which the
// trouble began, the last ones, which decide, and as far as there is room those
// in doubt, of which the sender must be told at the end.
func (m *Message) log(as ...Attempt) {
	m.Attempts = append(slices.Clone(m.Attempts), as...)
	for len(m.Attempts) > MaxAttempts {
		dull := func(a Attempt) bool { return a.Verdict != inDoubt }
		i := 1 + max(0, slices.IndexFunc(m.Attempts[1:len(m.Attempts)-1], dull))
		m.Attempts = slices.Delete(m.Attempts, i, i+1)
	}
}
