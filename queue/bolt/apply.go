package bolt

import (
	"bytes"
	"context"
	"fmt"
	"iter"
	"log/slog"
	"slices"

	"go.etcd.io/bbolt"

	"mailroam/queue"
)

// lotSize is how many finished messages one transaction of Apply forgets.
const lotSize = 500

// Apply finds the messages in short reads and changes them lot by lot; each is
// matched again where it is changed.
func (s *Store) Apply(ctx context.Context, f queue.Filter, op queue.Op) (a queue.Affected, err error) {
	for ids, err := range s.lots(ctx, f) {
		if err != nil {
			return a, fmt.Errorf("queue %s: %w", op.Verb, err)
		}
		var part queue.Affected
		err = s.write(ctx, &request{size: len(ids) << 10, do: func(w *txn) error {
			part = queue.Affected{}
			for _, id := range ids {
				if f.Limit > 0 && a.Matched+part.Matched == f.Limit {
					break
				}
				w.apply(id, f, op, &part)
			}
			return nil
		}})
		if err != nil {
			return a, fmt.Errorf("queue %s: %w", op.Verb, err)
		}
		a.Matched += part.Matched
		a.Changed += part.Changed
		a.IDs = append(a.IDs, part.IDs[:min(len(part.IDs), queue.MaxAffectedIDs-len(a.IDs))]...)
		if f.Limit > 0 && a.Matched == f.Limit {
			break
		}
	}
	return a, nil
}

// lots gives the messages that match, some at a time.
func (s *Store) lots(ctx context.Context, f queue.Filter) iter.Seq2[[]queue.ID, error] {
	if slices.Equal(f.States, []queue.State{queue.Done}) && !f.Before.IsZero() && len(f.IDs) == 0 {
		return s.ended(f)
	}
	return func(yield func([]queue.ID, error) bool) {
		var last *queue.ID
		for {
			page, end, err := s.page(ctx, f, last)
			var ids []queue.ID
			for i := range page {
				ids = append(ids, page[i].ID)
			}
			if (err != nil || ids != nil) && !yield(ids, err) || err != nil || end == nil {
				return
			}
			last = end
		}
	}
}

// ended gives the messages that ended before f.Before, by the index that is
// kept for forgetting them.
func (s *Store) ended(f queue.Filter) iter.Seq2[[]queue.ID, error] {
	return func(yield func([]queue.ID, error) bool) {
		last := make([]byte, timeLen+idLen)
		for {
			var ids []queue.ID
			err := s.view(func(tx *bbolt.Tx) error {
				c := tx.Bucket([]byte(bDone)).Cursor()
				k, _ := c.Seek(last)
				if bytes.Equal(k, last) {
					k, _ = c.Next()
				}
				for ; k != nil && len(ids) < lotSize; k, _ = c.Next() {
					at, id := splitTime(k)
					if at >= instant(f.Before) {
						break
					}
					ids = append(ids, id)
					last = bytes.Clone(k)
				}
				return nil
			})
			if (err != nil || ids != nil) && !yield(ids, err) || err != nil || len(ids) < lotSize {
				return
			}
		}
	}
}

// apply does op to one message if it still matches.
func (w *txn) apply(id queue.ID, f queue.Filter, op queue.Op, a *queue.Affected) {
	r, l, err := w.message(id)
	if err != nil {
		return // gone, or not readable: List has said so
	}
	if l != nil {
		r.State = queue.Leased
	}
	if !f.Match(&r.Message) {
		return
	}
	a.Matched++
	if w.do(&r, l, op) {
		a.Changed++
		a.IDs = append(a.IDs, id)
	}
}

func (w *txn) do(r *record, l *lease, op queue.Op) bool {
	switch {
	case l != nil:
		want, changed := l.want.Next(op.Verb)
		if changed {
			next := *l
			next.want = want
			w.setLease(r.ID, &next)
		}
		return changed
	case op.Verb == queue.OpForget:
		if r.State != queue.Done {
			return false
		}
		w.forget(&r.Message, false)
		w.del(bPast, r.ID[:])
		return true
	}
	var notice *queue.NewMessage
	if op.Verb == queue.OpFail && op.Notice != nil && r.State != queue.Done {
		var err error
		if notice, err = makeNotice(op, r.Message); err != nil {
			w.s.log.Error("alert", slog.String("text", "a message was not failed, for its notice could not be made"), slog.String("id", r.ID.String()), slog.Any("error", err))
			return false
		}
	}
	old := r.Message
	r.Recipients = slices.Clone(r.Recipients)
	if !r.Do(op) {
		return false
	}
	w.forget(&old, false)
	w.file(&r.Message, r.encode())
	if notice != nil {
		f := newFresh(*notice)
		w.spawn(&f)
	}
	return true
}

// makeNotice lets no mistake of who makes it reach the transaction.
func makeNotice(op queue.Op, m queue.Message) (n *queue.NewMessage, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("making a notice: %v", r)
		}
	}()
	if n = op.Notice(m); n != nil {
		err = n.Check()
	}
	return n, err
}
