package dispatch

import (
	"context"
	"slices"
	"time"

	"mailroam/queue"
)

// farthest is beyond every wait that is decided on here.
func (p Policy) farthest() time.Duration {
	return max(blockMax, longestWait, 2*p.Schedule.Max, p.PolicyHold) + time.Hour
}

// catchUp makes due at once what waits for a time so far ahead that nobody can
// have meant it: it was filed while the clock was wrong, and would wait until
// the right clock gets there.
func (d *Dispatcher) catchUp(ctx context.Context) {
	d.mu.Lock()
	far := time.Now().Add(d.config.farthest())
	d.mu.Unlock()
	if n, _ := d.retry(ctx, queue.Filter{}, func(m *queue.Message) bool { return m.Due.After(far) }); n > 0 {
		d.Log.Warn("alert", "text", "the clock was set back: mail that would wait for the old time is filed anew", "messages", n)
	}
}

// retry makes due at once the queued mail that of picks and pick, as a person
// could.
func (d *Dispatcher) retry(ctx context.Context, of queue.Filter, pick func(*queue.Message) bool) (n int, err error) {
	of.States = []queue.State{queue.Queued}
	var ids []queue.ID
	for m, err := range d.Store.List(ctx, of) {
		if err != nil {
			return 0, err
		}
		if pick(&m) {
			ids = append(ids, m.ID)
		}
	}
	for lot := range slices.Chunk(ids, 500) {
		f := queue.Filter{IDs: lot, States: []queue.State{queue.Queued}}
		a, err := d.Store.Apply(ctx, f, queue.Op{Verb: queue.OpRetry, At: time.Now()})
		if n += a.Changed; err != nil {
			return n, err
		}
	}
	return n, nil
}

// setBack says how far the clock was set back since then: the wall clock went
// less far than the monotonic one.
func setBack(then, now time.Time) time.Duration {
	return now.Sub(then) - now.Round(0).Sub(then.Round(0))
}
