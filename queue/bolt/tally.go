package bolt

import (
	"maps"
	"time"

	"mailroam/queue"
)

// tally counts what Stats tells; also the difference that a transaction makes.
type tally struct {
	queued, leased, held, done int
	doubt, barred, stuck       int
	bytes                      int64
	lanes                      map[string]int
	online                     time.Duration
	quarantined                int
}

// count enters or removes (by -1) one message.
func (t *tally) count(m *queue.Message, leased bool, by int) {
	t.online = max(t.online, m.Online)
	switch {
	case leased:
		t.leased += by
	case m.State == queue.Queued:
		t.queued += by
		t.lane(m.Lane, by)
	case m.State == queue.Held:
		t.held += by
		if m.Held.ByUs() {
			t.stuck += by
		}
	case m.State == queue.Done:
		t.done += by
		return
	}
	t.bytes += int64(by) * m.Size
	if m.InDoubt() != "" {
		t.doubt += by
	}
	if m.Barred != 0 && m.State != queue.Held {
		t.barred += by
	}
}

func (t *tally) lane(lane string, by int) {
	if t.lanes == nil {
		t.lanes = map[string]int{}
	}
	if t.lanes[lane] += by; t.lanes[lane] == 0 {
		delete(t.lanes, lane)
	}
}

func (t *tally) add(d tally) {
	t.queued += d.queued
	t.leased += d.leased
	t.held += d.held
	t.done += d.done
	t.doubt += d.doubt
	t.barred += d.barred
	t.stuck += d.stuck
	t.bytes += d.bytes
	t.quarantined += d.quarantined
	t.online = max(t.online, d.online)
	for lane, n := range d.lanes {
		t.lane(lane, n)
	}
}

func (t *tally) stats() queue.Stats {
	lanes := maps.Clone(t.lanes)
	if lanes == nil {
		lanes = map[string]int{}
	}
	return queue.Stats{
		Queued: t.queued, Leased: t.leased, Held: t.held, Done: t.done, InDoubt: t.doubt, Barred: t.barred, Stuck: t.stuck,
		Bytes: t.bytes, Lanes: lanes, Online: t.online, Quarantined: t.quarantined,
	}
}
