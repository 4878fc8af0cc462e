package bolt

import (
	"bytes"
	"fmt"
	"hash/maphash"
	"log/slog"

	"go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"

	"mailroam/queue"
)

// survey is what Open finds by reading every unfinished message once: what is
// kept in memory, and what has to be put right. The messages are the truth;
// everything else in the file can be made from them.
type survey struct {
	leases  map[queue.ID]*lease
	tally   tally
	damaged map[queue.ID]error // messages that cannot be read
	unclear map[queue.ID]error // messages whose lease cannot be read
	strays  []queue.ID         // bodies without a message
	stale   []string           // indexes that differ from the messages
	staged  bool               // drafts of a process that is gone
}

func (v *survey) clean() bool {
	return len(v.damaged)+len(v.unclear)+len(v.strays)+len(v.stale) == 0 && !v.staged
}

// digest stands for a set of keys, in any order.
type digest struct {
	n   int
	sum uint64
}

func (d *digest) add(seed maphash.Seed, k []byte) {
	d.n++
	d.sum += maphash.Bytes(seed, k)
}

func look(tx *bbolt.Tx) (*survey, error) {
	v := &survey{leases: map[queue.ID]*lease{}, damaged: map[queue.ID]error{}, unclear: map[queue.ID]error{}}
	bucket := func(name string) *bbolt.Bucket { return tx.Bucket([]byte(name)) }
	seed := maphash.MakeSeed()
	want := map[string]*digest{bDue: {}, bAge: {}, bHeld: {}}

	env := bucket(bEnv)
	err := bucket(bLease).ForEach(func(k, val []byte) error {
		id := queue.ID(k)
		l, err := decodeLease(id, val)
		if err != nil {
			v.unclear[id] = err
			return nil
		}
		l.rec = bytes.Clone(env.Get(k))
		v.leases[id] = l
		return nil
	})
	if err != nil {
		return nil, err
	}
	err = env.ForEach(func(k, val []byte) error {
		r, err := decode(queue.ID(k), val)
		if err != nil {
			v.damaged[queue.ID(k)] = err
			delete(v.leases, queue.ID(k))
			return nil
		}
		leased := v.leases[r.ID] != nil
		v.tally.count(&r.Message, leased, 1)
		switch {
		case leased || v.unclear[r.ID] != nil:
		case r.State == queue.Held:
			want[bHeld].add(seed, k)
		default:
			want[bDue].add(seed, dueKey(r.Lane, r.Due, r.ID))
			if !r.Age.IsZero() {
				want[bAge].add(seed, timeKey(r.Age, r.ID))
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	for id, l := range v.leases {
		if l.rec == nil { // a lease on nothing
			v.unclear[id] = queue.ErrNotFound
			delete(v.leases, id)
		}
	}
	for _, name := range []string{bDue, bAge, bHeld} {
		var got digest
		if err := bucket(name).ForEach(func(k, _ []byte) error { got.add(seed, k); return nil }); err != nil {
			return nil, err
		}
		if got != *want[name] {
			v.stale = append(v.stale, name)
		}
	}

	past := bucket(bPast)
	v.tally.done = past.Stats().KeyN
	if bucket(bDone).Stats().KeyN != v.tally.done {
		v.stale = append(v.stale, bDone)
	}
	if k, val := past.Cursor().Last(); k != nil { // the newest has seen the highest odometer
		if r, err := decode(queue.ID(k), val); err == nil {
			v.tally.online = max(v.tally.online, r.Online)
		}
	}
	quarantine := bucket(bQuarantine)
	v.tally.quarantined = quarantine.Stats().KeyN

	// Bodies and messages are both in the order of their IDs.
	c := env.Cursor()
	k, _ := c.First()
	err = bucket(bBody).ForEach(func(b, _ []byte) error {
		for k != nil && bytes.Compare(k, b) < 0 {
			k, _ = c.Next()
		}
		if !bytes.Equal(k, b) && quarantine.Get(b) == nil {
			v.strays = append(v.strays, queue.ID(b))
		}
		return nil
	})
	first, _ := bucket(bStage).Cursor().First()
	v.staged = first != nil
	return v, err
}

// repair does what the survey found, and says all of it: none of this happens
// to a queue on a sound disk, but for drafts.
func (w *txn) repair(v *survey) {
	log := w.s.log
	for id, err := range v.damaged {
		w.quarantine(id, err)
	}
	for id, err := range v.unclear {
		w.del(bLease, id[:])
		r, _, rerr := w.message(id)
		if rerr != nil {
			continue
		}
		// Who was about to get it is not known, so it must not go anywhere by itself.
		r.State = queue.Held
		r.Held = queue.Hold{Reason: "the record of its last attempt is damaged: it may have been sent already", By: "mailroam", Since: w.now.UTC()}
		w.put(bEnv, id[:], r.encode())
		log.Error("alert", slog.String("text", "a message is held, for the record of its last attempt is damaged"), slog.String("id", id.String()), slog.Any("error", err))
	}
	for _, id := range v.strays {
		w.dropBody(id)
		log.Warn("alert", slog.String("text", "a body without a message was removed"), slog.String("id", id.String()))
	}
	if v.staged {
		w.renew(bStage)
	}
	stale := v.stale
	if len(v.damaged)+len(v.unclear) > 0 {
		stale = []string{bDue, bAge, bHeld}
	}
	if len(stale) > 0 {
		w.reindex()
		log.Warn("alert", slog.String("text", "the indexes of the queue were rebuilt"), slog.Any("indexes", stale))
	}
}

// renew empties a bucket.
func (w *txn) renew(name string) {
	delete(w.open, name)
	err := w.tx.DeleteBucket([]byte(name))
	if err != nil && err != berrors.ErrBucketNotFound {
		w.did("delete", name, err)
	}
	_, err = w.tx.CreateBucket([]byte(name))
	w.did("create", name, err)
}

// reindex makes every index anew from the messages.
func (w *txn) reindex() {
	for _, name := range []string{bDue, bAge, bHeld, bDone} {
		w.renew(name)
	}
	lease := w.bucket(bLease)
	_ = w.bucket(bEnv).ForEach(func(k, v []byte) error {
		r, err := decode(queue.ID(k), v)
		switch {
		case err != nil || lease.Get(k) != nil:
		case r.State == queue.Held:
			w.put(bHeld, k, nil)
		default:
			w.index(&r.Message)
		}
		return nil
	})
	_ = w.bucket(bPast).ForEach(func(k, v []byte) error {
		if r, err := decode(queue.ID(k), v); err == nil {
			w.put(bDone, timeKey(r.Ended, r.ID), nil)
		} else {
			w.put(bDone, timeKey(w.now, queue.ID(k)), nil) // it is forgotten in its time
		}
		return nil
	})
}

// quarantine puts a record that cannot be read where nothing sends it, and
// keeps its body: a person may still make something of them.
func (w *txn) quarantine(id queue.ID, why error) {
	v := bytes.Clone(w.get(bEnv, id[:]))
	w.del(bEnv, id[:])
	w.del(bLease, id[:])
	w.put(bQuarantine, id[:], v)
	w.tally.quarantined++
	w.s.log.Error("alert", slog.String("text", "a message is damaged and was put aside; it will not be sent"), slog.String("id", id.String()), slog.Any("error", why))
}

// checkBodies reads every octet of every body, and names the damaged ones.
func (s *Store) checkBodies() error {
	var ids []queue.ID
	err := s.view(func(tx *bbolt.Tx) error {
		return tx.Bucket([]byte(bBody)).ForEach(func(k, _ []byte) error {
			ids = append(ids, queue.ID(k))
			return nil
		})
	})
	if err != nil {
		return fmt.Errorf("checking the bodies: %w", err)
	}
	for _, id := range ids {
		if err := s.checkBody(id); err != nil {
			s.log.Error("alert", slog.String("text", "the body of a message is damaged"), slog.String("id", id.String()), slog.Any("error", err))
		}
	}
	return nil
}
