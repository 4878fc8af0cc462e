package dispatch

import (
	"context"
	"slices"
	"time"

	"mailroam/queue"
)

// Roamed is told of each major change of the network: whoever was refused for
// where we were may ask again, and mail that waits goes on at once. What the
// upstreams were charged with is for health to forgive, before.
func (d *Dispatcher) Roamed() {
	d.mu.Lock()
	defer d.mu.Unlock()
	clear(d.senders)
	d.network++
	d.wake()
	d.move()
}

// move has the queue looked through. The caller holds d.mu.
func (d *Dispatcher) move() {
	select {
	case d.moved <- struct{}{}:
	default:
	}
}

// roam files mail anew that a refusal keeps waiting which was for where we
// were: at the start, which may be elsewhere than the end was, and after each
// major change of the network. The queue is looked through only when such a
// refusal may be in it. Mail in doubt keeps its refusals, for they are its wait
// for the upstream that may hold a copy, too.
func (d *Dispatcher) roam(ctx context.Context) {
	place := func(m *queue.Message) bool {
		return m.InDoubt() == "" && slices.ContainsFunc(m.Refusals, isPlace)
	}
	for ctx.Err() == nil {
		d.mu.Lock()
		look := d.placed
		d.placed = false
		d.mu.Unlock()
		if look {
			if _, err := d.retry(ctx, place); err != nil { // a full disk: it may heal
				d.mu.Lock()
				d.placed = true
				d.mu.Unlock()
				pause(ctx, time.Minute)
				continue
			}
		}
		select {
		case <-ctx.Done():
		case <-d.moved:
		}
	}
}

// placed remembers that the outcome just stored holds a refusal for where we
// are. If we are there no more, it is too late to be seen with the others.
func (t *trip) placed() {
	if !slices.ContainsFunc(t.o.Refusals, isPlace) {
		return
	}
	t.d.mu.Lock()
	defer t.d.mu.Unlock()
	t.d.placed = true
	if t.d.network != t.network {
		t.d.move()
	}
}

func isPlace(r queue.Refusal) bool { return r.Place }
