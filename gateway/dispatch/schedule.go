package dispatch

import (
	"hash/fnv"
	"time"

	"github.com/cenkalti/backoff/v4"

	"mailroam/queue"
)

// Schedule is how long a message waits after replies about it.
type Schedule struct {
	Initial, Max time.Duration
}

// Wait is the pause after the n-th counted pass (n ≥ 1). The jitter of ±20 %
// comes from the message, so that messages deferred together do not return
// together and a repeated computation gives the same time.
func (s Schedule) Wait(id queue.ID, n int) time.Duration {
	b := backoff.NewExponentialBackOff(
		backoff.WithInitialInterval(s.Initial), backoff.WithMultiplier(2), backoff.WithMaxInterval(s.Max),
		backoff.WithMaxElapsedTime(0), backoff.WithRandomizationFactor(0),
	)
	d := s.Initial
	for range min(max(n, 1), 64) {
		d = b.NextBackOff()
	}
	h := fnv.New32a()
	h.Write(id[:])
	h.Write([]byte{byte(n)})
	jitter := float64(h.Sum32())/float64(1<<32)*0.4 - 0.2
	return d + time.Duration(float64(d)*jitter)
}
