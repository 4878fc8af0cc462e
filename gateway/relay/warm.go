package relay

import (
	"context"
	"time"
)

// Warm sees to it that a kept session is ready for MAIL, as quickly as when
// another upstream is usable. It gives nil or an *Error. ctx ends it, even an
// AUTH under way; who has only lost interest had better let it end, since a
// login that works is of use to the next message.
func (u *Upstream) Warm(ctx context.Context) error {
	if u.idle.warm() {
		return nil
	}
	c, err := u.connect(ctx, ctx, newBudget(true, time.Now()), unwatched())
	if err != nil {
		return err
	}
	u.idle.put(c)
	return nil
}
