package bolt

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"slices"
	"sync"
	"sync/atomic"
	"time"

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
	// patient: nobody stands at a socket for it, so it waits a moment for others
	// to share their commit.
	patient bool
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
	bell   chan struct{}         // holds one ring when there is something to do
	enough func([]*request) bool // while set, the bell is not rung before
}

func (in *inbox) put(r *request) error {
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.closed {
		return queue.ErrClosed
	}
	in.reqs = append(in.reqs, r)
	if in.enough == nil || in.enough(in.reqs) {
		in.ring()
	}
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

func (in *inbox) len() int {
	in.mu.Lock()
	defer in.mu.Unlock()
	return len(in.reqs)
}

// linger waits until there are enough requests, or for d at most.
func (in *inbox) linger(enough func([]*request) bool, d time.Duration) {
	in.mu.Lock()
	if in.closed || enough(in.reqs) {
		in.mu.Unlock()
		return
	}
	in.enough = enough
	select { // a ring that is already answered: all there is will be taken
	case <-in.bell:
	default:
	}
	in.mu.Unlock()

	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-in.bell:
	case <-t.C:
	}
	in.mu.Lock()
	in.enough = nil
	in.mu.Unlock()
}

// atLeast is enough when n requests are there.
func atLeast(n int) func([]*request) bool {
	return func(reqs []*request) bool { return len(reqs) >= n }
}

// urgent is enough when one of the requests should not wait.
func urgent(reqs []*request) bool {
	return len(reqs) == 0 || len(reqs) >= maxBatch || slices.ContainsFunc(reqs, func(r *request) bool { return !r.patient })
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

// The writer waits for those who were just answered when that many are at it,
// for three times as long as the last commit took and never longer than
// maxLinger. It seldom waits that long: it stops when all of them are there.
const (
	lingerFrom = 4
	maxLinger  = 4 * time.Millisecond
)

// run is the writer.
func (s *Store) run() {
	defer close(s.stopped)
	lot := make([]*request, 0, maxBatch)
	var took time.Duration // by the last commit
	var busy int           // who took part in it, and who waited for it
	for range s.inbox.bell {
		// Those who have just been answered soon come with their next request.
		// Without a wait for them two halves of the callers would take turns,
		// each in a commit of its own. A few callers would only be slowed down.
		if busy >= lingerFrom {
			s.inbox.linger(atLeast(busy), min(3*took, maxLinger))
		}
		// A lone client's next message comes a moment after the result of the
		// last one, and may share its commit: that halves the syncs of each.
		s.inbox.linger(urgent, min(took, maxLinger))
		var open bool
		lot, open = s.inbox.take(lot[:0])
		more := s.inbox.len() > 0 // than fits into one commit: no need to wait
		if len(lot) > 0 {
			start := time.Now()
			s.commit(lot)
			took = time.Since(start)
			busy = min(len(lot)+s.inbox.len(), maxBatch)
			clear(lot)
		}
		if more {
			busy = 0
		}
		if !open {
			return
		}
	}
}

// commit does a lot in one transaction and tells everyone how it went.
func (s *Store) commit(lot []*request) {
	errs := make([]error, len(lot))
	skip := func(*request) bool { return false }
	if s.ballast.refuse(time.Now()) {
		skip = isIntake
	}
	err := s.tryCommit(lot, errs, skip)
	if errors.Is(err, queue.ErrFull) {
		// In the room of the ballast, or without the new mail, the rest may fit.
		if s.ballast.fail(err) || slices.ContainsFunc(lot, isIntake) {
			err = s.tryCommit(lot, errs, isIntake)
		}
	}
	for i, r := range lot {
		if err != nil {
			errs[i] = err
		}
		r.done <- errs[i]
	}
}

func isIntake(r *request) bool { return r.intake }

// tryCommit gives each request its own answer in errs, or all the same one.
func (s *Store) tryCommit(lot []*request, errs []error, skip func(*request) bool) (err error) {
	if s.isPoisoned() {
		return queue.ErrPoisoned
	}
	w, err := s.begin()
	if err != nil {
		return s.poison("beginning a transaction", err)
	}
	defer func() {
		// bbolt panics where it finds what must not be; what it holds in memory
		// is then as doubtful as the file.
		if r := recover(); r != nil {
			s.log.Error("alert", slog.String("text", "the queue file is damaged"), slog.Any("panic", r), slog.String("stack", string(debug.Stack())))
			err = s.poison("changing the file", fmt.Errorf("%v", r))
			_ = w.tx.Rollback() // or Close would wait for it for ever
		}
	}()
	for i, r := range lot {
		if skip(r) {
			errs[i] = queue.ErrFull
			continue
		}
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
	id := w.tx.ID()
	if err := s.finish(w.tx); err != nil {
		return s.failed(id, err)
	}
	w.publish()
	return nil
}

// failed judges a commit that failed. A write refused for want of space has
// changed nothing that counts. After anything else the disk's state is not
// known: when the second sync fails the commit can be seen all the same.
func (s *Store) failed(id int, err error) error {
	if noSpace(err) && !s.visible(id) {
		return fmt.Errorf("%w: %w", queue.ErrFull, err)
	}
	return s.poison("committing", err)
}

// visible says whether readers already see a transaction.
func (s *Store) visible(id int) bool {
	tx, err := s.db.Begin(false)
	if err != nil {
		return true
	}
	defer func() { _ = tx.Rollback() }()
	return tx.ID() >= id
}
