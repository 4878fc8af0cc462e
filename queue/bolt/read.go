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

// view runs a short read transaction.
func (s *Store) view(fn func(*bbolt.Tx) error) (err error) {
	tx, err := s.db.Begin(false)
	if err != nil {
		return queue.ErrClosed
	}
	defer func() {
		_ = tx.Rollback()
		if r := recover(); r != nil { // how bbolt meets a damaged page
			err = fmt.Errorf("%w: %v", queue.ErrCorrupt, r)
		}
	}()
	return fn(tx)
}

// Get returns one message.
func (s *Store) Get(ctx context.Context, id queue.ID) (m queue.Message, err error) {
	if err := ctx.Err(); err != nil {
		return m, err
	}
	err = s.view(func(tx *bbolt.Tx) error {
		m, err = read(tx, id)
		return err
	})
	return m, err
}

func read(tx *bbolt.Tx, id queue.ID) (queue.Message, error) {
	v := tx.Bucket([]byte(bEnv)).Get(id[:])
	if v == nil {
		v = tx.Bucket([]byte(bPast)).Get(id[:])
	}
	if v == nil {
		return queue.Message{}, queue.ErrNotFound
	}
	r, err := decode(id, v)
	if err != nil {
		return queue.Message{}, fmt.Errorf("message %s: %w", id, err)
	}
	if r.State == queue.Queued && tx.Bucket([]byte(bLease)).Get(id[:]) != nil {
		r.State = queue.Leased
	}
	return r.Message, nil
}

// pageSize is how many messages List reads in one transaction.
const pageSize = 200

// List pages through the buckets that can hold what is asked, by ID downwards:
// a message that moves from one to the other between pages keeps its ID, so it
// comes once.
func (s *Store) List(ctx context.Context, f queue.Filter) iter.Seq2[queue.Message, error] {
	return func(yield func(queue.Message, error) bool) {
		var last *queue.ID
		for n := 0; ; {
			page, end, err := s.page(ctx, f, last)
			if err != nil {
				yield(queue.Message{}, err)
				return
			}
			for i := range page {
				if n++; !yield(page[i], nil) || n == f.Limit {
					return
				}
			}
			if end == nil {
				return
			}
			last = end
		}
	}
}

// page reads the matches among the next messages below after, and where to go
// on, nil at the end.
func (s *Store) page(ctx context.Context, f queue.Filter, after *queue.ID) (page []queue.Message, end *queue.ID, err error) {
	if err := ctx.Err(); err != nil {
		return nil, nil, err
	}
	err = s.view(func(tx *bbolt.Tx) error {
		seen := 0
		for id := range idsBelow(tx, f, after) {
			m, err := read(tx, id)
			switch {
			case err != nil: // the next start puts it aside
				s.log.Error("alert", slog.String("text", "a stored message cannot be read"), slog.String("id", id.String()), slog.Any("error", err))
			case f.Match(&m):
				page = append(page, m)
			}
			if seen++; seen == pageSize {
				end = &id
				break
			}
		}
		return nil
	})
	return page, end, err
}

// idsBelow gives the IDs of the messages that f could match, newest first.
func idsBelow(tx *bbolt.Tx, f queue.Filter, after *queue.ID) iter.Seq[queue.ID] {
	if len(f.IDs) > 0 {
		ids := slices.SortedFunc(slices.Values(f.IDs), func(a, b queue.ID) int { return bytes.Compare(b[:], a[:]) })
		return func(yield func(queue.ID) bool) {
			for _, id := range slices.Compact(ids) {
				if (after == nil || bytes.Compare(id[:], after[:]) < 0) && exists(tx, id) && !yield(id) {
					return
				}
			}
		}
	}
	return func(yield func(queue.ID) bool) {
		var cs []*bbolt.Cursor
		var ks [][]byte
		for _, name := range sources(f.States) {
			c := tx.Bucket([]byte(name)).Cursor()
			k, _ := c.Last()
			if after != nil {
				if k, _ = seekLast(c, after[:]); bytes.Equal(k, after[:]) {
					k, _ = c.Prev()
				}
			}
			cs, ks = append(cs, c), append(ks, k)
		}
		for {
			top := -1
			for i, k := range ks {
				if k != nil && (top < 0 || bytes.Compare(k, ks[top]) > 0) {
					top = i
				}
			}
			if top < 0 || !yield(queue.ID(ks[top])) {
				return
			}
			ks[top], _ = cs[top].Prev()
		}
	}
}

func exists(tx *bbolt.Tx, id queue.ID) bool {
	return tx.Bucket([]byte(bEnv)).Get(id[:]) != nil || tx.Bucket([]byte(bPast)).Get(id[:]) != nil
}

// sources are the buckets keyed by ID that together hold these states.
func sources(states []queue.State) []string {
	if states == nil {
		return []string{bEnv}
	}
	var in []string
	if slices.Contains(states, queue.Queued) {
		in = append(in, bEnv)
	} else {
		if slices.Contains(states, queue.Leased) {
			in = append(in, bLease)
		}
		if slices.Contains(states, queue.Held) {
			in = append(in, bHeld)
		}
	}
	if slices.Contains(states, queue.Done) {
		in = append(in, bPast)
	}
	return in
}

// Stats counts the queue as of the last commit.
func (s *Store) Stats(ctx context.Context) (queue.Stats, error) {
	if err := ctx.Err(); err != nil {
		return queue.Stats{}, err
	}
	s.mu.Lock()
	st := s.tally.stats()
	s.mu.Unlock()
	err := s.view(func(tx *bbolt.Tx) error {
		if k, v := tx.Bucket([]byte(bEnv)).Cursor().First(); k != nil {
			if r, err := decode(queue.ID(k), v); err == nil {
				st.Oldest = r.Accepted
			}
		}
		return nil
	})
	return st, err
}
