package relay

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"
)

const (
	writeSize = 64 << 10 // octets of a body in one write
	readSize  = 32 << 10
)

// errSize says that the store gave another number of octets than it promised.
var errSize = errors.New("the body does not have the size it should have")

// content sends the body when it is wanted.
func (t *transaction) content(ctx context.Context) error {
	switch {
	case t.data.Code == 354 && len(t.accepted) == 0:
		// It wants a message that is for nobody: an empty one, whose reply means
		// nothing (RFC 2920 3.1).
		t.c.out = append(t.c.out[:0], ".\r\n"...)
		_, _ = t.c.flush(time.Now().Add(quitTimeout))
		t.closing = true
		t.proceed()
		return nil
	case t.data.Code == 354:
	case len(t.accepted) == 0:
		t.proceed()
		return nil
	case t.data.Code/100 == 4 || t.data.Code/100 == 5:
		t.decide(t.accepted, RcptResult{Stage: Data, Reply: t.data})
		t.leave()
		return nil
	default:
		return &Error{Stage: Data, Reply: t.data, Err: errUnexpected}
	}
	if decided, err := t.body(ctx); decided || err != nil {
		return err
	}
	if err := t.d.BeforeDot(ctx, t.accepted, t.res.Rcpts); err != nil {
		return stopped(err)
	}
	if !t.detach() {
		return &Error{Stage: Body, Err: ctx.Err()}
	}
	if !t.c.seat.enter(dotted) {
		return &Error{Stage: Body, Err: ErrRoamed}
	}
	return t.dot()
}

// stopped is a fault of ours. The session must be closed: a QUIT, or any other
// word, would be taken as part of the body.
func stopped(err error) error {
	return &Error{Stage: Body, Err: fmt.Errorf("%w: %w", ErrStopped, err)}
}

// body writes the message but for its last part, which waits in out together
// with the final dot. It may be decided before all is written.
func (t *transaction) body(ctx context.Context) (decided bool, err error) {
	src, err := t.d.Body(ctx)
	if err != nil {
		return false, stopped(fmt.Errorf("opening the body: %w", err))
	}
	defer src.Close()
	c := t.c
	if c.scratch == nil {
		c.scratch = make([]byte, readSize)
	}
	c.out = c.out[:0]
	var form lines
	var size int64
	for whole := false; !whole; {
		n, err := io.ReadFull(src, c.scratch)
		if whole = err == io.EOF || err == io.ErrUnexpectedEOF; err != nil && !whole {
			return false, stopped(fmt.Errorf("reading the body: %w", err))
		}
		if len(c.out)+n > writeSize {
			if decided, err := t.write(); decided || err != nil {
				return decided, err
			}
		}
		size += int64(n)
		if c.out, err = form.stuff(c.out, c.scratch[:n]); err != nil {
			return false, stopped(err)
		}
	}
	if size != t.d.Size {
		return false, stopped(fmt.Errorf("%w: %d octets instead of %d", errSize, size, t.d.Size))
	}
	if c.out, err = form.end(c.out); err != nil {
		return false, stopped(err)
	}
	return false, nil
}

// write sends a part of the body.
func (t *transaction) write() (decided bool, err error) {
	if err := t.c.quiet(); err != nil {
		return t.early(err)
	}
	if _, err := t.c.flush(time.Now().Add(blockTimeout)); err != nil {
		return t.early(err)
	}
	return false, nil
}

// early is for a session that broke, or answered, in the middle of a body: a
// refusal that has come is the verdict, for example 552, which else would be
// retried for ever. No acceptance counts before the dot.
func (t *transaction) early(fault error) (decided bool, err error) {
	t.closing = true
	r, err := t.c.reply(time.Now().Add(lastWords))
	if err != nil || r.Code/100 != 4 && r.Code/100 != 5 {
		t.c.wire.discard()
		return false, &Error{Stage: Body, Err: fault}
	}
	t.decide(t.accepted, RcptResult{Stage: Body, Reply: r})
	t.leave()
	t.tooLarge(r)
	return true, nil
}

// dot writes the end of the message and hears the verdict.
func (t *transaction) dot() error {
	if err := t.c.quiet(); err != nil {
		_, err = t.early(err)
		return err
	}
	size := len(t.c.out)
	if n, err := t.c.flush(time.Now().Add(blockTimeout)); err != nil && n < size {
		// The last octet of the dot never left, so nothing was taken.
		_, err = t.early(err)
		return err
	}
	sent := t.c.wire.wrote
	r, err := t.c.reply(time.Now().Add(dotTimeout))
	if err == nil && r.Code/100 == 3 {
		err = errUnexpected
	}
	if err != nil {
		return t.unanswered(r, err, sent)
	}
	t.decide(t.accepted, RcptResult{Stage: Dot, Reply: r})
	if r.Code == 421 || !t.c.seat.enter(open) {
		t.closing = true
	}
	if !r.Positive() {
		t.leave()
		t.tooLarge(r)
		return nil
	}
	t.c.reset = false
	if t.taken(); t.closing {
		t.leave()
	} else {
		t.proceed()
	}
	return nil
}

// taken notes what a message that was taken shows.
func (t *transaction) taken() {
	t.untold = t.untold || !t.params.dsn
	t.res.DSN = !t.untold
	if t.known.size > 0 {
		t.u.lessons.took(t.d.Size)
	}
}

// unanswered is for a dot without a reply, sent with the octet of that number. The
// kernel may know how far it got.
func (t *transaction) unanswered(r Reply, err error, sent int64) error {
	far := inDoubt
	if r.Code == 0 {
		far = t.c.wire.evidence(sent)
	}
	if far == kept {
		return &Error{Stage: Body, Err: fmt.Errorf("%w: %w", errKept, err)}
	}
	if far == unacked { // it could still bring over what will be sent again
		t.c.wire.discard()
	}
	t.decide(t.accepted, RcptResult{Stage: Dot, Reply: r, Err: err, InDoubt: true, Unacked: far == unacked})
	t.leave()
	return &Error{Stage: Dot, Err: err}
}
