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

	"go.etcd.io/bbolt"

	"mailroam/queue"
)

// Options say where the queue is.
type Options struct {
	Dir string       // made with mode 0700 when missing
	Log *slog.Logger // nil: nothing is logged
	// ReadOnly opens a queue that nobody serves, for listing: every write
	// fails, and what was leased is shown as leased.
	ReadOnly bool
	// noSync leaves the file to the system, for tests in which only processes die.
	noSync bool
	// Ballast is how many octets of the disk are kept back for recording what
	// was sent when it is full. 0: 64 MiB, less on a small disk; below 0: none.
	Ballast int64
}

// The files in Options.Dir, beside those of poison.go and unsettled.go.
const (
	fileDB      = "queue.db"
	filePID     = "pid"
	fileBallast = "ballast"
)

var errReadOnly = errors.New("the queue was opened for reading only")

// Store is a queue.Store in one file.
type Store struct {
	dir       string
	log       *slog.Logger
	db        *bbolt.DB
	inbox     inbox
	stopped   chan struct{} // closed when the writer has ended
	poisoned  chan struct{}
	unsettled *unsettled // nil when read only

	// The writer's own.
	ballast *ballast
	epoch   int64                 // the last one given
	finish  func(*bbolt.Tx) error // commits; tests make it fail

	mu      sync.Mutex // over what follows; only the writer changes it
	session int64
	leases  map[queue.ID]*lease
	tally   tally
	changed chan struct{} // closed and replaced when something may be claimable
}

var _ queue.Store = (*Store)(nil)

// Open opens the queue, or makes it. Of its errors, queue.ErrBusy names the
// process that has it; the others are queue.ErrNewer, queue.ErrFull, and
// queue.ErrCorrupt for a file that must not be touched any more.
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
	s := &Store{
		dir: o.Dir, log: o.Log,
		inbox:   inbox{bell: make(chan struct{}, 1)},
		stopped: make(chan struct{}), poisoned: make(chan struct{}), changed: make(chan struct{}),
		finish: (*bbolt.Tx).Commit,
	}
	if !o.ReadOnly {
		if err := os.MkdirAll(o.Dir, 0o700); err != nil {
			return nil, err
		}
	}
	poison, err := readPoison(o.Dir)
	if err != nil {
		return nil, err
	}
	if s.db, err = s.openFile(o, !poison.Verified); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			_ = s.release()
		}
	}()
	if o.ReadOnly {
		close(s.stopped)
		return s, s.read()
	}
	if err := os.WriteFile(s.path(filePID), strconv.AppendInt(nil, int64(os.Getpid()), 10), 0o600); err != nil {
		s.log.Warn("alert", slog.String("text", "the process number could not be written beside the queue"), slog.Any("error", err))
	}
	if err := s.ready(o, poison); err != nil {
		return nil, err
	}
	go s.run()
	return s, nil
}

// ready does what comes between a sound file and the first request.
func (s *Store) ready(o Options, poison poisonFile) error {
	s.ballast = newBallast(s.dir, s.path(fileBallast), o.Ballast, s.inside, s.log)
	var err error
	if s.unsettled, err = openUnsettled(s.path(fileUnsettled)); err != nil {
		return err
	}
	if err := s.alone(func(w *txn) error { return w.prepare() }); err != nil {
		return err
	}
	if err := s.read(); err != nil {
		return err
	}
	if !poison.Verified {
		s.log.Warn("alert", slog.String("text", "the disk failed under the queue before; every message is being checked"))
		if err := s.checkBodies(); err != nil {
			return err
		}
	}
	if err := poison.clear(s.dir); err != nil {
		s.log.Warn("alert", slog.String("text", "it could not be noted that the queue is whole again"), slog.Any("error", err))
	}
	// The file's name is durable before anything in it is promised. A parent
	// that may not be read was made by somebody else, long ago.
	if err := syncDir(filepath.Dir(s.dir)); err != nil && !errors.Is(err, fs.ErrPermission) {
		return err
	}
	if err := syncDir(s.dir); err != nil {
		return err
	}
	if o.Ballast < 0 {
		return nil
	}
	if err := errors.Join(s.ballast.hold(), s.unsettled.reserve()); err != nil {
		s.log.Error("alert", slog.String("text", "the disk has no room to keep back for bad times"), slog.Any("error", err))
	}
	return nil
}

// alone makes a change while there is no writer yet.
func (s *Store) alone(do func(*txn) error) error {
	r := &request{do: do, done: make(chan error, 1)}
	s.commit([]*request{r})
	return <-r.done
}

// prepare brings the file into the shape that the rest relies on.
func (w *txn) prepare() error {
	meta := w.tx.Bucket([]byte(bMeta))
	if meta != nil {
		v := meta.Get(keySchema)
		if len(v) != 8 {
			return fmt.Errorf("%w: it does not say which version wrote it", queue.ErrCorrupt)
		}
		switch n := binary.BigEndian.Uint64(v); {
		case n > schema:
			return fmt.Errorf("%w (its schema is %d, this program knows %d): install the newer mailroam again", queue.ErrNewer, n, schema)
		case n == schema:
			return nil
		}
	} else {
		for _, name := range buckets {
			w.renew(name)
		}
	}
	w.put(bMeta, keySchema, binary.BigEndian.AppendUint64(nil, schema))
	return nil
}

// read fills the memory from the file, and repairs the file if it may.
func (s *Store) read() error {
	for range 3 { // what one repair uncovers may need another
		v, err := s.survey()
		if err != nil {
			return err
		}
		s.leases, s.tally = v.leases, v.tally
		if v.clean() || s.db.IsReadOnly() {
			return nil
		}
		if err := s.alone(func(w *txn) error { w.repair(v); return nil }); err != nil {
			return err
		}
	}
	return fmt.Errorf("%w: it cannot be repaired", queue.ErrCorrupt)
}

func (s *Store) survey() (v *survey, err error) {
	err = s.view(func(tx *bbolt.Tx) error {
		meta := tx.Bucket([]byte(bMeta))
		if meta == nil {
			return fmt.Errorf("%w: it is no queue", queue.ErrCorrupt)
		}
		if k := meta.Get(keySession); len(k) == 8 {
			s.session = int64(binary.BigEndian.Uint64(k))
		}
		v, err = look(tx)
		return err
	})
	return v, err
}

// Close waits for the running commit and lets go of the file.
func (s *Store) Close() error {
	s.inbox.close()
	<-s.stopped
	return s.release()
}

func (s *Store) release() error {
	var err error
	if s.unsettled != nil {
		err = s.unsettled.close()
	}
	if !s.db.IsReadOnly() {
		if rerr := os.Remove(s.path(filePID)); rerr != nil && !errors.Is(rerr, fs.ErrNotExist) {
			err = errors.Join(err, rerr)
		}
	}
	return errors.Join(err, s.db.Close())
}
