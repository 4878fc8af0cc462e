package relay

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"
)

// maxFlight bounds the commands sent before their replies are read, so that
// never both sides are stuck in writing.
const maxFlight = 100

// errStale says that a kept session ended before its reply to MAIL.
var errStale = errors.New("a kept connection had died")

// errUnheard is errStale of one that nobody hears on the other side.
var errUnheard = fmt.Errorf("%w: nothing that is sent arrives", errStale)

// transaction is MAIL to dot, for some of the recipients (RFC 5321 3.3).
type transaction struct {
	*pass
	rcpts    []int
	rest     []int // are for the next one
	known    shown
	params   params
	expected []expected // replies under way
	answered bool       // MAIL was
	refused  *RcptResult
	accepted []int
	crowded  []int // the upstream takes no more recipients at a time
	crowd    int   // than this many, 0: it has not said
	bare     []int // it did not like the parameters
	data     Reply
	again    []int       // need another transaction
	closing  bool        // the session must not be used again
	vigil    *vigil      // over a kept session, up to the reply to MAIL
	detach   func() bool // keeps a context from closing the session; false: too late
}

// expected is a command whose reply has not been read.
type expected struct {
	stage Stage
	rcpt  int
	reset bool // RSET, before MAIL
}

// run gives nil when every recipient has a result or is in again, and the
// session, if it is kept, is between transactions. Any error makes the session
// unusable.
func (t *transaction) run(ctx context.Context) error {
	for _, i := range t.rcpts {
		t.res.Rcpts[i] = RcptResult{}
	}
	if r := t.unfit(); r.Code != 0 {
		t.decide(t.rcpts, RcptResult{Stage: Mail, Reply: r})
		return nil
	}
	t.prepare()
	t.detach = context.AfterFunc(t.wanted, t.c.cut)
	defer func() { t.detach() }()
	if !t.begun {
		t.watch.enter(mailing)
	}
	if t.c.kept {
		t.vigil = newVigil(t.c)
		defer t.vigil.stop()
	}
	if err := t.envelope(ctx); err != nil {
		return err
	}
	if err := t.content(ctx); err != nil {
		return err
	}
	// One that the end of ctx closes must not be kept, lest it looks as if the
	// upstream had closed it.
	if t.detach(); t.closing || ctx.Err() != nil {
		t.drop()
	} else {
		t.c.kept, t.c.since = true, time.Now()
	}
	return nil
}

// alive ends set-up: MAIL was answered, and from here on only ctx cuts. It is
// the last moment at which somebody else could have the message.
func (t *transaction) alive(ctx context.Context) error {
	if t.vigil.stop(); t.vigil.unheard() { // the reply came together with the cut
		return &Error{Stage: Mail, Err: errUnheard}
	}
	t.answered, t.res.Served = true, true
	t.c.wire.moved = nil
	if t.wanted != ctx {
		late, cause := !t.detach(), context.Cause(t.wanted)
		t.settled()
		t.wanted = ctx
		if t.detach = context.AfterFunc(ctx, t.c.cut); late {
			return &Error{Stage: Mail, Err: cause}
		}
	}
	if t.begun {
		return nil
	}
	t.begun = true
	t.budget.end = time.Time{} // it was for what is over now
	gap := t.watch.longest()
	t.watch.stop()
	t.u.roster.learn(t.place.generation, func(p *place) { p.gaps[mailing] = gap })
	if t.d.Begin != nil && !t.d.Begin() {
		// DATA may be on its way already: nothing more must be said.
		return &Error{Stage: Mail, Err: ErrPassedOver}
	}
	return nil
}

// unfit answers in the upstream's place when it has already said that it
// cannot take the message.
func (t *transaction) unfit() Reply {
	caps := &t.c.caps
	switch {
	case t.d.RequireTLS && !(t.c.secure && caps.requireTLS): // RFC 8689 4.2.1
		return Reply{Code: 550, Enhanced: "5.7.30", Text: "5.7.30 not sent: the message asks for TLS on all its way and this server does not offer REQUIRETLS over TLS that proves who it is"}
	case t.wide && !caps.carriesUTF8(): // RFC 6531 3.2
		return Reply{Code: 553, Enhanced: "5.6.7", Text: "5.6.7 not sent: an address is not in ASCII and this server offers no SMTPUTF8"}
	case t.d.UTF8 && !caps.carriesUTF8():
		return Reply{Code: 550, Enhanced: "5.6.7", Text: "5.6.7 not sent: the header has UTF-8 in it and this server offers no SMTPUTF8"}
	case t.d.EightBit && !caps.eightBit: // RFC 6152 3
		return Reply{Code: 554, Enhanced: "5.6.3", Text: "5.6.3 not sent: the message has 8-bit octets and this server offers no 8BITMIME"}
	case caps.size > 0 && t.d.Size > caps.size: // RFC 1870 6.1
		return Reply{Code: 552, Enhanced: "5.3.4", Text: fmt.Sprintf("5.3.4 not sent: the message has %d octets and this server takes %d", t.d.Size, caps.size)}
	}
	return Reply{}
}

// prepare decides on parameters, and for how many recipients this transaction
// is: as many as the upstream is known to take (RFC 9422 4.2).
func (t *transaction) prepare() {
	caps, wide := &t.c.caps, t.d.UTF8 || t.wide
	t.known = t.u.lessons.recall(time.Now())
	bare := t.bared || t.known.bare
	t.params = params{
		eightBit: t.d.EightBit || wide, utf8: wide, requireTLS: t.d.RequireTLS,
		size: caps.sizeOffered && !bare, dsn: caps.dsn && !bare,
	}
	n := least(least(t.u.opts.MaxRecipients, caps.recipients), t.known.recipients)
	t.rcpts, t.rest = t.parted(t.rcpts)
	if n > 0 && n < len(t.rcpts) {
		t.rcpts, t.rest = t.rcpts[:n], slices.Concat(t.rcpts[n:], t.rest)
	}
}

// envelope sends MAIL, RCPT and DATA: in as few writes as the upstream allows
// (RFC 2920), and DATA without knowing whether anybody is accepted.
func (t *transaction) envelope(ctx context.Context) error {
	c := t.c
	c.out = c.out[:0]
	if c.reset {
		c.out = append(c.out, "RSET\r\n"...)
		if err := t.expect(ctx, expected{stage: Mail, reset: true}); err != nil {
			return err
		}
	}
	c.out = append(append(append(c.out, "MAIL FROM:<"...), t.d.ReversePath...), '>')
	c.out = append(t.params.mail(c.out, &t.d.Envelope), "\r\n"...)
	if err := t.expect(ctx, expected{stage: Mail}); err != nil {
		return err
	}
	for _, i := range t.rcpts {
		if t.refused != nil {
			break
		}
		r := &t.d.Recipients[i]
		c.out = append(append(append(c.out, "RCPT TO:<"...), r.Address...), '>')
		c.out = append(t.params.rcpt(c.out, r), "\r\n"...)
		if err := t.expect(ctx, expected{stage: Rcpt, rcpt: i}); err != nil {
			return err
		}
	}
	if t.refused == nil && (c.caps.pipelining || len(t.accepted) > 0) {
		c.out = append(c.out, "DATA\r\n"...)
		t.expected = append(t.expected, expected{stage: Data})
	}
	return t.drain(ctx)
}

func (t *transaction) expect(ctx context.Context, e expected) error {
	t.expected = append(t.expected, e)
	if t.c.caps.pipelining && len(t.expected) < maxFlight {
		return nil
	}
	return t.drain(ctx)
}

// drain writes what is ready and reads the replies to it.
func (t *transaction) drain(ctx context.Context) error {
	if len(t.expected) == 0 {
		return nil
	}
	first := t.expected[0].stage
	if err := t.c.quiet(); err != nil {
		return t.lost(first, err)
	}
	if _, err := t.c.flush(t.by(first)); err != nil {
		return t.lost(first, err)
	}
	for _, e := range t.expected {
		r, err := t.c.reply(t.by(e.stage))
		if err != nil {
			return t.lost(e.stage, err)
		}
		if err := t.hear(ctx, e, r); err != nil {
			return err
		}
	}
	t.expected = t.expected[:0]
	return nil
}

// by is when the reply at a stage must have come.
func (t *transaction) by(at Stage) time.Time {
	switch {
	case at == Mail && t.c.kept:
		return t.budget.by(t.budget.kept)
	case at == Mail:
		return t.budget.by(t.budget.command)
	case at == Data:
		return time.Now().Add(t.budget.data)
	default:
		return time.Now().Add(t.budget.command)
	}
}

// lost says what a broken session means: before the reply to MAIL, a kept one
// was stale, unless it is we who wait no longer. That TCP has given up on the
// peer (RFC 5482) is no such silence: routers forget what is idle.
func (t *transaction) lost(at Stage, err error) error {
	if !t.answered && t.vigil.unheard() {
		return &Error{Stage: at, Err: errUnheard}
	}
	if !t.answered && t.c.kept && !errors.Is(err, os.ErrDeadlineExceeded) {
		return &Error{Stage: at, Err: fmt.Errorf("%w: %w", errStale, err)}
	}
	return &Error{Stage: at, Err: err}
}

// hear takes one reply.
func (t *transaction) hear(ctx context.Context, e expected, r Reply) error {
	if r.Code == 421 { // the upstream closes (RFC 5321 3.8)
		if t.closing = true; !t.answered && t.c.kept {
			return &Error{Stage: e.stage, Reply: r, Err: errStale}
		}
	}
	switch {
	case e.reset:
		if !r.Positive() {
			return &Error{Stage: e.stage, Reply: r, Err: errStale}
		}
		t.c.reset = false
	case e.stage == Mail:
		t.c.mails++
		if err := t.alive(ctx); err != nil {
			return err
		}
		t.c.reset = true // until a dot says otherwise
		switch {
		case r.Code/100 == 3:
			return &Error{Stage: Mail, Reply: r, Err: errUnexpected}
		case !r.Positive():
			t.refuse(r)
		}
	case e.stage == Rcpt && t.refused == nil:
		return t.hearRcpt(e.rcpt, r)
	case e.stage == Data:
		t.data = r
	}
	return nil
}

// refuse is a no to MAIL, which is for all.
func (t *transaction) refuse(r Reply) {
	t.refused = &RcptResult{Stage: Mail, Reply: r}
	if t.params.spareMail(&t.d.Envelope) && refusesParams(r) {
		t.bare = t.rcpts
		return
	}
	if r.Code == 552 && r.Enhanced == "" { // later on, a mailbox may be full
		r.Enhanced = "5.3.4"
	}
	t.tooLarge(r)
	t.decide(t.rcpts, *t.refused)
	t.decide(t.rest, *t.refused)
}

// hearRcpt takes the reply to one recipient.
func (t *transaction) hearRcpt(i int, r Reply) error {
	switch {
	case r.Positive():
		t.accepted = append(t.accepted, i)
		if t.lesson != (shown{}) { // what an earlier transaction suggested is right
			t.u.lessons.learn(t.lesson, time.Now())
			t.lesson = shown{}
		}
		return nil
	case r.Code/100 == 3:
		return &Error{Stage: Rcpt, Reply: r, Err: errUnexpected}
	case tooMany(r):
		if t.crowded = append(t.crowded, i); t.crowd == 0 {
			t.crowd = len(t.accepted)
		}
	case t.params.spareRcpt(&t.d.Recipients[i]) && refusesParams(r):
		t.bare = append(t.bare, i) // which is no result
		return nil
	}
	t.res.Rcpts[i] = RcptResult{Stage: Rcpt, Reply: r}
	return nil
}

// proceed says that another transaction is due, and what is learnt if it goes
// better: for those who were one too many, those whose parameters were refused,
// and those who were not asked for.
func (t *transaction) proceed() {
	if len(t.accepted) == 0 && len(t.crowded) > 0 {
		// Too many before the first: that is no invitation to try fewer.
		t.leave()
		t.crowded, t.rest = nil, nil
	}
	t.again = slices.Concat(t.crowded, t.bare, t.rest)
	t.bared = t.bared || len(t.bare) > 0
	t.lesson = shown{recipients: t.crowd, bare: len(t.bare) > 0}
}

// leave is for those who were not asked for, or not without parameters, and will
// not be.
func (t *transaction) leave() {
	t.decide(t.rest, RcptResult{Stage: Rcpt, Reply: Reply{
		Code: 452, Enhanced: "4.5.3", Text: "4.5.3 not asked for: the server takes only so many recipients at a time, and did not go on after the first ones",
	}})
	t.decide(t.bare, RcptResult{Stage: Rcpt, Reply: Reply{
		Code: 451, Enhanced: "4.5.4", Text: "4.5.4 not asked for again without the parameters that the server refused: it did not go on after the others",
	}})
}

// leastSize is what every server takes (RFC 5321 4.5.3.1.7). Who refuses less
// speaks of something else, such as an account that is full.
const leastSize = 64 << 10

// tooLarge learns from a refusal that is about the size: a smaller message may
// pass.
func (t *transaction) tooLarge(r Reply) {
	if (r.Enhanced == "5.3.4" || r.Enhanced == "5.2.3") && t.d.Size > leastSize {
		t.u.lessons.learn(shown{size: t.d.Size - 1}, time.Now())
	}
}

// tooMany says that a recipient is one too many for this transaction. 552 was
// the code for that before RFC 2821 (RFC 5321 4.5.3.1.10).
func tooMany(r Reply) bool {
	switch {
	case r.Enhanced == "4.5.3" || r.Enhanced == "5.5.3":
		return true
	case r.Code == 452:
		return r.Enhanced == ""
	case r.Code == 552:
		return r.Enhanced != "5.2.2" && r.Enhanced != "5.2.3" && r.Enhanced != "5.3.4"
	}
	return false
}
