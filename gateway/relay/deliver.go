package relay

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"
)

// Reasons of ours why a delivery ended; neither is the upstream's fault.
var (
	// ErrStopped says that BeforeDot said no, that ctx ended before the dot, that
	// the body could not be read or that the network changed. It wraps that
	// reason.
	ErrStopped = errors.New("stopped here")
	// ErrGivenUp says that GiveUp was closed before the reply to MAIL.
	ErrGivenUp = errors.New("given up: the upstream was found dead meanwhile")
	// ErrPassedOver says that Begin said no.
	ErrPassedOver = errors.New("another upstream was ready first")
	// ErrRoamed says that the way to the upstream was lost with a change of the
	// network before the dot. ErrStopped wraps it.
	ErrRoamed = errors.New("the network changed")
)

// Delivery is one message for one upstream.
type Delivery struct {
	Envelope
	// Body gives the message, with CRLF line ends, of exactly Envelope.Size
	// octets; a fault of it stops the delivery. It is called once a
	// transaction, when the upstream is ready for it. Deliver closes it.
	Body func(context.Context) (io.ReadCloser, error)
	// BeforeDot is called after the body and before the final dot of each
	// transaction, with the recipients whose fate the dot decides and with all
	// results so far, by RcptResult.Final; both count as in Envelope.Recipients.
	// Who was one too many has that for a result, and is asked again. An error
	// means that the dot is not sent. There is a second transaction only when the
	// upstream takes fewer recipients at a time than there are, or in a session
	// fewer domains of them, or refuses parameters that can be left out.
	BeforeDot func(ctx context.Context, accepted []int, soFar []RcptResult) error
	Hurry     bool // another upstream is usable: set-up must be quick
	// GiveUp is closed when the upstream was found dead meanwhile. It ends the
	// wait for the reply to MAIL, but no AUTH under way, which Deliver then awaits.
	GiveUp <-chan struct{}
	// OnQuiet is called each time that until the reply to MAIL there was no
	// progress for Quiet: no octet from the peer, no step of the set-up done. An
	// upstream that was silent for longer last time, and then went on, is given
	// twice that, up to 10 s. It is called from a goroutine of its own, which
	// may still be about to when Deliver returns. at is Connect for all up to
	// EHLO, Auth or Mail.
	Quiet   time.Duration
	OnQuiet func(at Stage)
	// Begin is asked once, at the first reply to MAIL, be it yes or no: the
	// upstream is ready and nobody else has the message yet. No ends the delivery
	// by ErrPassedOver. nil is yes.
	Begin func() bool
}

// Deliver hands the message over and says what became of each recipient. ctx
// ends it up to the final dot; from then on the answer is awaited, however
// long it takes (10 min at most), since only the answer tells whether the
// message was taken.
func (u *Upstream) Deliver(ctx context.Context, d Delivery) Result {
	p := &pass{u: u, d: &d, began: time.Now(), place: u.roster.here()}
	p.budget = newBudget(d.Hurry, p.began)
	p.watch = newWatch(d.Quiet, p.place.gaps, u.onQuiet(d.OnQuiet))
	defer p.watch.stop()
	p.res.Rcpts = make([]RcptResult, len(d.Recipients))
	for left := p.sift(); len(left) > 0; {
		left = p.transact(ctx, left)
	}
	p.settled()
	if p.c != nil && !u.retire(p.c) {
		u.idle.put(p.c)
	}
	p.res.Took = time.Since(p.began)
	return p.res
}

// onQuiet tells of a silence. What is silent at MAIL has forgotten its session,
// or a router in between has, and the other kept ones are no better.
func (u *Upstream) onQuiet(tell func(Stage)) func(Stage) {
	if tell == nil {
		return nil
	}
	return func(at Stage) {
		if at == Mail {
			u.idle.closeAll()
		}
		tell(at)
	}
}

// pass is one call of Deliver.
type pass struct {
	u      *Upstream
	d      *Delivery
	began  time.Time
	budget budget
	place  place // that it began in
	watch  *watch
	c      *conn // in use, nil when there is none or it is not fit for more
	fresh  bool  // a kept session was stale: take no other
	begun  bool  // Begin was asked
	wide   bool  // an address is not in ASCII
	untold bool  // somebody was delivered without the parameters of DSN
	bared  bool  // the parameters were refused: do without
	lesson shown // of one transaction, that the next one may prove
	res    Result

	wanted   context.Context // ends all up to the reply to MAIL, also by GiveUp
	unwanted func()
}

// sift gives the recipients that can be named on the wire; msa lets no others
// in, so this only guards against what would be an injection.
func (p *pass) sift() (left []int) {
	if err := checkPath(p.d.ReversePath); err != nil {
		for i := range p.d.Recipients {
			p.res.Rcpts[i] = RcptResult{Stage: Mail, Err: err}
		}
		return nil
	}
	p.wide = !isASCII(p.d.ReversePath)
	for i, r := range p.d.Recipients {
		if err := checkPath(r.Address); err != nil || r.Address == "" {
			p.res.Rcpts[i] = RcptResult{Stage: Rcpt, Err: fmt.Errorf("%w: a recipient", errPath)}
			continue
		}
		p.wide = p.wide || !isASCII(r.Address)
		left = append(left, i)
	}
	return left
}

// transact runs one transaction for the recipients, on a session that is kept
// or made, and gives those that need another one.
func (p *pass) transact(ctx context.Context, rcpts []int) (again []int) {
	if p.c != nil && p.u.retire(p.c) {
		p.c = nil
	}
	for {
		t := &transaction{pass: p, rcpts: rcpts}
		err := p.session(ctx, domainOf(p.d.Recipients[rcpts[0]].Address))
		if err == nil {
			err = t.run(ctx)
		}
		if err == nil {
			return t.again
		}
		// Where the way to the session is lost, that is why; the rest is its
		// consequence.
		roamed := p.c != nil && p.c.seat.isLost()
		stale := p.c != nil && errors.Is(err, errStale) && p.wanted.Err() == nil && !roamed
		if roamed && !errors.Is(err, ErrPassedOver) {
			err = &Error{Stage: stageOf(err), Err: ErrRoamed}
		}
		if !stale {
			p.fail(ctx, rcpts, err)
			p.drop()
			return nil
		}
		if errors.Is(err, errUnheard) {
			// It teaches nothing about the peer. The other kept ones are no better.
			p.u.idle.closeAll()
			p.watch.anew()
		} else if d := time.Since(p.c.since); d < learnFrom {
			p.u.idle.ended(p.c, d)
		}
		p.drop()
		// A kept session that died in the meantime is nobody's fault. The new
		// one cannot be stale.
		p.fresh = true
	}
}

// session makes sure that there is a session to use, in which a recipient of the
// domain may be named.
func (p *pass) session(ctx context.Context, domain string) (err error) {
	if p.c = p.fit(p.c, domain); p.c != nil {
		return nil
	}
	p.wanted = ctx
	if err := ctx.Err(); err != nil {
		return &Error{Stage: Connect, Err: err}
	}
	p.wanted, p.unwanted = untilGivenUp(ctx, p.d.GiveUp)
	if !p.fresh {
		p.c = p.fit(p.u.idle.get(), domain)
	}
	if p.c == nil {
		p.c, err = p.u.connect(ctx, p.wanted, p.budget, p.watch)
	}
	if fault := (*Error)(nil); p.c != nil {
		p.c.wire.moved = p.watch.touch
		p.res.Endpoint = p.c.endpoint.address()
	} else if errors.As(err, &fault) && fault.Stage > Connect {
		p.res.Endpoint = fault.Endpoint
	}
	return err
}

// fit is c where a recipient of the domain may be named in it, else it ends.
func (p *pass) fit(c *conn, domain string) *conn {
	if c == nil || c.mayName(domain) {
		return c
	}
	c.quit()
	return nil
}

// stageOf is the stage of a fault.
func stageOf(err error) Stage {
	if fault, ok := errors.AsType[*Error](err); ok {
		return fault.Stage
	}
	return Connect
}

// givesUpAfter is how long GiveUp is not heard. A kept session has mostly
// answered by then, and was spared a goroutine, which costs as much as all else
// of a delivery.
const givesUpAfter = 20 * time.Millisecond

// untilGivenUp derives the context of all that comes before the reply to MAIL.
func untilGivenUp(ctx context.Context, giveUp <-chan struct{}) (wanted context.Context, done func()) {
	if giveUp == nil {
		return ctx, nil
	}
	wanted, cancel := context.WithCancelCause(ctx)
	timer := time.AfterFunc(givesUpAfter, func() {
		select {
		case <-giveUp:
			cancel(ErrGivenUp)
		case <-wanted.Done():
		}
	})
	return wanted, func() {
		timer.Stop()
		cancel(context.Canceled)
	}
}

// settled ends set-up: from here on the upstream is known to be alive, and only
// ctx cuts.
func (p *pass) settled() {
	if p.unwanted != nil {
		p.unwanted()
		p.unwanted = nil
	}
}

// drop closes the session.
func (p *pass) drop() {
	p.settled()
	if p.c != nil {
		p.c.abort()
		p.c = nil
	}
}

// fail is the result of all who have none yet. Where we closed the session
// ourselves, that reason replaces what the closed connection said.
func (p *pass) fail(ctx context.Context, rcpts []int, err error) {
	rcpts = slices.DeleteFunc(slices.Clone(rcpts), func(i int) bool { return p.res.Rcpts[i].Final() })
	if len(rcpts) == 0 {
		return
	}
	r := RcptResult{Stage: Connect, Err: err}
	fault, _ := errors.AsType[*Error](err)
	if fault != nil {
		r = RcptResult{Stage: fault.Stage, Reply: fault.Reply, Err: fault.Err}
	}
	switch {
	case errors.Is(err, ErrPassedOver):
	case errors.Is(err, ErrStopped):
		p.res.Stopped = r.Err
	case ctx.Err() != nil:
		r = RcptResult{Stage: r.Stage, Err: fmt.Errorf("%w: %w", ErrStopped, context.Cause(ctx))}
		p.res.Stopped = r.Err
	case errors.Is(err, ErrRoamed):
		r = RcptResult{Stage: r.Stage, Err: fmt.Errorf("%w: %w", ErrStopped, ErrRoamed)}
		p.res.Stopped = r.Err
	case r.Reply.Code == 0 && p.wanted != nil && errors.Is(context.Cause(p.wanted), ErrGivenUp):
		r = RcptResult{Stage: r.Stage, Err: ErrGivenUp}
	case r.Err != nil && fault != nil:
		r.Err = fault // it knows where
	}
	p.decide(rcpts, r)
}

// decide is the result of these recipients.
func (p *pass) decide(rcpts []int, r RcptResult) {
	for _, i := range rcpts {
		p.res.Rcpts[i] = r
	}
}
