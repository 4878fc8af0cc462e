package bolt

import (
	"errors"
	"fmt"
	"time"

	"go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"

	"mailroam/queue"
)

// txn is one write transaction, with what it will change in memory once it is
// durable.
type txn struct {
	s       *Store
	tx      *bbolt.Tx
	now     time.Time
	open    map[string]*bbolt.Bucket
	dirty   bool
	err     error               // a change that could not be made: the transaction is lost
	leases  map[queue.ID]*lease // changed ones, nil for ended
	tally   tally
	session int64 // 0: unchanged
	wake    bool  // something may be claimable now
	after   []func()
}

func (s *Store) begin() (*txn, error) {
	tx, err := s.db.Begin(true)
	if err != nil {
		return nil, err
	}
	return &txn{s: s, tx: tx, now: time.Now(), open: make(map[string]*bbolt.Bucket, len(buckets)), leases: map[queue.ID]*lease{}}, nil
}

// publish brings memory up to what has just become durable.
func (w *txn) publish() {
	s := w.s
	s.mu.Lock()
	defer s.mu.Unlock()
	for id, l := range w.leases {
		if l == nil {
			delete(s.leases, id)
		} else {
			s.leases[id] = l
		}
	}
	s.tally.add(w.tally)
	if w.session != 0 {
		s.session = w.session
	}
	if w.wake || w.session != 0 {
		close(s.changed)
		s.changed = make(chan struct{})
	}
	for _, f := range w.after {
		f()
	}
}

func (w *txn) bucket(name string) *bbolt.Bucket {
	b := w.open[name]
	if b == nil {
		b = w.tx.Bucket([]byte(name))
		switch name {
		case bEnv, bPast, bBody, bDone, bAge, bDue:
			b.FillPercent = 0.9 // keys come in order, more or less
		}
		w.open[name] = b
	}
	return b
}

func (w *txn) get(bucket string, k []byte) []byte { return w.bucket(bucket).Get(k) }

// put and del can only fail by a mistake of ours; the transaction is then not
// committed.
func (w *txn) put(bucket string, k, v []byte) {
	w.did("put", bucket, w.bucket(bucket).Put(k, v))
}

func (w *txn) del(bucket string, k []byte) {
	w.did("delete", bucket, w.bucket(bucket).Delete(k))
}

func (w *txn) did(what, bucket string, err error) {
	w.dirty = true
	if err != nil && w.err == nil {
		w.err = fmt.Errorf("%s in %s: %w", what, bucket, err)
	}
}

// current is the number of the session that counts, as this transaction sees it.
func (w *txn) current() int64 {
	if w.session != 0 {
		return w.session
	}
	return w.s.session
}

// lease gives the lease of a message as this transaction sees it, or nil.
func (w *txn) lease(id queue.ID) *lease {
	if l, ok := w.leases[id]; ok {
		return l
	}
	return w.s.leases[id] // only the writer changes it
}

func (w *txn) setLease(id queue.ID, l *lease) {
	w.put(bLease, id[:], l.encode(id))
	w.leases[id] = l
}

// message reads an unfinished or finished message, with its lease, if any.
func (w *txn) message(id queue.ID) (record, *lease, error) {
	v := w.get(bEnv, id[:])
	if v == nil {
		v = w.get(bPast, id[:])
	}
	if v == nil {
		return record{}, nil, queue.ErrNotFound
	}
	r, err := decode(id, v)
	return r, w.lease(id), err
}

// forget takes a message out of the index that it is in and out of the counts.
func (w *txn) forget(m *queue.Message, leased bool) {
	w.tally.count(m, leased, -1)
	switch {
	case leased:
		w.del(bLease, m.ID[:])
		w.leases[m.ID] = nil
	case m.State == queue.Queued:
		w.del(bDue, dueKey(m.Lane, m.Due, m.ID))
		if !m.Age.IsZero() {
			w.del(bAge, timeKey(m.Age, m.ID))
		}
	case m.State == queue.Held:
		w.del(bHeld, m.ID[:])
	case m.State == queue.Done:
		w.del(bDone, timeKey(m.Ended, m.ID))
	}
}

// file enters a message that no pass owns where its state says. The record is
// r's encoding.
func (w *txn) file(m *queue.Message, rec []byte) {
	w.tally.count(m, false, 1)
	switch m.State {
	case queue.Queued:
		w.put(bEnv, m.ID[:], rec)
		w.index(m)
	case queue.Held:
		w.put(bEnv, m.ID[:], rec)
		w.put(bHeld, m.ID[:], nil)
	case queue.Done:
		w.del(bEnv, m.ID[:])
		w.put(bPast, m.ID[:], rec)
		w.put(bDone, timeKey(m.Ended, m.ID), nil)
		w.dropBody(m.ID)
	}
}

func (w *txn) index(m *queue.Message) {
	w.put(bDue, dueKey(m.Lane, m.Due, m.ID), nil)
	if !m.Age.IsZero() {
		w.put(bAge, timeKey(m.Age, m.ID), nil)
	}
	w.wake = true
}

// grant leases a message that is in no index.
func (w *txn) grant(m *queue.Message, rec []byte, upstream string) fence {
	w.tally.count(m, true, 1)
	w.s.epoch++
	f := fence{w.current(), w.s.epoch}
	w.setLease(m.ID, &lease{fence: f, upstream: upstream, rec: rec})
	return f
}

func (w *txn) dropBody(id queue.ID) {
	err := w.bucket(bBody).DeleteBucket(id[:])
	if errors.Is(err, berrors.ErrBucketNotFound) { // it was empty
		err = nil
	}
	w.did("delete", bBody, err)
}
