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

// misfiled says that mail waits for the time of a clock that was ahead until it
// was set back by so much, 0 where that is not known: it was due by that clock, was
// accepted by it, or waits, or grows old, until a time so far ahead that nobody can
// have meant it. Who grows old by another configuration is filed anew for that.
func (p Policy) misfiled(m *queue.Message, now time.Time, back time.Duration) bool {
	was := m.Due.After(now) && (!m.Due.After(now.Add(back)) || m.Accepted.After(now) || m.Due.After(now.Add(p.farthest())))
	_, known := p.parse(m.Lane)
	return was || known && m.Age.After(now.Add(min(p.Expire, oldest)+time.Hour))
}

// catchUp makes due at once what would wait until the right clock gets where the
// wrong one was.
func (d *Dispatcher) catchUp(ctx context.Context, back time.Duration) {
	d.mu.Lock()
	p := d.config.Policy
	d.mu.Unlock()
	now := time.Now().Round(0)
	if n, _ := d.retry(ctx, queue.Filter{}, func(m *queue.Message) bool { return p.misfiled(m, now, back) }); n > 0 {
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
