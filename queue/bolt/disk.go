package bolt

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// fill writes zeros behind what a file has, where room cannot be had by asking.
func fill(f *os.File, has, n int64) error {
	_, err := io.CopyN(io.NewOffsetWriter(f, has), zeros{}, n-has)
	return err
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

// syncDir makes the names in a folder durable.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	if err := d.Sync(); err != nil && !errors.Is(err, syscall.EINVAL) { // some systems cannot
		return err
	}
	return nil
}

// noSpace says that a write, not a sync, failed for want of space: then the
// octets were refused, and nothing is in an unknown state.
func noSpace(err error) bool {
	var write *fs.PathError
	return errors.As(err, &write) && write.Op == "write" &&
		(errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT))
}

func (s *Store) path(name string) string { return filepath.Join(s.dir, name) }

// Free says how many octets there is room for: on the file system, and in the
// queue file, which keeps the room of mail that has left. Intake asks it, so
// that the store is never used to find out.
func (s *Store) Free() (int64, error) {
	n, err := free(s.dir)
	return n + s.inside(), err
}

func (s *Store) inside() int64 {
	return int64(s.db.Stats().FreePageN) * int64(s.db.Info().PageSize)
}
