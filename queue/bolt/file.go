package bolt

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"time"

	"go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"

	"mailroam/queue"
)

// lockWait is how long Open waits for another process to let go.
const lockWait = 300 * time.Millisecond

// openFile gives bbolt a file that is ours alone and whose pages are sound.
func (s *Store) openFile(o Options, distrust bool) (*bbolt.DB, error) {
	var born bool
	db, err := bbolt.Open(s.path(fileDB), 0o600, &bbolt.Options{
		Timeout:         lockWait,
		ReadOnly:        o.ReadOnly,
		NoSync:          o.noSync,
		NoGrowSync:      o.noSync,
		FreelistType:    bbolt.FreelistMapType,
		NoFreelistSync:  true, // with a synced one each commit rewrites it
		InitialMmapSize: mapSize(),
		OpenFile: func(name string, flag int, mode os.FileMode) (*os.File, error) {
			f, err := os.OpenFile(name, flag, mode)
			if err != nil {
				return nil, err
			}
			if born, err = s.inspect(f, o.ReadOnly, distrust); err != nil {
				_ = f.Close()
				return nil, err
			}
			return f, nil
		},
	})
	if err != nil && born && !o.ReadOnly {
		// Half a beginning. It is not removed: another process may wait for its
		// lock, and would then serve a file without a name.
		_ = os.Truncate(s.path(fileDB), 0)
	}
	switch {
	case errors.Is(err, berrors.ErrTimeout) || errors.Is(err, queue.ErrBusy):
		return nil, busy(s.dir)
	case noSpace(err):
		return nil, fmt.Errorf("%w: %w", queue.ErrFull, err)
	}
	return db, err
}

// inspect makes f ours and walks its pages. It says whether there are none yet.
func (s *Store) inspect(f *os.File, readOnly, distrust bool) (born bool, err error) {
	if err := lock(f, readOnly); err != nil {
		return false, err
	}
	if distrust {
		if err := dropCache(f); err != nil {
			return false, fmt.Errorf("reading the queue from the disk again: %w", err)
		}
	}
	switch blank, err := blank(f); {
	case err != nil:
		return false, err
	case blank && readOnly:
		return false, fmt.Errorf("%s: %w: it is still empty", f.Name(), fs.ErrNotExist)
	case blank:
		return true, f.Truncate(0)
	}
	if err := check(f); err != nil {
		return false, fmt.Errorf("%s: %w; keep a copy of it and put a backup in its place, or move it away to begin with an empty queue", f.Name(), err)
	}
	return false, nil
}

// blank says that a file holds nothing, or the zeros that a power cut may leave
// of its first write: no mail was accepted before that write was synced.
func blank(f *os.File) (bool, error) {
	b, err := io.ReadAll(io.NewSectionReader(f, 0, 64<<10))
	if err != nil {
		return false, err
	}
	return len(b) < 64<<10 && len(bytes.Trim(b, "\x00")) == 0, nil
}
