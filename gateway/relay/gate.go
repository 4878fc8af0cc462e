package relay

import (
	"context"
	"fmt"
	"os"
	"sync"
)

// errQueued says that the logins of others took all the time there was.
var errQueued = fmt.Errorf("other sessions were logging in for too long: %w", os.ErrDeadlineExceeded)

// gate lets one login at a time through to an upstream. Providers count refused
// ones and lock accounts, so what one was told all others are told who set out
// before it was: a password that is wrong costs one login, however many messages
// wait.
type gate struct {
	mu       sync.Mutex    // guards all below
	under    chan struct{} // closed when the login under way ends; nil: there is none
	refusals int
	refused  Error // the last refusal
}

// setOut is the moment at which a set-up begins: refusals from here on are its
// own.
func (g *gate) setOut() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.refusals
}

// turn gives true when nobody else is logging in, and the turn is ours; else
// what to wait for, or the refusal.
func (g *gate) turn(since int) (ours bool, under <-chan struct{}, fault *Error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	switch {
	case g.refusals > since:
		refused := g.refused
		return false, nil, &refused
	case g.under != nil:
		return false, g.under, nil
	}
	g.under = make(chan struct{})
	return true, nil, nil
}

// end passes the turn on. Only an answer is a refusal: who had no password to
// send, or lost its connection, was told nothing.
func (g *gate) end(fault *Error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if fault != nil && fault.Err == nil && fault.Reply.Code >= 400 {
		g.refusals++
		g.refused = *fault
	}
	close(g.under)
	g.under = nil
}

// logInTurn is login for a set-up that began at since. Until it is its turn, the
// end of wanted or of the budget ends the wait, and so does the loss of the way.
func (u *Upstream) logInTurn(ctx, wanted context.Context, c *conn, b budget, w *watch, since int) *Error {
	if !u.logsIn() {
		return nil
	}
	ours, under, fault := u.gate.turn(since)
	if under != nil {
		waiting, cancel := context.WithCancelCause(wanted)
		defer cancel(nil)
		if !b.end.IsZero() {
			var done context.CancelFunc
			waiting, done = context.WithDeadlineCause(waiting, b.end, errQueued)
			defer done()
		}
		if !c.seat.onCut(func() {
			cancel(ErrRoamed)
			c.abort()
		}) {
			return &Error{Stage: Auth, Err: ErrRoamed}
		}
		for under != nil {
			select {
			case <-under:
				w.touch() // the upstream answers, be it others
				ours, under, fault = u.gate.turn(since)
			case <-waiting.Done():
				return &Error{Stage: Auth, Err: context.Cause(waiting)}
			}
		}
		c.seat.onCut(c.abort)
	}
	if !ours {
		return fault
	}
	w.enter(authing)
	fault = u.login(ctx, wanted, c, b)
	u.gate.end(fault)
	return fault
}
