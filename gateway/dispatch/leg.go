package dispatch

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync/atomic"
	"time"

	"mailroam/gateway/relay"
	"mailroam/health"
	"mailroam/queue"
)

// leg is one delivery of a message, at one upstream. One that was passed over
// ends by itself: what it hears is health's, and the message's no more.
type leg struct {
	d       *Dispatcher
	config  Config
	try     Try // its message is a copy, since the trip may go on without the leg
	open    health.Pass
	era     int              // d.era as it began
	learned relay.Learned    // of the upstream, as it began
	quiet   chan relay.Stage // yields when the upstream has given no sign of life for a while
	giveUp  func()           // ends the set-up
	result  chan relay.Result
	taker   atomic.Pointer[string] // the upstream that gets the body; nil while that is open
	at      relay.Stage            // of the last silence
}

// choose lets the body go to u, unless it goes elsewhere. All that could send
// it ask here, so it only ever goes on one.
func (l *leg) choose(u string) bool { return l.taker.CompareAndSwap(nil, &u) || *l.taker.Load() == u }

func (l *leg) chosen() bool { return l.taker.Load() != nil }

// leg begins to ask the upstream of the trip's slot.
func (t *trip) leg(ctx context.Context, open health.Pass, rcpts []int) *leg {
	u := t.slot.upstream
	to := t.config.Upstreams[u]
	m := t.m
	m.Recipients = slices.Clone(t.m.Recipients)
	wanted, giveUp := context.WithCancel(context.Background())
	l := &leg{
		d: t.d, config: t.config, open: open, giveUp: giveUp,
		try:     Try{Message: &m, Upstream: u, Rcpts: rcpts, At: time.Now(), Rules: to.Rules},
		learned: to.Learned(),
		quiet:   make(chan relay.Stage, 1), result: make(chan relay.Result, 1),
	}
	envelope, body, err := t.envelope(ctx, u, rcpts)
	if err != nil { // a fault of ours, so it is said as relay says one
		l.result <- stoppedBy(err, len(rcpts))
		return l
	}
	d := relay.Delivery{
		Envelope:  envelope,
		BeforeDot: t.beforeDot(u, rcpts),
		Hurry:     t.others(),
		GiveUp:    wanted.Done(),
		Begin:     func() bool { return l.choose(u) },
		OnQuiet: func(at relay.Stage) {
			select {
			case l.quiet <- at:
			default:
			}
		},
		Body: func(ctx context.Context) (io.ReadCloser, error) {
			if !l.choose(u) { // a second lock on the same door
				return nil, relay.ErrPassedOver
			}
			return body(ctx)
		},
	}
	if m.InDoubt() == "" && len(t.config.Routes.Eligible(&m)) > 1 { // mail in doubt goes nowhere else
		d.Quiet = t.config.Hedge
	}
	l.era = t.slot.ask()
	t.d.passes.Go(func() { l.result <- to.Deliver(ctx, d) })
	return l
}

// deliver asks one upstream and records what it said. While it is quiet,
// another one is got ready; when that comes first, it is asked next.
func (t *trip) deliver(ctx context.Context) {
	u := t.slot.upstream
	t.tried = append(t.tried, u)
	rcpts := t.rcpts(u, time.Now())
	open, ok := t.d.Health.Start(u, len(rcpts))
	if !ok {
		return
	}
	rcpts = rcpts[:open.Rcpts()] // the others another time, or elsewhere
	down := t.d.Health.Down(u)
	l := t.leg(ctx, open, rcpts)
	var h hedge
	for {
		select {
		case r := <-l.result:
			l.giveUp()
			t.spare = h.stop()
			t.stop = r.Stopped
			t.record(l.weigh(r))
			return
		case <-down:
			down = nil
			l.giveUp()
		case l.at = <-l.quiet:
			if h.slot == nil && !l.chosen() {
				h = t.hedge(ctx, l.at == relay.Mail)
			}
		case <-h.down:
			h.down = nil
			h.cancel()
		case err := <-h.ready:
			if err == nil && l.choose(h.slot.upstream) {
				t.passOver(l, h.slot)
				return
			}
			h.slot.leave()
			h = hedge{}
		}
	}
}

// passOver leaves a quiet leg to itself, with its slot, and goes on in another.
func (t *trip) passOver(l *leg, next *slot) {
	text, why := fmt.Sprintf("no sign of life for %v", t.config.Hedge), next.upstream+" was ready"
	if l.at == relay.Mail {
		// What probes ask it answers, so only its breaker keeps the next message
		// from being held up as well. The leg waits on, and relay learns how long
		// MAIL takes there: who is only slow is used again.
		l.open.Done(health.Fault{Kind: health.Session, Reason: text + "; " + why})
		l.open = health.Pass{}
	} else {
		l.open.Quiet(text + "; " + why)
		l.giveUp()
	}
	a := queue.Attempt{
		At: l.try.At.UTC(), Took: time.Since(l.try.At), Upstream: l.try.Upstream,
		Stage: l.at.String(), Verdict: string(relay.Next), Text: text, Why: why,
	}
	if len(l.try.Rcpts) < len(t.m.Recipients) { // else all, which is nil
		a.Rcpts = l.try.Rcpts
	}
	t.record(Judgement{Attempts: []queue.Attempt{a}})
	left := t.slot
	t.slot = next
	t.d.passes.Go(func() {
		l.weigh(<-l.result)
		l.giveUp()
		left.leave()
	})
}

// weigh judges what came back, and tells health.
func (l *leg) weigh(r relay.Result) Judgement {
	try, inLogin := l.try, slices.ContainsFunc(r.Rcpts, cutInLogin)
	try.Rcpts, r.Rcpts = answered(try.Rcpts, r.Rcpts)
	try.Result = r
	now := l.d.now()
	j := l.config.Judge(try, now)
	f := l.charge(&j, now.Time)
	if to := l.config.Upstreams[try.Upstream]; to.Learned() != l.learned {
		l.learned = to.Learned()
		l.d.Health.Learn(try.Upstream, health.Learned{Size: l.learned.Size, Recipients: l.learned.Recipients})
	}
	l.open.Spent(j.Spent)
	switch {
	case !f.OK() || r.Served:
		l.open.Done(f)
	case inLogin:
		l.open.CutInLogin()
	default:
		l.open.Cancel() // we broke it off: that says nothing about the upstream
	}
	l.passed(j)
	return j
}

// cutInLogin says that we stopped, or the network changed, while it logged in.
func cutInLogin(r relay.RcptResult) bool {
	return r.Stage == relay.Auth && errors.Is(r.Err, relay.ErrStopped)
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
func (l *leg) charge(j *Judgement, now time.Time) health.Fault {
	l.d.mu.Lock()
	defer l.d.mu.Unlock()
	u, from := l.try.Upstream, l.try.Message.ReversePath
	switch {
	case l.era != l.d.era: // it was about where we are no more, or asked by another configuration
	case j.Accepted:
		l.d.senders.accept(u, from)
	case j.Sender:
		var said string
		for _, r := range j.Results { // of other recipients it may have said something else
			if r.Last.Scope == string(relay.ScopeSender) {
				said = r.Last.String()
				break
			}
		}
		many := l.d.senders.refuse(u, from, said, now)
		for i := range j.Refusals { // asking before that would find the sender blocked
			j.Refusals[i].Until = latest(j.Refusals[i].Until, l.d.senders.until(u, from, now).UTC())
		}
		if many && j.Fault.OK() { // the likeliest reason for that is where we are
			return health.Fault{Kind: health.Place, Reason: "relays for none of several senders: " + said}
		}
	}
	return j.Fault
}

// envelope says what the upstream is asked to carry, and gives the body as it is
// to be seen there.
func (t *trip) envelope(ctx context.Context, u string, rcpts []int) (relay.Envelope, opener, error) {
	m := &t.m
	reversePath, author := t.config.Routes.From(m, u)
	e := relay.Envelope{
		ReversePath: reversePath, Size: m.Size, EightBit: m.EightBit, UTF8: m.UTF8, RequireTLS: m.RequireTLS, EnvID: m.Return.EnvID,
	}
	switch { // as it was given (RFC 3461 5.2.1)
	case m.Return.Full:
		e.Ret = "FULL"
	case m.Return.Header:
		e.Ret = "HDRS"
	}
	for _, i := range rcpts {
		r := &m.Recipients[i]
		e.Recipients = append(e.Recipients, relay.Recipient{Address: r.Address, Notify: r.Notify.String(), ORcpt: r.ORcpt})
	}
	id := m.ID
	body := opener(func(ctx context.Context) (io.ReadCloser, error) { return t.d.Store.OpenBody(ctx, id) })
	var err error
	if author != "" {
		body, e.Size, err = showing(ctx, author, body, m.Size)
	}
	return e, body, err
}

// stoppedBy is the result of a delivery that did not begin.
func stoppedBy(err error, rcpts int) relay.Result {
	err = fmt.Errorf("%w: %w", relay.ErrStopped, err)
	return relay.Result{Rcpts: slices.Repeat([]relay.RcptResult{{Stage: relay.Mail, Err: err}}, rcpts), Stopped: err}
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
	claim := t.claim
	known := slices.DeleteFunc(slices.Clone(t.o.Rcpts), func(r queue.RcptResult) bool { return r.State == queue.Failed })
	return func(ctx context.Context, _ []int, _ []relay.RcptResult) error {
		return t.d.Session.MarkDot(ctx, claim, rcpts, u, known)
	}
}
