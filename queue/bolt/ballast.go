package bolt

import (
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"time"
)

// On a full disk a database that copies on write cannot even delete. The
// ballast is a file that can be: its room lets what has been sent be recorded
// until the disk has space again. New mail never gets it.
const ballastSize = 64 << 20

// spaceCheck is how often a full disk is looked at again.
const spaceCheck = time.Second

// ballast belongs to the writer.
type ballast struct {
	path    string
	dir     string
	size    int64
	inside  func() int64 // octets free in the queue file itself
	log     *slog.Logger
	full    bool // a commit failed for want of space, and the ballast is not back
	checked time.Time
}

// newBallast takes size octets, or by default what a disk of that size can
// spare.
func newBallast(dir, path string, want int64, inside func() int64, log *slog.Logger) *ballast {
	if want == 0 {
		want = ballastSize
		if all, err := capacity(dir); err == nil {
			want = min(want, all/64)
		}
	}
	return &ballast{path: path, dir: dir, size: max(want, 0), inside: inside, log: log}
}

func (b *ballast) held() bool {
	st, err := os.Stat(b.path)
	return err == nil && st.Size() >= b.size
}

// hold makes the file, unless that would take the last space.
func (b *ballast) hold() (err error) {
	if b.size == 0 || b.held() {
		return nil
	}
	f, err := os.OpenFile(b.path, os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer func() {
		err = errors.Join(err, f.Close())
		if err != nil {
			_ = os.Remove(b.path)
		}
	}()
	if err := preallocate(f, b.size); err != nil {
		return err
	}
	return f.Truncate(b.size)
}

// drop gives the room back; it says whether there was any.
func (b *ballast) drop() bool {
	if b.size == 0 {
		return false
	}
	err := os.Remove(b.path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		b.log.Error("alert", slog.String("text", "the ballast could not be freed"), slog.Any("error", err))
	}
	return err == nil
}

// refuse says whether new mail is refused. The ballast is taken back when the
// disk has room for twice that. Until then what is free in the file, which does
// not shrink when mail leaves it, may be used down to the same reserve.
func (b *ballast) refuse(now time.Time) bool {
	if !b.full {
		return false
	}
	if now.Sub(b.checked).Abs() >= spaceCheck {
		b.checked = now
		n, err := free(b.dir)
		if err == nil && n >= 2*b.size && b.hold() == nil {
			b.full = false
			b.log.Info("alert", slog.String("text", "the disk has space again"))
			return false
		}
	}
	return b.inside() < 2*max(b.size, 1)
}

// fail notes that the disk is full; it says whether there was ballast to drop.
func (b *ballast) fail(err error) bool {
	if !b.full {
		b.log.Error("alert", slog.String("text", "the disk of the queue is full: new mail is refused for now; free some space"), slog.Any("error", err))
	}
	b.full = true
	return b.drop()
}
