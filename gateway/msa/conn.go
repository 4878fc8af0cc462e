package msa

import (
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"sync/atomic"
	"time"

	"github.com/emersion/go-smtp"
)

const (
	replyBuffer  = 4 << 10 // replies gathered at most before they are written
	writeTimeout = time.Minute
	lingerTime   = time.Second
	lingerOctets = 1 << 20
)

// conn is the connection as go-smtp sees it. Reading gives one command line at
// a time, and only lines that the session's gate let pass, or the octets of a
// BDAT chunk. Writing gathers replies until the next wait for input, so a
// batch of commands gets its replies in one segment (RFC 2920 3.2).
//
// After any failure reading gives nothing but net.ErrClosed: never io.EOF,
// which go-smtp would take for the end of a chunk.
//
// All of it belongs to the one goroutine in which go-smtp serves the
// connection, but for what visit and mute hold.
type conn struct {
	net.Conn
	visit
	server  *Server
	session *session
	addr    netip.Addr // of the client; invalid when it has none
	ends    time.Time  // no command is waited for after this

	input
	feed   []byte // the checked line that go-smtp reads next
	chunk  int64  // octets of a BDAT chunk that go-smtp may read
	pace   pace   // of that chunk, or of a body
	err    error  // nothing more is read
	linger bool   // the client may be sending still

	out    []byte // replies not yet written
	opened bool   // the greeting is out
	mute   atomic.Bool
}

func newConn(work context.Context, nc net.Conn, s *Server) *conn {
	c := &conn{
		Conn: nc, server: s, addr: addrOf(nc.RemoteAddr()), ends: time.Now().Add(s.Limits.Session),
		input: newInput(),
	}
	c.session = &session{server: s, conn: c, work: work}
	return c
}

func addrOf(a net.Addr) netip.Addr {
	if t, ok := a.(*net.TCPAddr); ok {
		return t.AddrPort().Addr().Unmap().WithZone("")
	}
	return netip.Addr{}
}

// Read gives go-smtp what it may read next.
func (c *conn) Read(p []byte) (int, error) {
	for {
		switch {
		case len(c.feed) > 0:
			n := copy(p, c.feed)
			c.feed = c.feed[n:]
			return n, nil
		case c.chunk > 0:
			return c.readChunk(p)
		}
		line, err := c.readLine()
		if err != nil {
			c.farewell(err)
			return 0, net.ErrClosed
		}
		c.feed = c.session.gate(line)
	}
}

// readChunk gives octets of a BDAT chunk. Its failures are replies, because
// go-smtp hands them on as they are.
func (c *conn) readChunk(p []byte) (int, error) {
	if c.err != nil {
		return 0, net.ErrClosed
	}
	p = p[:min(int64(len(p)), c.chunk)]
	n := c.take(p)
	if n == 0 {
		var err error
		if n, err = c.receive(p, c.pace.deadline(time.Now())); err != nil {
			return 0, c.bodyFailed(err)
		}
	}
	c.chunk -= int64(n)
	c.pace.got += int64(n)
	return n, nil
}

// bodyFailed ends the input in the middle of a body and gives the reply.
func (c *conn) bodyFailed(err error) *smtp.SMTPError {
	c.err = net.ErrClosed
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return bodyStalled
	}
	return bodyCut
}

// farewell ends the dialogue between two commands: with a last reply unless
// the client is gone.
func (c *conn) farewell(err error) {
	c.err = net.ErrClosed
	var fault *smtp.SMTPError
	switch {
	case errors.Is(err, shuttingDown), errors.Is(err, os.ErrDeadlineExceeded) && c.dismissed():
		c.out = append(c.out, format(shuttingDown)...)
	case errors.As(err, &fault):
		c.linger = true
		c.reply(fault)
	case !errors.Is(err, os.ErrDeadlineExceeded):
	case time.Now().Before(c.ends):
		c.out = append(c.out, format(idleTooLong)...)
	default:
		c.out = append(c.out, format(lastedTooLong)...)
	}
}

// Write takes one reply line of go-smtp each time.
func (c *conn) Write(p []byte) (int, error) {
	c.say(reword(p, c.server.Hostname))
	return len(p), nil
}

// reply says r ourselves. It is in order: go-smtp has answered all it read.
func (c *conn) reply(r *smtp.SMTPError) { c.say(format(r)) }

func (c *conn) say(line []byte) {
	c.session.note(line)
	c.out = append(c.out, line...)
	if len(c.out) >= replyBuffer {
		_ = c.flush() // the next read fails too
	}
}

// flush writes the replies that were gathered.
func (c *conn) flush() error {
	if len(c.out) == 0 {
		return c.err
	}
	if !c.opened {
		c.opened = true
		if spokeEarly(c.Conn) {
			// A browser or a bot; a mail client waits (RFC 5321 3.1).
			c.err, c.linger = net.ErrClosed, true
			c.out = c.out[:0]
			c.reply(spokeTooSoon)
		}
	}
	out := c.out
	c.out = c.out[:0]
	if c.mute.Load() {
		return net.ErrClosed
	}
	if err := c.SetWriteDeadline(time.Now().Add(writeTimeout)); err != nil {
		return err
	}
	if _, err := c.Conn.Write(out); err != nil {
		c.err = net.ErrClosed
	}
	return c.err
}

// receive writes what was gathered, then waits for octets until the deadline:
// a client never waits for a reply that is held back here.
func (c *conn) receive(p []byte, until time.Time) (int, error) {
	if err := c.flush(); err != nil {
		return 0, err
	}
	if err := c.arm(c.Conn, until); err != nil {
		return 0, err
	}
	n, err := c.Conn.Read(p)
	if n > 0 {
		return n, nil
	}
	if err == nil {
		err = io.ErrNoProgress
	}
	return 0, err
}

// hangUp ends the connection after the reply that is due.
func (c *conn) hangUp() { c.err, c.linger = net.ErrClosed, true }

// vanish ends the connection without another reply.
func (c *conn) vanish() { c.mute.Store(true) }

// sever does so at once, from outside.
func (c *conn) sever() {
	c.vanish()
	c.Conn.Close()
}

// Close writes the last reply and leaves.
func (c *conn) Close() error {
	if !c.depart() {
		return nil
	}
	c.err = net.ErrClosed
	_ = c.flush()
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok && c.linger && !c.mute.Load() && half.CloseWrite() == nil {
		// To close with unread input would reset the connection and could
		// destroy the reply on its way.
		_ = c.SetReadDeadline(time.Now().Add(lingerTime))
		_, _ = io.CopyN(io.Discard, c.Conn, lingerOctets)
	}
	err := c.Conn.Close()
	c.server.lobby.leave(c)
	return err
}

// turnAway answers a connection that may not come in.
func (c *conn) turnAway(why *smtp.SMTPError) {
	_ = c.SetWriteDeadline(time.Now().Add(lingerTime))
	_, _ = c.Conn.Write(format(why))
	_ = c.Conn.Close()
}
