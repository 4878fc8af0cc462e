package msa

import (
	"bytes"
	"encoding/binary"
	"io"
)

var (
	bareCR  = refuse(550, 5, 6, 0, "the message holds a bare CR: lines end with CRLF")
	nulByte = refuse(550, 5, 6, 0, "the message holds a NUL octet")
	crlf    = []byte("\r\n")
)

// filter passes text on with every line ended by CRLF: a bare LF is what old
// devices send and becomes CRLF; a bare CR and NUL have no place in mail (RFC
// 5321 2.3.8, RFC 5322 4.1) and are what message smuggling is made of. Clean
// text goes through without being copied.
type filter struct {
	w        io.Writer
	eightBit bool // an octet above 127 was seen
	cr       bool // the last octet was a CR, and is not passed on yet
	open     bool // the last line has no end yet
}

func (f *filter) Write(p []byte) (int, error) {
	n := len(p)
	if n == 0 {
		return 0, nil
	}
	if bytes.IndexByte(p, 0) >= 0 {
		return 0, nulByte
	}
	if !f.eightBit {
		f.eightBit = hasHigh(p)
	}
	if f.cr {
		if p[0] != '\n' {
			return 0, bareCR
		}
		f.cr, p = false, p[1:]
		if err := f.pass(crlf); err != nil {
			return 0, err
		}
	}
	if len(p) > 0 && p[len(p)-1] == '\r' {
		f.cr, p = true, p[:len(p)-1]
	}
	crs := bytes.Count(p, crlf[:1])
	from := 0 // p[from:] is not passed on yet
	for i := 0; ; i++ {
		j := bytes.IndexByte(p[i:], '\n')
		if j < 0 {
			break
		}
		i += j
		if i > 0 && p[i-1] == '\r' {
			crs--
			continue
		}
		if err := f.pass(p[from:i]); err != nil {
			return 0, err
		}
		if err := f.pass(crlf); err != nil {
			return 0, err
		}
		from = i + 1
	}
	if crs != 0 {
		return 0, bareCR
	}
	return n, f.pass(p[from:])
}

// Close ends the last line, which BDAT may leave open.
func (f *filter) Close() error {
	if f.cr {
		return bareCR
	}
	if f.open {
		return f.pass(crlf)
	}
	return nil
}

func (f *filter) pass(p []byte) error {
	if len(p) == 0 {
		return nil
	}
	f.open = p[len(p)-1] != '\n'
	_, err := f.w.Write(p)
	return err
}

// hasHigh looks for an octet above 127.
func hasHigh(p []byte) bool {
	const high = 0x8080808080808080
	word := binary.LittleEndian.Uint64
	for ; len(p) >= 32; p = p[32:] {
		if (word(p)|word(p[8:])|word(p[16:])|word(p[24:]))&high != 0 {
			return true
		}
	}
	for _, c := range p {
		if c >= 0x80 {
			return true
		}
	}
	return false
}
