package relay

import (
	"context"
	"time"
)

// authGrace is how long an AUTH under way may go on when nobody waits for it any
// more: cutting it may count as a failed login, but the process has to end.
const authGrace = 5 * time.Second

// Warm sees to it that a kept session is ready for MAIL, as quickly as when
// another upstream is usable. It gives nil or an *Error. ctx ends it, an AUTH
// under way 5 s later: a login that works by then is of use to the next message.
// anew says that kept sessions are not to be trusted: they are closed, and one
// is made.
func (u *Upstream) Warm(ctx context.Context, anew bool) error {
	if anew {
		u.idle.closeAll()
	} else if u.idle.warm() {
		return nil
	}
	lasting, cancel := outlasting(ctx, authGrace)
	defer cancel()
	c, err := u.connect(lasting, ctx, newBudget(true, time.Now()), unwatched())
	if err != nil {
		return err
	}
	u.idle.put(c)
	return nil
}

// outlasting derives a context that ends d after ctx.
func outlasting(ctx context.Context, d time.Duration) (context.Context, context.CancelFunc) {
	lasting, cancel := context.WithCancel(context.WithoutCancel(ctx))
	stop := context.AfterFunc(ctx, func() {
		select {
		case <-time.After(d):
			cancel()
		case <-lasting.Done():
		}
	})
	return lasting, func() {
		stop()
		cancel()
	}
}
