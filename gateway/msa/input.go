package msa

import (
	"bytes"
	"time"
)

const (
	lineBuffer = 4 << 10  // the longest command line: eight times what RFC 5321 4.5.3.1.4 asks for
	bodyBuffer = 64 << 10 // for a body
)

// input is what came from the client and is not used yet: buf[r:w].
type input struct {
	buf  []byte
	r, w int
	line []byte // buf between bodies
	lent bool   // buf is a workspace's
}

func newInput() input {
	line := make([]byte, lineBuffer)
	return input{buf: line, line: line}
}

// unread gives back n octets that were used last.
func (in *input) unread(n int) { in.r -= n }

// borrow uses buf until giveBack, for a body.
func (in *input) borrow(buf []byte) {
	in.w = copy(buf, in.buf[in.r:in.w])
	in.buf, in.r, in.lent = buf, 0, true
}

func (in *input) giveBack() {
	rest := in.buf[in.r:in.w]
	in.buf, in.lent = in.line, false
	if len(rest) > len(in.line) { // a long batch of commands behind the body
		in.buf = make([]byte, len(rest)+lineBuffer)
	}
	in.r, in.w = 0, copy(in.buf, rest)
}

// room gives the space behind what is there.
func (in *input) room() []byte {
	in.w = copy(in.buf, in.buf[in.r:in.w])
	in.r = 0
	if !in.lent && len(in.buf) > lineBuffer && in.w < lineBuffer {
		copy(in.line, in.buf[:in.w])
		in.buf = in.line
	}
	return in.buf[in.w:]
}

// fill waits for more octets behind what is there.
func (c *conn) fill(until time.Time) error {
	n, err := c.receive(c.room(), until)
	c.w += n
	return err
}

// readLine gives the next command line, with its end. The whole line has one
// deadline: octets that trickle in do not move it.
func (c *conn) readLine() ([]byte, error) {
	var until time.Time
	for seen := 0; ; {
		if c.err != nil {
			return nil, c.err
		}
		if c.dismissed() {
			return nil, shuttingDown
		}
		d := c.buf[c.r:c.w]
		if len(d) > 0 && !startsCommand(d[0]) {
			return nil, notSMTP
		}
		if i := bytes.IndexByte(d[seen:], '\n'); i >= 0 {
			line := d[:seen+i+1]
			c.r += len(line)
			return line, nil
		}
		if seen = len(d); seen >= lineBuffer {
			return nil, lineTooLong
		}
		if until.IsZero() {
			until = time.Now().Add(c.server.Limits.Idle)
			if c.ends.Before(until) {
				until = c.ends
			}
		}
		if err := c.fill(until); err != nil {
			return nil, err
		}
	}
}

// startsCommand is false for what no command begins with, like a TLS
// handshake; waiting for the end of such a line could take for ever. An empty
// line is only an error.
func startsCommand(b byte) bool {
	return 'a' <= b|0x20 && b|0x20 <= 'z' || b == '\r' || b == '\n'
}
