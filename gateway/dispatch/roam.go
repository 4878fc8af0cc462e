package dispatch

import (
	"context"
	"slices"
	"time"

	"mailroam/health"
	"mailroam/queue"
)

// Roamed is told of each major change of the network: whoever was refused for
// where we were may ask again, and mail that waits goes on at once. What the
// upstreams were charged with is for health to forgive, before.
func (d *Dispatcher) Roamed() {
	d.mu.Lock()
	defer d.mu.Unlock()
	clear(d.senders)
	d.era++
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

// roam files mail anew that a refusal keeps waiting which a change ends: one for
// where we were, and those of all who may send it for its sender or by policy.
// That is at the start, unless the end was here too, after each major change of
// the network, and with each new configuration. The queue is
// looked through only when such a refusal may be in it. Mail in doubt keeps its
// refusals, for they are its wait for the upstream that may hold a copy, too.
func (d *Dispatcher) roam(ctx context.Context) {
	free := func(m *queue.Message) bool {
		return m.InDoubt() == "" && (m.Barred != 0 || slices.ContainsFunc(m.Refusals, isPlace))
	}
	for {
		select {
		case <-ctx.Done():
			return
		case <-d.moved:
		}
		d.mu.Lock()
		look := d.placed
		d.placed = false
		d.mu.Unlock()
		if !look {
			continue
		}
		if _, err := d.retry(ctx, queue.Filter{}, free); err != nil { // a full disk: it may heal
			d.mu.Lock()
			d.placed = true
			d.move()
			d.mu.Unlock()
			pause(ctx, time.Minute)
		}
	}
}

// locked lists the upstreams that refuse our account.
func (d *Dispatcher) locked() (names []string) {
	for _, s := range d.Health.Status() {
		if s.Kind == health.Account {
			names = append(names, s.Name)
		}
	}
	return names
}

// unlock files mail anew that is in doubt at an upstream which has come to
// refuse our account: what it may hold cannot be asked for. was is what it gave
// the last time.
func (d *Dispatcher) unlock(ctx context.Context, was []string) []string {
	now := d.locked()
	if !slices.ContainsFunc(now, func(n string) bool { return !slices.Contains(was, n) }) {
		return now
	}
	_, err := d.retry(ctx, queue.Filter{Doubt: true}, func(m *queue.Message) bool {
		return slices.ContainsFunc(m.Recipients, func(r queue.Recipient) bool {
			return r.State == queue.Pending && r.Doubt != nil && slices.Contains(now, r.Doubt.Upstream) && !slices.Contains(was, r.Doubt.Upstream)
		})
	})
	if err != nil { // a full disk: it may heal
		return was
	}
	return now
}

// placed remembers that the outcome just stored is one that a change ends. If
// that has come meanwhile, it is too late to be seen with the others.
func (t *trip) placed() {
	if t.o.Barred == 0 && !slices.ContainsFunc(t.o.Refusals, isPlace) {
		return
	}
	t.d.mu.Lock()
	defer t.d.mu.Unlock()
	t.d.placed = true
	if t.d.era != t.era {
		t.d.move()
	}
}

func isPlace(r queue.Refusal) bool { return r.Place }
