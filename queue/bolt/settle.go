package bolt

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"

	"mailroam/queue"
)

// ending is a message at the end of its lease, made outside the writer.
type ending struct {
	lease    *lease
	old, new record
	rec      []byte
}

// end applies what ends the lease l of a message.
func end(id queue.ID, l *lease, apply func(*record)) (*ending, error) {
	r, err := decode(id, l.rec)
	if err != nil {
		return nil, err
	}
	e := &ending{lease: l, old: r, new: r}
	e.new.Recipients = slices.Clone(r.Recipients)
	apply(&e.new)
	e.rec = e.new.encode()
	return e, nil
}

func (w *txn) end(e *ending) {
	w.forget(&e.old.Message, true)
	w.file(&e.new.Message, e.rec)
}

// settlement is an outcome on its way into the queue.
type settlement struct {
	id    queue.ID
	fence fence
	o     queue.Outcome
	end   *ending // prepared for this lease
	spawn []fresh
}

func newSettlement(id queue.ID, f fence, o queue.Outcome) *settlement {
	s := &settlement{id: id, fence: f, o: o, spawn: make([]fresh, 0, len(o.Spawn))}
	for _, n := range o.Spawn {
		s.spawn = append(s.spawn, newFresh(n))
	}
	return s
}

// prepare makes the new record, outside the writer if it can be.
func (s *settlement) prepare(l *lease) (err error) {
	if l == nil || l.fence != s.fence || s.end != nil && s.end.lease == l {
		return nil
	}
	s.end, err = end(s.id, l, func(r *record) {
		r.Record(l.known)
		r.Settle(s.o, l.want)
		r.settled = l.fence
	})
	return err
}

// settle stores an outcome whose lease is there.
func (w *txn) settle(s *settlement) error {
	if err := s.prepare(w.lease(s.id)); err != nil {
		return err
	}
	w.end(s.end)
	for i := range s.spawn {
		w.spawn(&s.spawn[i])
	}
	return nil
}

// Settle that cannot be stored is written beside the queue, so that the next
// start knows of it; the error is returned all the same.
func (s *session) Settle(ctx context.Context, c queue.Claim, o queue.Outcome) error {
	if err := o.Check(); err != nil {
		return err
	}
	st := newSettlement(c.ID, fenceOf(c), o)
	s.mu.Lock()
	l := s.leases[c.ID]
	s.mu.Unlock()
	if err := st.prepare(l); err != nil {
		return err
	}
	err := s.write(ctx, &request{patient: true, do: func(w *txn) error {
		if _, err := s.of(w, c); err != nil {
			if w.settled(c) {
				return nil
			}
			return err
		}
		return w.settle(st)
	}})
	switch {
	case err == nil:
		s.unsettled.settled(fenceOf(c))
		return nil
	case errors.Is(err, queue.ErrFull) || errors.Is(err, queue.ErrPoisoned):
		if kerr := s.unsettled.keep(c, o); kerr != nil {
			s.log.Error("in-doubt", slog.String("id", c.ID.String()), slog.String("text", "the result of an attempt could not be stored anywhere"), slog.Any("error", kerr))
		}
	}
	return fmt.Errorf("settling %s: %w", c.ID, err)
}

// settled says that this very claim was the last one to be settled.
func (w *txn) settled(c queue.Claim) bool {
	r, _, err := w.message(c.ID)
	return err == nil && r.settled == fenceOf(c)
}

// fresh is a message that is stored with its body in one go.
type fresh struct {
	m    queue.Message
	rec  []byte
	body body
}

func newFresh(n queue.NewMessage) fresh {
	f := fresh{m: n.New(int64(len(n.Body))), body: body{id: n.ID}}
	_, _ = f.body.Write(n.Body)
	f.body.seal()
	f.rec = (&record{Message: f.m}).encode()
	return f
}

func (w *txn) spawn(f *fresh) {
	w.putChunks(bBody, &f.body)
	w.file(&f.m, f.rec)
}
