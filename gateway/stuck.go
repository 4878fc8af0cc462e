package gateway

import (
	"context"
	"time"

	"mailroam/queue"
)

// stuck counts the mail that the gateway itself holds for a person. It reads the
// held ones only when their number changed, and now and then.
type stuck struct {
	at   time.Time
	held int
	n    int
	why  string // of the newest
}

const stuckEvery = time.Minute

func (s *stuck) look(ctx context.Context, store queue.Store, held int, now time.Time) (n int, why string) {
	if held == s.held && (held == 0 || now.Sub(s.at) < stuckEvery) {
		return s.n, s.why
	}
	s.at, s.held, s.n, s.why = now, held, 0, ""
	for m, err := range store.List(ctx, queue.Filter{States: []queue.State{queue.Held}}) {
		if err != nil {
			s.held = -1 // ask again
			break
		}
		if m.Held.By == "operator" {
			continue
		}
		if s.n++; s.n == 1 {
			s.why = m.Held.Reason
		}
	}
	return s.n, s.why
}
