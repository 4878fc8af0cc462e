package bolt

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"hash/crc32"

	"mailroam/queue"
)

// Every value is led by a CRC-32C over its key and its content: bbolt checks
// its meta pages only, and a page that took another's place must not be read
// as if it were that.
const sumLen = 4

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func seal(id queue.ID, v []byte) []byte {
	binary.BigEndian.PutUint32(v, sum(id, v[sumLen:]))
	return v
}

func unseal(id queue.ID, v []byte) ([]byte, error) {
	if len(v) < sumLen || binary.BigEndian.Uint32(v) != sum(id, v[sumLen:]) {
		return nil, fmt.Errorf("%w: wrong checksum", queue.ErrCorrupt)
	}
	return v[sumLen:], nil
}

func sum(id queue.ID, v []byte) uint32 {
	return crc32.Update(crc32.Checksum(id[:], castagnoli), castagnoli, v)
}

// fence is what a lease is known by.
type fence struct{ session, epoch int64 }

func fenceOf(c queue.Claim) fence { return fence{c.Session, c.Epoch} }

// record is a message as env and past keep it: with the fence of the claim
// that was settled last, so that a repeated Settle is known as one.
type record struct {
	queue.Message
	settled fence
}

func (r *record) encode() []byte {
	v := make([]byte, sumLen, 512)
	v = binary.AppendVarint(v, r.settled.session)
	v = binary.AppendVarint(v, r.settled.epoch)
	v, _ = r.AppendBinary(v) // never fails
	return seal(r.ID, v)
}

func decode(id queue.ID, v []byte) (r record, err error) {
	if v, err = unseal(id, v); err != nil {
		return record{}, err
	}
	var n, k int
	r.settled.session, n = binary.Varint(v)
	if n > 0 {
		r.settled.epoch, k = binary.Varint(v[n:])
	}
	if n <= 0 || k <= 0 {
		return record{}, fmt.Errorf("%w: no fence", queue.ErrCorrupt)
	}
	if err := r.UnmarshalBinary(v[n+k:]); err != nil {
		return record{}, fmt.Errorf("%w: %w", queue.ErrCorrupt, err)
	}
	if r.ID != id {
		return record{}, fmt.Errorf("%w: it is the record of %s", queue.ErrCorrupt, r.ID)
	}
	return r, nil
}

// lease is the write-ahead record of a pass. It is replaced, never changed.
type lease struct {
	fence    fence
	upstream string
	rcpts    []int // nil means all
	known    []queue.RcptResult
	want     queue.Want
	// rec is the leased message as env has it: kept in memory so that Settle
	// reads nothing.
	rec []byte
}

// more is what few leases have: its form may be a slow one.
type more struct {
	Rcpts []int              `json:"rcpts,omitempty"`
	Some  bool               `json:"some,omitempty"` // Rcpts is not nil
	Known []queue.RcptResult `json:"known,omitempty"`
	Want  queue.Want         `json:"want,omitempty"`
}

const leaseVersion = 1

func (l *lease) encode(id queue.ID) []byte {
	v := make([]byte, sumLen, 64)
	v = append(v, leaseVersion)
	v = binary.AppendVarint(v, l.fence.session)
	v = binary.AppendVarint(v, l.fence.epoch)
	v = binary.AppendUvarint(v, uint64(len(l.upstream)))
	v = append(v, l.upstream...)
	if l.rcpts != nil || l.known != nil || l.want != "" {
		b, err := json.Marshal(more{Rcpts: l.rcpts, Some: l.rcpts != nil, Known: l.known, Want: l.want})
		if err != nil {
			panic(err) // plain values always marshal
		}
		v = append(v, b...)
	}
	return seal(id, v)
}

func decodeLease(id queue.ID, v []byte) (*lease, error) {
	v, err := unseal(id, v)
	if err != nil {
		return nil, err
	}
	bad := fmt.Errorf("%w: malformed lease", queue.ErrCorrupt)
	if len(v) == 0 || v[0] != leaseVersion {
		return nil, bad
	}
	v = v[1:]
	l := &lease{}
	for _, f := range []*int64{&l.fence.session, &l.fence.epoch} {
		x, n := binary.Varint(v)
		if n <= 0 {
			return nil, bad
		}
		*f, v = x, v[n:]
	}
	size, n := binary.Uvarint(v)
	if n <= 0 || size > uint64(len(v)-n) {
		return nil, bad
	}
	l.upstream, v = string(v[n:n+int(size)]), v[n+int(size):]
	if len(v) > 0 {
		var m more
		if err := json.Unmarshal(v, &m); err != nil {
			return nil, fmt.Errorf("%w: %w", bad, err)
		}
		l.rcpts, l.known, l.want = m.Rcpts, m.Known, m.Want
		if m.Some && l.rcpts == nil {
			l.rcpts = []int{}
		}
	}
	return l, nil
}
