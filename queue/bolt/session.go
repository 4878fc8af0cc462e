package bolt

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"mailroam/queue"
)

// session is the hold of this process. Its number is half of every fence.
type session struct {
	*Store
	n int64
}

// Join ends every older session and begins a new one.
func (s *Store) Join(ctx context.Context) (queue.Session, error) {
	ses := &session{Store: s}
	err := s.write(ctx, &request{do: func(w *txn) error {
		for _, id := range w.leased() {
			l := w.lease(id)
			r, err := decode(id, l.rec)
			if err != nil {
				return err // it was read when the lease was
			}
			if o, ok := s.unsettled.of(id, l.fence); ok {
				if err := w.settle(newSettlement(id, l.fence, o)); err != nil {
					return err
				}
				continue
			}
			w.forget(&r.Message, true)
			r.Interrupt(l.upstream, l.rcpts, l.known, l.want, w.now)
			w.file(&r.Message, r.encode())
		}
		w.after = append(w.after, s.unsettled.forget)
		w.session = w.current() + 1
		ses.n = w.session
		w.put(bMeta, keySession, binary.BigEndian.AppendUint64(nil, uint64(ses.n)))
		return nil
	}})
	if err != nil {
		return nil, fmt.Errorf("joining the queue: %w", err)
	}
	return ses, nil
}

// leased lists the leased messages as this transaction sees them.
func (w *txn) leased() []queue.ID {
	var ids []queue.ID
	for id := range w.s.leases {
		if w.lease(id) != nil {
			ids = append(ids, id)
		}
	}
	for id, l := range w.leases {
		if _, old := w.s.leases[id]; !old && l != nil {
			ids = append(ids, id)
		}
	}
	slices.SortFunc(ids, func(a, b queue.ID) int { return slices.Compare(a[:], b[:]) })
	return ids
}

// in says whether this session still counts, inside a transaction.
func (s *session) in(w *txn) error {
	if w.current() != s.n {
		return queue.ErrFenced
	}
	return nil
}

// check says it outside.
func (s *session) check() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.session != s.n {
		return queue.ErrFenced
	}
	return nil
}

// of finds the lease that c is, or says that it is over.
func (s *session) of(w *txn, c queue.Claim) (*lease, error) {
	if err := s.in(w); err != nil {
		return nil, err
	}
	if l := w.lease(c.ID); l != nil && l.fence == fenceOf(c) {
		return l, nil
	}
	return nil, queue.ErrFenced
}

// MarkDot needs the disk only when the pass has moved on to another upstream.
func (s *session) MarkDot(ctx context.Context, c queue.Claim, rcpts []int, upstream string, known []queue.RcptResult) error {
	s.mu.Lock()
	l, current := s.leases[c.ID], s.session == s.n
	s.mu.Unlock()
	switch {
	case s.isPoisoned():
		return queue.ErrPoisoned // the answer to this dot could not be recorded
	case !current || l == nil || l.fence != fenceOf(c):
		return queue.ErrFenced
	case l.stopped() != nil:
		return l.stopped()
	case l.upstream == upstream:
		return nil
	}
	return s.write(ctx, &request{do: func(w *txn) error {
		l, err := s.of(w, c)
		if err != nil {
			return err
		}
		if err := l.stopped(); err != nil {
			return err
		}
		next := *l
		next.upstream, next.rcpts = upstream, slices.Clone(rcpts)
		next.known = slices.Concat(l.known, known)
		w.setLease(c.ID, &next)
		return nil
	}})
}

// stopped says that a person wants no dot any more.
func (l *lease) stopped() error {
	switch l.want {
	case queue.WantHold:
		return queue.ErrHeld
	case queue.WantDrop:
		return queue.ErrDropped
	}
	return nil
}

// Requeue gives claims back. One that is over does not keep the others.
func (s *session) Requeue(ctx context.Context, cs ...queue.Claim) error {
	var over []error
	err := s.write(ctx, &request{do: func(w *txn) error {
		over = nil
		for _, c := range cs {
			if err := w.requeue(s, c); err != nil {
				over = append(over, fmt.Errorf("requeueing %s: %w", c.ID, err))
			}
		}
		return nil
	}})
	return errors.Join(append(over, err)...)
}

func (w *txn) requeue(s *session, c queue.Claim) error {
	l, err := s.of(w, c)
	if err != nil {
		return err
	}
	if o, ok := s.unsettled.of(c.ID, l.fence); ok { // it was sent: not untouched at all
		w.after = append(w.after, func() { s.unsettled.settled(l.fence) })
		return w.settle(newSettlement(c.ID, l.fence, o))
	}
	e, err := end(c.ID, l, func(r *record) { r.Requeue(l.known, l.want, w.now) })
	if err != nil {
		return err
	}
	w.end(e)
	return nil
}

// Leave ends the session.
func (s *session) Leave(ctx context.Context) error {
	err := s.write(ctx, &request{do: func(w *txn) error {
		if err := s.in(w); err != nil {
			return err
		}
		for _, id := range w.leased() {
			l := w.lease(id)
			c := queue.Claim{Message: queue.Message{ID: id}, Session: l.fence.session, Epoch: l.fence.epoch}
			if err := w.requeue(s, c); err != nil {
				return err
			}
		}
		w.session = s.n + 1 // which nobody has
		return nil
	}})
	if err != nil {
		return fmt.Errorf("leaving the queue: %w", err)
	}
	return nil
}
