package relay

import (
	"context"
	"fmt"
	"os"
	"sync"
	"time"
)

// ErrQueued says that the logins of others took all the time there was: no fault
// of the upstream.
var ErrQueued = fmt.Errorf("other sessions were logging in for too long: %w", os.ErrDeadlineExceeded)

// gate lets one login at a time through to an upstream. Providers count refused
// ones and lock accounts, so what one was told all others are told who set out
// before it was: a password that is wrong costs one login, however many messages
// wait.
type gate struct {
	mu       sync.Mutex // guards all below
	under    *turn      // the last that began; nil: there is none that others wait for
	refusals int
	refused  Error // the last refusal
}

// turn is one login.
type turn struct {
	began time.Time
	over  chan struct{}
}

// turnLasts is how long others wait for a login without an answer. Refusals are
// slow on purpose at times, but a server that hangs in one session may be well in
// the next, and RFC 4954 has us wait for minutes.
const turnLasts = 30 * time.Second

// setOut is the moment at which a set-up begins: refusals from here on are its
// own.
func (g *gate) setOut() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.refusals
}

// take gives a turn when nobody else is logging in; else whom to wait for, or the
// refusal.
func (g *gate) take(since int) (ours, under *turn, fault *Error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	switch {
	case g.refusals > since:
		refused := g.refused
		return nil, nil, &refused
	case g.under != nil && g.under.left() > 0:
		return nil, g.under, nil
	}
	g.under = &turn{time.Now(), make(chan struct{})}
	return g.under, nil, nil
}

// left is how long others still wait for it.
func (t *turn) left() time.Duration { return turnLasts - time.Since(t.began) }

// end passes the turn on. Only an answer is a refusal: who had no password to
// send, or lost its connection, was told nothing.
func (g *gate) end(ours *turn, fault *Error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if fault != nil && fault.Err == nil && fault.Reply.Code >= 400 {
		g.refusals++
		g.refused = *fault
	}
	close(ours.over)
	if g.under == ours {
		g.under = nil
	}
}

// logInTurn is login for a set-up that began at since. Until it is its turn, the
// end of wanted or of the budget ends the wait, and so does the loss of the way.
func (u *Upstream) logInTurn(ctx, wanted context.Context, c *conn, b budget, w *watch, since int) *Error {
	if !u.logsIn() {
		return nil
	}
	ours, under, fault := u.gate.take(since)
	if under != nil {
		waiting, cancel := context.WithCancelCause(wanted)
		defer cancel(nil)
		if !b.end.IsZero() {
			var done context.CancelFunc
			waiting, done = context.WithDeadlineCause(waiting, b.end, ErrQueued)
			defer done()
		}
		if !c.seat.onCut(func() {
			cancel(ErrRoamed)
			c.cut()
		}) {
			return &Error{Stage: Auth, Err: ErrRoamed}
		}
		for under != nil {
			select {
			case <-under.over:
				w.touch() // the upstream answers, be it others
			case <-time.After(under.left()):
			case <-waiting.Done():
				return &Error{Stage: Auth, Err: context.Cause(waiting)}
			}
			ours, under, fault = u.gate.take(since)
		}
		c.seat.onCut(c.cut)
	}
	if ours == nil {
		return fault
	}
	w.enter(authing)
	fault = u.login(ctx, wanted, c, b)
	u.gate.end(ours, fault)
	return fault
}
