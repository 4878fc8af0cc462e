package dispatch

import (
	"bufio"
	"context"
	"errors"
	"io"
	"slices"
	"time"

	"mailroam/gateway/relay"
	"mailroam/health"
	"mailroam/queue"
)

// trip is one open pass: a claimed message on its way through its lane.
type trip struct {
	d      *Dispatcher
	config Config
	claim  queue.Claim
	m      queue.Message // as it stands now
	o      queue.Outcome
	at     string // the upstream asked now; "" for a claim that must not send
	gone   bool   // the slot was given back
	begun  bool   // it is counted as asking
	tried  []string
	rests  []int // recipients that ask nobody else in this pass
	later  bool
	stop   error // why the pass ended before its time: a fault of ours
}

func (d *Dispatcher) pass(ctx context.Context, c queue.Claim) {
	d.mu.Lock()
	config := d.config
	d.mu.Unlock()
	t := &trip{d: d, config: config, claim: c, m: c.Message, at: c.Upstream}
	t.m.Recipients = slices.Clone(c.Recipients)
	defer t.leave()

	o, event, send := config.Decide(c, d.now())
	if !send {
		t.o = o
		t.end(ctx, event)
		return
	}
	t.o = queue.Outcome{Refusals: t.m.Refusals}
	for t.stop == nil && t.next() {
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
// still may be: the lease can be older than the configuration.
func (t *trip) next() bool {
	now := time.Now()
	t.d.mu.Lock()
	defer t.d.mu.Unlock()
	left := t.left(now)
	if len(t.tried) == 0 && slices.Contains(left, t.at) {
		return true
	}
	u := t.d.first(left)
	if u == "" || t.d.free(u) <= 0 {
		return false
	}
	t.release()
	t.at = u
	t.d.slots[u]++
	return true
}

// rcpts lists whom upstream u is to be asked for.
func (t *trip) rcpts(u string) []int {
	return slices.DeleteFunc(askable(&t.m, u), func(i int) bool { return slices.Contains(t.rests, i) })
}

// left lists who can still be asked in this pass. The caller holds the
// dispatcher's mutex.
func (t *trip) left(now time.Time) []string {
	return slices.DeleteFunc(t.config.Routes.Eligible(t.m.ReversePath), func(n string) bool {
		refused := func(r queue.Refusal) bool { return r.Upstream == n && r.Until.After(now) }
		return slices.Contains(t.tried, n) || slices.ContainsFunc(t.o.Refusals, refused) || len(t.rcpts(n)) == 0 || t.blocked(n, now)
	})
}

// blocked notes as a refusal that an upstream relays nothing for this sender.
// Who is in doubt there asks all the same.
func (t *trip) blocked(upstream string, now time.Time) bool {
	until := t.d.senders.until(upstream, t.m.ReversePath, now)
	if until.IsZero() || slices.ContainsFunc(t.rcpts(upstream), func(i int) bool { return t.m.Recipients[i].Doubt != nil }) {
		return false
	}
	t.refused(queue.Refusal{Upstream: upstream, Until: until.UTC(), Perm: true, Answer: queue.Answer{Upstream: upstream, Text: "relays nothing for this sender"}})
	return true
}

func (t *trip) refused(r queue.Refusal) {
	t.o.Refusals = append(slices.DeleteFunc(slices.Clone(t.o.Refusals), func(o queue.Refusal) bool { return o.Upstream == r.Upstream }), r)
}

// release frees the upstream's slot. The caller holds the dispatcher's mutex.
func (t *trip) release() {
	if t.begun {
		t.d.begun[t.at]--
		t.begun = false
	}
	t.d.release(t.at)
}

// begin counts as asking the upstream from now on.
func (t *trip) begin() {
	t.d.mu.Lock()
	defer t.d.mu.Unlock()
	t.d.begun[t.at]++
	t.begun = true
}

// leave gives back the slot, once.
func (t *trip) leave() {
	t.d.mu.Lock()
	defer t.d.mu.Unlock()
	if t.gone {
		return
	}
	t.gone = true
	if t.at != "" {
		t.release()
		return
	}
	t.d.filing--
	if t.d.filing == maxFiling-1 {
		t.d.wake()
	}
}

// stay takes the slot again, free or not.
func (t *trip) stay() {
	t.d.mu.Lock()
	defer t.d.mu.Unlock()
	if !t.gone {
		return
	}
	t.gone = false
	if t.at != "" {
		t.d.slots[t.at]++
		return
	}
	t.d.filing++
}

// deliver asks one upstream and records what it said.
func (t *trip) deliver(ctx context.Context) {
	u := t.at
	t.tried = append(t.tried, u)
	open, ok := t.d.Health.Start(u)
	if !ok {
		return
	}
	t.begin()
	rcpts := t.rcpts(u)
	try := Try{Message: &t.m, Upstream: u, Rcpts: rcpts, At: time.Now(), Eligible: len(t.config.Routes.Eligible(t.m.ReversePath))}
	try.Result = t.config.Upstreams[u].Deliver(ctx, relay.Delivery{
		Envelope:  t.envelope(u, rcpts),
		Body:      func(ctx context.Context) (io.ReadCloser, error) { return t.d.Store.OpenBody(ctx, t.m.ID) },
		BeforeDot: t.beforeDot(u, rcpts),
		Hurry:     t.others(),
		GiveUp:    t.d.Health.Down(u),
	})
	t.stop = try.Result.Stopped
	try.Rcpts, try.Result.Rcpts = answered(rcpts, try.Result.Rcpts)
	now := t.d.now()
	j := t.config.Judge(try, now)
	t.record(j)
	if f := t.charge(u, j, now.Time); f.OK() && !try.Result.Served {
		open.Cancel() // we broke it off: that says nothing about the upstream
	} else {
		open.Done(f)
	}
}

// answered leaves out the recipients for whom we stopped before the dot: about
// them the upstream said nothing.
func answered(rcpts []int, rs []relay.RcptResult) (is []int, kept []relay.RcptResult) {
	for k, r := range rs {
		if !errors.Is(r.Err, relay.ErrStopped) {
			is, kept = append(is, rcpts[k]), append(kept, r)
		}
	}
	return is, kept
}

// charge adds to the judgement's fault what only many messages together show.
func (t *trip) charge(u string, j Judgement, now time.Time) health.Fault {
	t.d.mu.Lock()
	defer t.d.mu.Unlock()
	switch {
	case j.Accepted:
		t.d.senders.accept(u, t.m.ReversePath)
	case j.Sender && t.d.senders.refuse(u, t.m.ReversePath, now) && j.Fault.OK():
		return health.Fault{Kind: health.Policy, Reason: "relays for none of several senders: " + j.Attempts[0].Text}
	}
	return j.Fault
}

func (t *trip) envelope(u string, rcpts []int) relay.Envelope {
	e := relay.Envelope{ReversePath: t.config.Routes.from(u, t.m.ReversePath), Size: t.m.Size, EightBit: t.m.EightBit}
	for _, i := range rcpts {
		e.Recipients = append(e.Recipients, t.m.Recipients[i].Address)
	}
	return e
}

// others says whether somebody else could take the message: then this one is
// not waited for as long.
func (t *trip) others() bool {
	t.d.mu.Lock()
	defer t.d.mu.Unlock()
	return t.m.InDoubt() == "" && t.d.first(t.left(time.Now())) != ""
}

// beforeDot puts on record which upstream is about to be sent the dot, and
// hears whether a person has stopped the message. The record is for everybody
// who is asked for there, since other dots may follow this one. With it goes
// what is known but for the failures: after a crash nobody would tell of them,
// so those recipients are asked for again.
func (t *trip) beforeDot(u string, rcpts []int) func(context.Context, []int, []relay.RcptResult) error {
	known := slices.DeleteFunc(slices.Clone(t.o.Rcpts), func(r queue.RcptResult) bool { return r.State == queue.Failed })
	return func(ctx context.Context, _ []int, _ []relay.RcptResult) error {
		return t.d.Session.MarkDot(ctx, t.claim, rcpts, u, known)
	}
}

func (t *trip) record(j Judgement) {
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
	t.later = t.later || j.Later
	for _, a := range j.Attempts {
		if a.Verdict != string(relay.Delivered) {
			t.d.logAttempt(&t.m, a)
		}
	}
	t.rests = append(t.rests, j.Left...)
}

// file decides where the pending rest waits.
func (t *trip) file(ctx context.Context) {
	now := t.d.now()
	t.o.Refusals = slices.DeleteFunc(slices.Clone(t.o.Refusals), func(r queue.Refusal) bool { return !r.Until.After(now.Time) })
	t.o = t.config.silent(&t.claim.Message, t.o, now)
	if errors.Is(t.stop, queue.ErrCorrupt) || errors.Is(t.stop, queue.ErrNotFound) {
		t.o.Hold = t.config.hold("its body is damaged on disk and cannot be sent; drop it, and check the disk", now)
	}
	if t.o.Hold.Reason != "" || len(t.m.Pending()) == 0 {
		return
	}
	due := now.Time
	switch {
	case t.later:
		due = now.Time.Add(t.config.Schedule.Wait(t.m.ID, t.m.Tries+1))
	case errors.Is(t.stop, queue.ErrHeld), errors.Is(t.stop, queue.ErrDropped), ctx.Err() != nil:
	case t.stop != nil: // charged to nobody
		due = now.Time.Add(time.Minute)
		t.d.Log.Warn("alert", "id", t.m.ID, "text", "it could not be sent for a fault of this machine: "+queue.Printable(t.stop.Error(), maxText))
	case len(t.o.Attempts) == 0: // the upstream was lost between claim and pass
		due = now.Time.Add(soon)
	}
	t.o = t.config.refile(&t.m, t.o, due, now)
}

// giveBack returns the message as it was.
func (t *trip) giveBack() {
	if err := t.d.Session.Requeue(context.Background(), t.claim); err != nil {
		t.d.Log.Warn("settle-retry", "id", t.m.ID, "text", "the lease ends with the next start: "+err.Error())
	}
}

// header reads the header section for a notice.
func (d *Dispatcher) header(ctx context.Context, id queue.ID) []byte {
	body, err := d.Store.OpenBody(ctx, id)
	if err != nil {
		return nil // a notice without it is still a notice
	}
	defer body.Close()
	var head []byte
	for r := bufio.NewReader(io.LimitReader(body, 64<<10)); ; {
		line, err := r.ReadSlice('\n')
		if err != nil || len(line) <= 2 {
			return head
		}
		head = append(head, line...)
	}
}
