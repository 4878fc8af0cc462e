package gateway

import (
	"context"
	"time"

	"mailroam/queue"
)

// stuck remembers why the newest message is held that the gateway itself holds
// for a person. It is looked for only when their number changed, and now and
// then: the store counts them, and there may be very many.
type stuck struct {
	at  time.Time
	n   int
	why string
}

const (
	stuckEvery = time.Minute
	// stuckLook bounds the search: a person may have held all the newest ones.
	stuckLook = 1000
)

func (s *stuck) look(ctx context.Context, store queue.Store, n int, now time.Time) (why string) {
	if n == s.n && (n == 0 || now.Sub(s.at).Abs() < stuckEvery) {
		return s.why
	}
	s.at, s.n, s.why = now, n, ""
	for m, err := range store.List(ctx, queue.Filter{States: []queue.State{queue.Held}, Limit: stuckLook}) {
		if err != nil {
			s.n = -1 // ask again
			break
		}
		if m.Held.ByUs() {
			s.why = m.Held.Reason
			break
		}
	}
	return s.why
}
