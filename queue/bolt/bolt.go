package bolt

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"time"

	"go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"

	"mailroam/queue"
)

// Options say where the queue is.
type Options struct {
	Dir string       // made with mode 0700 when missing
	Log *slog.Logger // nil: nothing is logged
	// ReadOnly opens a queue that nobody serves, for listing: every write
	// fails, and what was leased is shown as leased.
	ReadOnly bool
}

// The files in Options.Dir.
const (
	fileDB  = "queue.db"
	filePID = "pid"
)

// lockWait is how long Open waits for another process to let go.
const lockWait = 300 * time.Millisecond

var errReadOnly = errors.New("the queue was opened for reading only")

// Store is a queue.Store in one file.
type Store struct {
	dir   string
	db    *bbolt.DB
	log   *slog.Logger
	inbox inbox
	// stopped is closed when the writer has ended.
	stopped chan struct{}
	epoch   int64 // the writer's: the last one given

	mu       sync.Mutex // over what follows; only the writer changes it
	session  int64
	leases   map[queue.ID]*lease
	tally    tally
	changed  chan struct{} // closed and replaced when something may be claimable
	poisoned chan struct{}
	reason   error // why poisoned
}

var _ queue.Store = (*Store)(nil)

// Open opens the queue, or makes it. Errors: queue.ErrBusy names the process
// that has it; queue.ErrNewer; queue.ErrFull; queue.ErrCorrupt.
func Open(o Options) (*Store, error) {
	s, err := open(o)
	if err != nil {
		return nil, fmt.Errorf("opening the queue in %s: %w", o.Dir, err)
	}
	return s, nil
}

func open(o Options) (_ *Store, err error) {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if !o.ReadOnly {
		if err := os.MkdirAll(o.Dir, 0o700); err != nil {
			return nil, err
		}
	}
	path := filepath.Join(o.Dir, fileDB)
	if _, err := os.Stat(path); o.ReadOnly && err != nil {
		return nil, err
	}
	db, err := bbolt.Open(path, 0o600, &bbolt.Options{
		Timeout:         lockWait,
		ReadOnly:        o.ReadOnly,
		FreelistType:    bbolt.FreelistMapType,
		NoFreelistSync:  true,
		InitialMmapSize: mapSize(),
		NoStatistics:    true,
	})
	if errors.Is(err, berrors.ErrTimeout) {
		return nil, busy(o.Dir)
	}
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			_ = db.Close()
		}
	}()
	s := &Store{
		dir: o.Dir, db: db, log: o.Log,
		inbox:   inbox{bell: make(chan struct{}, 1)},
		stopped: make(chan struct{}),
		leases:  map[queue.ID]*lease{},
		changed: make(chan struct{}), poisoned: make(chan struct{}),
	}
	if o.ReadOnly {
		close(s.stopped)
		return s, s.load()
	}
	if err := s.prepare(); err != nil {
		return nil, err
	}
	if err := s.load(); err != nil {
		return nil, err
	}
	if err := os.WriteFile(filepath.Join(o.Dir, filePID), strconv.AppendInt(nil, int64(os.Getpid()), 10), 0o600); err != nil {
		o.Log.Warn("alert", slog.String("why", "the file with the process number could not be written"), slog.Any("error", err))
	}
	go s.run()
	return s, nil
}

// busy names the process that has the queue, if it is known.
func busy(dir string) error {
	b, err := os.ReadFile(filepath.Join(dir, filePID))
	if pid, perr := strconv.Atoi(string(b)); err == nil && perr == nil {
		return fmt.Errorf("%w: process %d has it open", queue.ErrBusy, pid)
	}
	return fmt.Errorf("%w: another mailroam command has it open", queue.ErrBusy)
}

// prepare brings the file into the shape that the rest relies on.
func (s *Store) prepare() error {
	return s.db.Update(func(tx *bbolt.Tx) error {
		meta, err := tx.CreateBucketIfNotExists([]byte(bMeta))
		if err != nil {
			return err
		}
		v := meta.Get(keySchema)
		if v != nil && binary.BigEndian.Uint64(v) > schema {
			return fmt.Errorf("%w (its schema is %d, this program knows %d): install that version again", queue.ErrNewer, binary.BigEndian.Uint64(v), schema)
		}
		if v == nil {
			if err := meta.Put(keySchema, binary.BigEndian.AppendUint64(nil, schema)); err != nil {
				return err
			}
		}
		if err := tx.DeleteBucket([]byte(bStage)); err != nil && !errors.Is(err, berrors.ErrBucketNotFound) {
			return err
		}
		for _, name := range buckets {
			if _, err := tx.CreateBucketIfNotExists([]byte(name)); err != nil {
				return err
			}
		}
		return nil
	})
}

// load reads what is kept in memory.
func (s *Store) load() error {
	return s.view(func(tx *bbolt.Tx) error {
		if v := tx.Bucket([]byte(bMeta)).Get(keySession); v != nil {
			s.session = int64(binary.BigEndian.Uint64(v))
		}
		env := tx.Bucket([]byte(bEnv))
		err := tx.Bucket([]byte(bLease)).ForEach(func(k, v []byte) error {
			id := queue.ID(k)
			l, err := decodeLease(id, v)
			if err == nil {
				l.rec = append([]byte(nil), env.Get(k)...)
				s.leases[id] = l
			}
			return err
		})
		if err != nil {
			return err
		}
		err = env.ForEach(func(k, v []byte) error {
			r, err := decode(queue.ID(k), v)
			if err == nil {
				s.tally.count(&r.Message, s.leases[r.ID] != nil, 1)
			}
			return err
		})
		s.tally.done = tx.Bucket([]byte(bDone)).Stats().KeyN
		s.tally.quarantined = tx.Bucket([]byte(bQuarantine)).Stats().KeyN
		return err
	})
}

// Poisoned is closed when a write has left the disk in an unknown state.
func (s *Store) Poisoned() <-chan struct{} { return s.poisoned }

func (s *Store) isPoisoned() bool {
	select {
	case <-s.poisoned:
		return true
	default:
		return false
	}
}

// poison ends all writing for the life of this process: after a failed sync
// nobody knows what the disk holds, and a second sync may lie about the first.
func (s *Store) poison(doing string, err error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.reason = fmt.Errorf("%w: %s: %w", queue.ErrPoisoned, doing, err)
	close(s.poisoned)
	return s.reason
}

// Close waits for the running commit and lets go of the file.
func (s *Store) Close() error {
	s.inbox.close()
	<-s.stopped
	if !s.db.IsReadOnly() {
		if err := os.Remove(filepath.Join(s.dir, filePID)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			s.log.Warn("alert", slog.String("why", "the file with the process number could not be removed"), slog.Any("error", err))
		}
	}
	return s.db.Close()
}
