package bolt

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"

	"go.etcd.io/bbolt"

	"mailroam/queue"
)

// chunkSize is the most octets of a body under one key.
const chunkSize = 64 << 10

// body collects octets as the chunks they will be stored as: a checksum over
// message, number and content, then the content.
type body struct {
	id     queue.ID
	n      int // number of chunks[0]
	chunks [][]byte
	size   int64
}

func (b *body) Write(p []byte) (int, error) {
	total := len(p)
	for len(p) > 0 {
		last := len(b.chunks) - 1
		if last < 0 || len(b.chunks[last]) == sumLen+chunkSize {
			b.chunks = append(b.chunks, b.chunk(len(p)))
			last++
		}
		c := b.chunks[last]
		k := min(len(p), sumLen+chunkSize-len(c))
		b.chunks[last] = append(c, p[:k]...)
		p = p[k:]
	}
	b.size += int64(total)
	return total, nil
}

// chunk makes room for a chunk of which n octets are known. The first stays
// small, for most mail is; those after it will be filled, and used again for
// the next part.
func (b *body) chunk(n int) []byte {
	if k := len(b.chunks); k < cap(b.chunks) {
		if used := b.chunks[:k+1][k]; cap(used) == sumLen+chunkSize {
			return used[:sumLen]
		}
	}
	room := chunkSize
	if b.n+len(b.chunks) == 0 {
		room = min(max(n, 8<<10), chunkSize)
	}
	return make([]byte, sumLen, sumLen+room)
}

func (b *body) held() int {
	n := 0
	for _, c := range b.chunks {
		n += len(c)
	}
	return n
}

// seal writes the checksums. Nothing may be written to these chunks after it.
func (b *body) seal() {
	for i, c := range b.chunks {
		binary.BigEndian.PutUint32(c, chunkSum(b.id, b.n+i, c[sumLen:]))
	}
}

// next begins the part after those chunks.
func (b *body) next() { b.n, b.chunks = b.n+len(b.chunks), b.chunks[:0] }

func chunkSum(id queue.ID, n int, c []byte) uint32 {
	var k [idLen + 4]byte
	copy(k[:], id[:])
	binary.BigEndian.PutUint32(k[idLen:], uint32(n))
	return crc32.Update(crc32.Checksum(k[:], castagnoli), castagnoli, c)
}

// putChunks stores sealed chunks under the message's bucket in parent.
func (w *txn) putChunks(parent string, b *body) {
	if len(b.chunks) == 0 {
		return
	}
	in, err := w.bucket(parent).CreateBucketIfNotExists(b.id[:])
	w.did("create", parent, err)
	if err != nil {
		return
	}
	in.FillPercent = 1 // it only grows at its end
	for i, c := range b.chunks {
		w.did("put", parent, in.Put(chunkKey(b.n+i), c))
	}
}

// OpenBody reads a body chunk by chunk, each in a transaction of its own and
// copied out of it.
func (s *Store) OpenBody(_ context.Context, id queue.ID) (io.ReadCloser, error) {
	r := &bodyReader{s: s, id: id}
	err := s.view(func(tx *bbolt.Tx) error {
		v := tx.Bucket([]byte(bEnv)).Get(id[:])
		if v == nil {
			return queue.ErrNotFound
		}
		rec, err := decode(id, v)
		if err != nil {
			return err
		}
		r.left = rec.Size
		if r.left == 0 {
			return nil
		}
		return r.load(tx)
	})
	if err != nil {
		return nil, fmt.Errorf("opening the body of %s: %w", id, err)
	}
	return r, nil
}

type bodyReader struct {
	s     *Store
	id    queue.ID
	n     int    // the next chunk
	left  int64  // octets not yet loaded
	buf   []byte // the loaded chunk
	chunk []byte // what of it is not yet read
}

// load copies the next chunk after proving it whole.
func (r *bodyReader) load(tx *bbolt.Tx) error {
	b := tx.Bucket([]byte(bBody)).Bucket(r.id[:])
	if b == nil {
		if tx.Bucket([]byte(bEnv)).Get(r.id[:]) == nil {
			return queue.ErrNotFound // it has ended meanwhile
		}
		return fmt.Errorf("%w: no body", queue.ErrCorrupt)
	}
	c := b.Get(chunkKey(r.n))
	switch {
	case len(c) <= sumLen || int64(len(c)-sumLen) > r.left || len(c) < sumLen+chunkSize && int64(len(c)-sumLen) != r.left:
		return fmt.Errorf("%w: chunk %d is missing or has the wrong size", queue.ErrCorrupt, r.n)
	case binary.BigEndian.Uint32(c) != chunkSum(r.id, r.n, c[sumLen:]):
		return fmt.Errorf("%w: wrong checksum in chunk %d", queue.ErrCorrupt, r.n)
	}
	r.buf = append(r.buf[:0], c[sumLen:]...)
	r.chunk = r.buf
	r.left -= int64(len(r.chunk))
	r.n++
	return nil
}

func (r *bodyReader) Read(p []byte) (int, error) {
	if len(r.chunk) == 0 {
		if r.left == 0 {
			return 0, io.EOF
		}
		if err := r.s.view(r.load); err != nil {
			return 0, fmt.Errorf("reading the body of %s: %w", r.id, err)
		}
	}
	n := copy(p, r.chunk)
	r.chunk = r.chunk[n:]
	return n, nil
}

func (r *bodyReader) Close() error { return nil }

// checkBody reads a body to its end. One without a message is not looked at.
func (s *Store) checkBody(id queue.ID) error {
	r, err := s.OpenBody(context.Background(), id)
	if errors.Is(err, queue.ErrNotFound) {
		return nil
	}
	if err == nil {
		_, err = io.Copy(io.Discard, r)
	}
	return err
}
