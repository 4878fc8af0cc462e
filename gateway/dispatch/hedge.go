package dispatch

import (
	"context"
	"errors"
	"slices"
	"time"

	"mailroam/gateway/relay"
	"mailroam/health"
)

// hedge is an upstream that is got ready beside a quiet one. Its zero value is
// none.
//
//	A  ──MAIL?── quiet ───────────────── reply ─▶ Begin ─▶ body
//	                └─▶ B  Warm ─▶ ready ─┘
//	             whichever comes first is chosen, at once and for good:
//	             B ─▶ A is suspect, and ends in the background in its slot;
//	                  the trip goes on in B's, which finds a session ready
//	             A ─▶ B's slot is given back, its session is kept
type hedge struct {
	slot   *slot
	down   <-chan struct{}
	cancel func()
	ready  chan error // yields once
}

// warmFor is as long as relay takes over a set-up when it is in a hurry.
const warmFor = 18 * time.Second

// hedge gets the best of the other upstreams ready that is not on trial: a
// trial is for one delivery. One that is full is waited for. Messages that are
// stuck together wait for one hedge. anew: what was kept is not trusted, for a
// router that has forgotten one session has forgotten all.
func (t *trip) hedge(ctx context.Context, anew bool) (h hedge) {
	d := t.d
	d.mu.Lock()
	u := d.first(slices.DeleteFunc(t.left(time.Now()), func(n string) bool {
		return d.Health.Standing(n).Trial
	}))
	if d.free(u) <= 0 && d.asked[u] > 0 { // a claim that waits has them all: the next one leaves one
		d.wished[u] = true
		d.wake()
	}
	if u == "" || d.free(u) <= 0 || d.hedges[u] || ctx.Err() != nil {
		d.mu.Unlock()
		return h
	}
	d.hedges[u] = true
	h.slot = d.take(u)
	d.mu.Unlock()

	open, ok := d.Health.Start(u, 0)
	if !ok {
		d.hedged(u)
		h.slot.leave()
		return hedge{}
	}
	h.down = d.Health.Down(u)
	ctx, h.cancel = context.WithTimeout(ctx, warmFor)
	h.ready = make(chan error, 1)
	to := t.config.Upstreams[u]
	d.passes.Go(func() {
		err := to.Warm(ctx, anew)
		if f := warmFault(ctx, err, to.Rules); f.OK() {
			open.Cancel() // whether it serves is for a delivery to show
		} else {
			open.Done(f)
		}
		h.cancel()
		d.hedged(u)
		h.ready <- err
	})
	return h
}

// warmFault is what an upstream is charged with that could not be got ready:
// nothing where we broke it off, unless it had answered by then. A login under
// way is not cut.
func warmFault(ctx context.Context, err error, rules relay.Rules) health.Fault {
	e, ok := errors.AsType[*relay.Error](err)
	answered := ok && e.Reply.Code != 0
	ours := errors.Is(ctx.Err(), context.Canceled) || errors.Is(err, relay.ErrStopped) || errors.Is(err, relay.ErrRoamed) || errors.Is(err, relay.ErrQueued)
	if ours && !answered {
		return health.Fault{}
	}
	return ProbeFault(err, rules)
}

// hedged says that u is got ready no longer.
func (d *Dispatcher) hedged(u string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.hedges, u)
}

// stop ends the hedge and gives its slot for the trip's next step.
func (h hedge) stop() *slot {
	if h.cancel != nil {
		h.cancel()
	}
	return h.slot
}
