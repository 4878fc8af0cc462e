package bolt

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/fnv"
	"runtime/debug"

	"mailroam/queue"
)

// The form of a bbolt file, which has not changed since its first version. A
// file is walked before bbolt opens it: bbolt meets a damaged page with a panic
// in a goroutine of its own, which ends the process without a word to the user.
const (
	pageHead  = 16 // id 8, flags 2, count 2, overflow 4
	elemSize  = 16 // branch: pos 4, ksize 4, page 8; leaf: flags 4, pos 4, ksize 4, vsize 4
	metaSize  = 64 // magic 4, version 4, page size 4, flags 4, root 8, sequence 8, freelist 8, pages 8, txid 8, sum 8
	metaMagic = 0xED0CDAED

	flagBranch = 1
	flagLeaf   = 2
	leafBucket = 1
)

// walk is one pass over all pages that can be reached.
type walk struct {
	file     []byte
	pageSize uint64
	pages    uint64 // the file uses this many
	seen     []bool
}

// checkPages says what is wrong with the structure of a bbolt file. What it
// finds good can be opened and walked without a panic; whether the content is
// right, the checksums say.
func checkPages(file []byte) (err error) {
	// A read error of the disk comes as a fault on the mapped file.
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("%w: it could not be read: %v", queue.ErrCorrupt, r)
		}
	}()
	w, root, err := newestMeta(file)
	if err != nil {
		return err
	}
	if w.pages > uint64(len(file))/w.pageSize {
		return fmt.Errorf("%w: the file has %d octets, and must have %d: it was cut short", queue.ErrCorrupt, len(file), w.pages*w.pageSize)
	}
	w.seen = make([]bool, w.pages)
	return w.page(root, 0)
}

// newestMeta finds the meta page that bbolt will go by.
func newestMeta(file []byte) (w *walk, root uint64, err error) {
	le := binary.NativeEndian
	var newest uint64
	for size := uint64(1 << 10); size <= 64<<10; size <<= 1 { // the page size is only told by a meta page
		for _, at := range []uint64{0, size} {
			if at+pageHead+metaSize > uint64(len(file)) {
				continue
			}
			m := file[at+pageHead:][:metaSize]
			h := fnv.New64a()
			h.Write(m[:metaSize-8])
			if le.Uint32(m) != metaMagic || h.Sum64() != le.Uint64(m[56:]) || uint64(le.Uint32(m[8:])) != size {
				continue
			}
			if tx := le.Uint64(m[48:]); w == nil || tx > newest {
				newest, root = tx, le.Uint64(m[16:])
				w = &walk{file: file, pageSize: size, pages: le.Uint64(m[40:])}
			}
		}
	}
	if w == nil {
		return nil, 0, fmt.Errorf("%w: it is not a queue file, or its first pages are lost", queue.ErrCorrupt)
	}
	return w, root, nil
}

const maxDepth = 64 // no tree is that deep: it runs in a circle

func (w *walk) page(id uint64, depth int) error {
	bad := func(what string) error { return fmt.Errorf("%w: page %d %s", queue.ErrCorrupt, id, what) }
	if id < 2 || id >= w.pages {
		return bad("does not exist")
	}
	head := w.file[id*w.pageSize:]
	overflow := uint64(binary.NativeEndian.Uint32(head[12:]))
	switch {
	case binary.NativeEndian.Uint64(head) != id:
		return bad("is not the page that belongs there")
	case id+overflow >= w.pages:
		return bad("is longer than the file")
	case depth > maxDepth:
		return bad("is too deep")
	}
	for i := id; i <= id+overflow; i++ {
		if w.seen[i] {
			return bad("is used twice")
		}
		w.seen[i] = true
	}
	return w.content(id, head[:(overflow+1)*w.pageSize], depth)
}

// content checks one page, or one small bucket inside a page.
func (w *walk) content(id uint64, p []byte, depth int) error {
	le := binary.NativeEndian
	bad := func(what string) error { return fmt.Errorf("%w: page %d %s", queue.ErrCorrupt, id, what) }
	if len(p) < pageHead {
		return bad("holds half a bucket")
	}
	flags, n := le.Uint16(p[8:]), int(le.Uint16(p[10:]))
	if flags != flagBranch && flags != flagLeaf || flags == flagBranch && n == 0 {
		return bad("is of no known kind")
	}
	if pageHead+n*elemSize > len(p) {
		return bad("has too many entries")
	}
	var last []byte
	for i := range n {
		e := p[pageHead+i*elemSize:]
		pos, ksize, vsize := uint64(le.Uint32(e)), uint64(le.Uint32(e[4:])), uint64(0)
		if flags == flagLeaf {
			pos, ksize, vsize = uint64(le.Uint32(e[4:])), uint64(le.Uint32(e[8:])), uint64(le.Uint32(e[12:]))
		}
		if pos+ksize+vsize > uint64(len(e)) {
			return bad("has an entry that ends outside")
		}
		key := e[pos:][:ksize]
		if i > 0 && bytes.Compare(last, key) >= 0 {
			return bad("has its entries out of order")
		}
		last = key
		var err error
		switch {
		case flags == flagBranch:
			err = w.page(le.Uint64(e[8:]), depth+1)
		case le.Uint32(e) == leafBucket && vsize < 16:
			err = bad("holds half a bucket")
		case le.Uint32(e) == leafBucket:
			value := e[pos+ksize:][:vsize]
			if root := le.Uint64(value); root != 0 {
				err = w.page(root, depth+1)
			} else {
				err = w.content(id, value[16:], depth+1)
			}
		}
		if err != nil {
			return err
		}
	}
	return nil
}
