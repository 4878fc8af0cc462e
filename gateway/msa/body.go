package msa

import (
	"bytes"
	"io"
	"time"
)

// slack and a tenth of the limit is how far beyond it a body is read and
// thrown away, so that the client gets its 552; then the connection ends.
const slack = 1 << 20

func overrun(limit int64) int64 { return limit + limit/10 + slack }

// body gives a message as the client meant it, a slice at a time, each valid
// until the next call. The end is io.EOF; any other error is a reply.
type body interface {
	next() ([]byte, error)
	// rest reads what of a refused body is still to come, and reports whether
	// commands follow.
	rest(limit int64) bool
}

// dots is the body of DATA. It is read from the connection's own buffer, in
// runs between the lines that begin with a dot, and not through go-smtp, which
// looks at each octet by itself.
//
// The only end is CRLF.CRLF and the only line end is CRLF (RFC 5321 2.3.8,
// 4.1.1.4): whoever sees another end sees another message in the rest.
type dots struct {
	c     *conn
	start bool // at the beginning of a line
}

var crlfDot = []byte("\r\n.")

func (b *dots) next() ([]byte, error) {
	c := b.c
	for len(c.feed) == 0 {
		d := c.buf[c.r:c.w]
		switch {
		case len(d) == 0, len(d) == 1 && d[0] == '\r', b.start && undecided(d):
			if err := c.fill(c.pace.deadline(time.Now())); err != nil {
				return nil, c.bodyFailed(err)
			}
		case b.start && d[0] == '.':
			b.start = false
			c.r++ // RFC 5321 4.5.2
			if d[1] == '\r' && d[2] == '\n' {
				c.r += 2
				c.feed = endOfData
			}
		default:
			return b.run(d), nil
		}
	}
	return nil, io.EOF
}

// endOfData is what go-smtp reads in place of a body that was read already.
var endOfData = []byte(".\r\n")

// undecided is true for what may grow into the final dot.
func undecided(d []byte) bool {
	return len(d) < len(endOfData) && d[0] == '.' && (len(d) == 1 || d[1] == '\r')
}

// run takes everything up to the next line that begins with a dot.
func (b *dots) run(d []byte) []byte {
	if i := bytes.Index(d, crlfDot); i >= 0 {
		d = d[:i+2]
		b.start = true
	} else if b.start = bytes.HasSuffix(d, crlfDot[:2]); d[len(d)-1] == '\r' {
		d = d[:len(d)-1] // its LF may begin the next read
	}
	b.c.r += len(d)
	b.c.pace.got += int64(len(d))
	return d
}

// rest reads up to the final dot.
func (b *dots) rest(limit int64) bool {
	for b.c.pace.got < overrun(limit) {
		if _, err := b.next(); err != nil {
			return err == io.EOF
		}
	}
	return false
}
