package bolt

import (
	"context"
	"sync"
	"sync/atomic"

	"mailroam/queue"
)

// What one commit takes at most: more would make those at its head wait for
// those at its end.
const (
	maxBatch      = 256
	maxBatchBytes = 4 << 20
)

// request is one change that somebody waits for.
type request struct {
	size   int  // octets it adds, about
	intake bool // new mail: refused while the disk is full
	// do makes the change, or refuses before it has changed anything. It may
	// be run again, when the transaction it was part of could not be written.
	do    func(*txn) error
	state atomic.Int32
	done  chan error
}

// A request can be withdrawn until the writer takes it.
const (
	waiting = iota
	taken
	withdrawn
)

// inbox holds the requests made while a commit runs. It is not bounded: every
// request is somebody who waits.
type inbox struct {
	mu     sync.Mutex
	reqs   []*request
	closed bool
	bell   chan struct{} // holds one ring when there is something to do
}

func (in *inbox) put(r *request) error {
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.closed {
		return queue.ErrClosed
	}
	in.reqs = append(in.reqs, r)
	in.ring()
	return nil
}

func (in *inbox) ring() {
	select {
	case in.bell <- struct{}{}:
	default:
	}
}

func (in *inbox) close() {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.closed = true
	in.ring()
}

// take gives the next lot, and whether more can ever come.
func (in *inbox) take(lot []*request) (_ []*request, open bool) {
	in.mu.Lock()
	defer in.mu.Unlock()
	n, bytes := 0, 0
	for _, r := range in.reqs {
		if len(lot) == maxBatch || len(lot) > 0 && bytes+r.size > maxBatchBytes {
			break
		}
		n++
		if r.state.CompareAndSwap(waiting, taken) {
			lot = append(lot, r)
			bytes += r.size
		}
	}
	rest := copy(in.reqs, in.reqs[n:])
	clear(in.reqs[rest:])
	in.reqs = in.reqs[:rest]
	if rest > 0 {
		in.ring()
	}
	return lot, !in.closed || rest > 0
}

// write has r done by the writer and waits for its commit. Until the writer
// takes it, ctx can end it; then nothing has happened.
func (s *Store) write(ctx context.Context, r *request) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if s.db.IsReadOnly() {
		return errReadOnly
	}
	r.done = make(chan error, 1)
	if err := s.inbox.put(r); err != nil {
		return err
	}
	select {
	case err := <-r.done:
		return err
	case <-ctx.Done():
		if r.state.CompareAndSwap(waiting, withdrawn) {
			return ctx.Err()
		}
		return <-r.done
	}
}

// run is the writer.
func (s *Store) run() {
	defer close(s.stopped)
	lot := make([]*request, 0, maxBatch)
	for range s.inbox.bell {
		var open bool
		lot, open = s.inbox.take(lot[:0])
		if len(lot) > 0 {
			s.commit(lot)
			clear(lot)
		}
		if !open {
			return
		}
	}
}

// commit does a lot in one transaction and tells everyone how it went.
func (s *Store) commit(lot []*request) {
	errs := make([]error, len(lot))
	err := s.tryCommit(lot, errs)
	for i, r := range lot {
		if err != nil {
			errs[i] = err
		}
		r.done <- errs[i]
	}
}

func (s *Store) tryCommit(lot []*request, errs []error) error {
	if s.isPoisoned() {
		return queue.ErrPoisoned
	}
	w, err := s.begin()
	if err != nil {
		return s.poison("beginning a transaction", err)
	}
	for i, r := range lot {
		errs[i] = r.do(w)
		if w.err != nil {
			_ = w.tx.Rollback()
			return w.err
		}
	}
	if !w.dirty {
		_ = w.tx.Rollback()
		w.publish()
		return nil
	}
	if err := w.tx.Commit(); err != nil {
		return s.poison("committing", err)
	}
	w.publish()
	return nil
}
