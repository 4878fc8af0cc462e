package bolt

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"sync"

	"mailroam/queue"
)

const (
	fileUnsettled = "unsettled"
	unsettledSize = 1 << 20
)

// unsettled keeps the results of passes whose Settle could not be stored: a
// message that was delivered must not be sent again because the disk is full.
// The file has its room from the start and is written in place.
//
// An entry is its length, its CRC-32C and its content. It counts only as long
// as the very lease it names is in the queue, so old ones need not be removed.
type unsettled struct {
	mu      sync.Mutex
	f       *os.File
	end     int64
	entries map[fence]entry // written and not yet in the queue
}

type entry struct {
	ID             queue.ID
	Session, Epoch int64
	Outcome        queue.Outcome
}

func openUnsettled(path string) (*unsettled, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	u := &unsettled{f: f, entries: map[fence]entry{}}
	if err := u.read(); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return u, nil
}

// reserve gives the file its room, by writing it: on some file systems room
// that was only asked for can still be refused when it is used.
func (u *unsettled) reserve() error {
	st, err := u.f.Stat()
	if err != nil || st.Size() >= unsettledSize {
		return err
	}
	return errors.Join(fill(u.f, st.Size(), unsettledSize), u.f.Sync())
}

// read takes in what an earlier process left.
func (u *unsettled) read() error {
	b, err := io.ReadAll(io.NewSectionReader(u.f, 0, unsettledSize))
	if err != nil {
		return err
	}
	for len(b) >= 8 {
		n := binary.BigEndian.Uint32(b)
		if n == 0 || uint64(n) > uint64(len(b)-8) {
			break
		}
		var e entry
		v := b[8:][:n]
		if binary.BigEndian.Uint32(b[4:]) != crc32.Checksum(v, castagnoli) || json.Unmarshal(v, &e) != nil {
			break
		}
		u.entries[fence{e.Session, e.Epoch}] = e
		u.end += 8 + int64(n)
		b = b[8+n:]
	}
	return nil
}

// of gives the outcome that was written for a lease.
func (u *unsettled) of(id queue.ID, f fence) (queue.Outcome, bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	e, ok := u.entries[f]
	return e.Outcome, ok && e.ID == id
}

// keep writes an outcome down, durably. When there is no room for its notices
// it keeps what prevents a second copy.
func (u *unsettled) keep(c queue.Claim, o queue.Outcome) error {
	u.mu.Lock()
	defer u.mu.Unlock()
	f := fenceOf(c)
	if _, written := u.entries[f]; written {
		return nil
	}
	e := entry{c.ID, c.Session, c.Epoch, o}
	b, err := e.encode()
	if err == nil && u.end+int64(len(b)) > unsettledSize {
		e.Outcome = essence(o)
		b, err = e.encode()
	}
	if err != nil {
		return err
	}
	if u.end+int64(len(b)) > unsettledSize {
		return errors.New("there is no room for more results")
	}
	if _, err := u.f.WriteAt(b, u.end); err != nil {
		return err
	}
	if err := u.f.Sync(); err != nil {
		return err
	}
	u.end += int64(len(b))
	u.entries[f] = e
	return nil
}

func (e entry) encode() ([]byte, error) {
	v, err := json.Marshal(e)
	if err != nil {
		return nil, fmt.Errorf("encoding a result: %w", err)
	}
	b := binary.BigEndian.AppendUint32(make([]byte, 0, 8+len(v)), uint32(len(v)))
	b = binary.BigEndian.AppendUint32(b, crc32.Checksum(v, castagnoli))
	return append(b, v...), nil
}

// essence is what an outcome must not lose: who has, or may have, a copy. The
// others stay pending and are tried again.
func essence(o queue.Outcome) queue.Outcome {
	e := queue.Outcome{At: o.At, Filing: queue.Filing{Due: o.At, Age: o.At}, Barred: o.Barred}
	for _, r := range o.Rcpts {
		if r.State == queue.Delivered || r.Doubt != nil {
			e.Rcpts = append(e.Rcpts, r)
		}
	}
	return e
}

// settled notes that the leases ended in the queue. When no entry is left the
// file is written from its beginning again.
func (u *unsettled) settled(fs ...fence) {
	u.mu.Lock()
	defer u.mu.Unlock()
	for _, f := range fs {
		delete(u.entries, f)
	}
	if len(u.entries) == 0 {
		u.end = 0
	}
}

// forget drops all entries: those whose leases were still there are settled,
// and the others were before.
func (u *unsettled) forget() {
	u.mu.Lock()
	defer u.mu.Unlock()
	clear(u.entries)
	u.end = 0
}

func (u *unsettled) close() error { return u.f.Close() }
