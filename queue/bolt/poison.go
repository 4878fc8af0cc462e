package bolt

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"time"

	"mailroam/queue"
)

const filePoisoned = "poisoned"

// Poisoning is one time that the disk failed under the queue.
type Poisoning struct {
	Time  time.Time `json:"time"`
	Error string    `json:"error"`
}

// poisonMemory is how long a poisoning is remembered after it was dealt with.
const poisonMemory = 10 * time.Minute

// poisonFile is what DIR/poisoned holds.
type poisonFile struct {
	Verified bool        `json:"verified"` // the queue was found whole after the last of them
	Times    []Poisoning `json:"times"`
}

// Poisonings tells how often the disk failed under the queue in dir within the
// last 10 minutes, newest last. It opens nothing else: who finds three should
// not open the queue for writing, but say so and refuse mail.
func Poisonings(dir string) ([]Poisoning, error) {
	p, err := readPoison(dir)
	if err != nil {
		return nil, fmt.Errorf("reading how often the disk failed: %w", err)
	}
	return p.Times, nil
}

func readPoison(dir string) (poisonFile, error) {
	b, err := os.ReadFile(filepath.Join(dir, filePoisoned))
	if errors.Is(err, fs.ErrNotExist) {
		return poisonFile{Verified: true}, nil
	}
	if err != nil {
		return poisonFile{}, err
	}
	var p poisonFile
	if json.Unmarshal(b, &p) != nil {
		p = poisonFile{} // half written, by a disk that failed: so it must be verified
	}
	p.Times = slices.DeleteFunc(p.Times, func(e Poisoning) bool { return time.Since(e.Time).Abs() > poisonMemory })
	return p, nil
}

func (p poisonFile) write(dir string) error {
	b, err := json.Marshal(p)
	if err != nil {
		return err
	}
	f, err := os.OpenFile(filepath.Join(dir, filePoisoned), os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(append(b, '\n'))
	return errors.Join(err, f.Sync(), f.Close())
}

// clear notes that the queue was verified.
func (p poisonFile) clear(dir string) error {
	if len(p.Times) == 0 {
		err := os.Remove(filepath.Join(dir, filePoisoned))
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		return err
	}
	p.Verified = true
	return p.write(dir)
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

// poison ends all writing for the life of this process. After a failed sync
// nobody knows what the disk holds, and the next sync would say that all is
// well: it reports an error once and then forgets the pages. So none is tried.
func (s *Store) poison(doing string, err error) error {
	err = fmt.Errorf("%w: %s: %w", queue.ErrPoisoned, doing, err)
	close(s.poisoned)
	s.log.Error("alert", slog.String("text", "the disk of the queue failed; nothing more is accepted or sent until a restart has verified it"), slog.Any("error", err))
	p, rerr := readPoison(s.dir)
	p.Verified = false
	p.Times = append(p.Times, Poisoning{time.Now().UTC(), err.Error()})
	if werr := errors.Join(rerr, p.write(s.dir)); werr != nil {
		s.log.Error("alert", slog.String("text", "the failure could not be noted on the disk either"), slog.Any("error", werr))
	}
	return err
}
