package dispatch

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"time"

	"mailroam/gateway/relay"
	"mailroam/queue"
)

// trip is one open pass: a claimed message on its way through its lane.
type trip struct {
	d       *Dispatcher
	config  Config
	claim   queue.Claim
	m       queue.Message // as it stands now
	o       queue.Outcome
	slot    *slot // at the upstream asked now
	spare   *slot // left by a hedge, for the next step
	tried   []string
	hold    string // why a person must decide
	relayed []int  // recipients whose sender is to be told that they were passed on
	stop    error  // why the pass ended before its time: no fault of an upstream
	era     int    // d.era as it began
}

func (d *Dispatcher) pass(ctx context.Context, c queue.Claim) {
	d.mu.Lock()
	d.sort(&c.Message, time.Now())
	t := &trip{d: d, config: d.config, claim: c, m: c.Message, slot: &slot{d: d, upstream: c.Upstream}, era: d.era}
	d.mu.Unlock()
	t.config = t.config.knowing()
	t.m.Recipients = slices.Clone(c.Recipients)
	defer t.leave()

	now := d.now()
	if c.InDoubt() != "" {
		now.Locked = d.locked()
	}
	o, event, send := t.config.Decide(c, now)
	if !send {
		t.o = o
		t.end(ctx, event)
		return
	}
	t.o = queue.Outcome{Refusals: t.m.Refusals, Barred: t.m.Barred}
	for t.stop == nil && t.hold == "" && t.next() {
		t.deliver(ctx)
	}
	if len(t.o.Attempts) == 0 && ctx.Err() != nil {
		t.giveBack()
		return
	}
	t.file(ctx)
	t.end(ctx, "")
}

// next moves to the best upstream that has not been asked and has a free slot.
// The claim brings the slot of the lease's upstream, which is asked first if it
// still may be: the lease can be older than the configuration. So does a hedge
// that was chosen.
func (t *trip) next() bool {
	now := time.Now()
	t.d.mu.Lock()
	defer t.d.mu.Unlock()
	t.dropSpare()
	left := t.left(now)
	if slices.Contains(left, t.slot.upstream) {
		return true
	}
	u := t.d.first(left)
	if u == "" || t.d.free(u) <= 0 {
		return false
	}
	t.slot.giveBack()
	t.slot = t.d.take(u)
	return true
}

// rcpts lists whom upstream u is to be asked for.
func (t *trip) rcpts(u string, now time.Time) []int {
	return slices.DeleteFunc(t.config.Routes.askable(&t.m, u), func(i int) bool { return t.config.rests(&t.m, i).After(now) })
}

// left lists who can still be asked in this pass. The caller holds the
// dispatcher's mutex.
func (t *trip) left(now time.Time) []string {
	return slices.DeleteFunc(t.config.Routes.Eligible(&t.m), func(n string) bool {
		refused := func(r queue.Refusal) bool { return r.Upstream == n && r.Until.After(now) }
		return slices.Contains(t.tried, n) || slices.ContainsFunc(t.o.Refusals, refused) || len(t.rcpts(n, now)) == 0 || t.blocked(n, now)
	})
}

// blocked notes as a refusal that an upstream relays nothing for this sender.
// Who is in doubt there asks all the same, and so does who would go back to its
// sender else: not without having been refused itself.
func (t *trip) blocked(upstream string, now time.Time) bool {
	b, known := t.d.senders.now(upstream, t.m.ReversePath, now)
	if !known || slices.ContainsFunc(t.rcpts(upstream, now), func(i int) bool { return t.m.Recipients[i].Doubt != nil }) {
		return false
	}
	if t.m.Barred != 0 && t.d.Health.Odometer()-t.m.Barred >= t.config.PolicyHold {
		return false
	}
	t.refused(queue.Refusal{Upstream: upstream, Until: b.until.UTC(), Perm: true, Place: true, Answer: b.answer(upstream)})
	return true
}

func (t *trip) refused(r queue.Refusal) {
	t.o.Refusals = append(slices.DeleteFunc(slices.Clone(t.o.Refusals), func(o queue.Refusal) bool { return o.Upstream == r.Upstream }), r)
}

// leave gives back what slots the trip has, once.
func (t *trip) leave() {
	t.d.mu.Lock()
	defer t.d.mu.Unlock()
	t.slot.giveBack()
	t.dropSpare()
}

// dropSpare gives back the slot that a hedge left. The caller holds the
// dispatcher's mutex.
func (t *trip) dropSpare() {
	if t.spare != nil {
		t.spare.giveBack()
		t.spare = nil
	}
}

func (t *trip) record(j Judgement) {
	j.Results = unsaid(&t.m, j.Results)
	t.m.Record(j.Results)
	for _, r := range j.Results {
		t.o.Rcpts = slices.DeleteFunc(t.o.Rcpts, func(o queue.RcptResult) bool { return o.Index == r.Index })
		t.o.Rcpts = append(t.o.Rcpts, r)
	}
	for _, r := range j.Refusals {
		t.refused(r)
	}
	t.o.Attempts = append(t.o.Attempts, j.Attempts...)
	t.o.Counted = t.o.Counted || j.Counted
	t.hold = cmp.Or(t.hold, j.Hold)
	t.relayed = append(t.relayed, j.Relayed...)
	for _, a := range j.Attempts {
		if a.Verdict != string(relay.Delivered) {
			t.d.logAttempt(&t.m, a)
		}
	}
	t.config = t.config.knowing() // it may have learnt something of the upstream
}

// file decides where the pending rest waits.
func (t *trip) file(ctx context.Context) {
	now := t.d.now()
	t.o.Refusals = slices.DeleteFunc(slices.Clone(t.o.Refusals), func(r queue.Refusal) bool { return !r.Until.After(now.Time) })
	if errors.Is(t.stop, queue.ErrCorrupt) || errors.Is(t.stop, queue.ErrNotFound) {
		t.o.Hold = t.config.hold("its body is damaged on disk and cannot be sent; drop it, and check the disk", now)
	}
	if errors.Is(t.stop, errLargeHeader) {
		t.o.Hold = t.config.hold("it is to be sent with another author, and its header is too large to be changed", now)
	}
	if t.hold != "" {
		t.o.Hold = t.config.hold(t.hold, now)
	}
	due := now.Time
	switch {
	case errors.Is(t.stop, relay.ErrRoamed): // at once, by the new way
	case errors.Is(t.stop, queue.ErrHeld), errors.Is(t.stop, queue.ErrDropped), ctx.Err() != nil:
	case t.stop != nil: // charged to nobody
		due = now.Time.Add(time.Minute)
		t.d.Log.Warn("alert", "id", t.m.ID, "text", "it could not be sent for a fault of this machine: "+queue.Printable(t.stop.Error(), maxText))
	case len(t.o.Attempts) == 0: // the upstream was lost between claim and pass
		due = now.Time.Add(soon)
	}
	if len(t.o.Attempts) > 0 {
		t.o = t.config.spaced(&t.m, t.o, now)
	}
	t.o = t.config.refile(&t.m, t.o, due, now)
}

// giveBack returns the message as it was.
func (t *trip) giveBack() {
	if err := t.d.Session.Requeue(context.Background(), t.claim); err != nil {
		t.d.Log.Warn("settle-retry", "id", t.m.ID, "text", "the lease ends with the next start: "+err.Error())
	}
}
