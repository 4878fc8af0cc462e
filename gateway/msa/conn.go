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
// a time, and only lines that the session's gate let pass. Writing gathers
// replies until the next wait for input, so a batch of commands gets its
// replies in one segment (RFC 2920 3.2).
//
// Bodies do not come this way: session.Data reads them from the connection
// itself, and go-smtp finds endOfData in their place. After any failure
// reading gives nothing but net.ErrClosed.
//
// All of it belongs to the goroutine in which go-smtp serves the connection,
// but for what visit and mute hold.
type conn struct {
	net.Conn
	visit
	server  *Server
	session *session
	addr    netip.Addr // of the client; invalid when it has none
	ends    time.Time  // no command is waited for after this

	input
	feed   []byte // what go-smtp reads next
	chunk  chunk
	pace   pace  // of the body or chunk that comes
	err    error // set: nothing more is read
	linger bool  // the client may be sending still

	out    []byte // replies not yet written
	hide   bool   // the next reply of go-smtp is to nothing that the client said
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

// Read gives go-smtp the next command line.
func (c *conn) Read(p []byte) (int, error) {
	for len(c.feed) == 0 {
		if c.chunk.left > 0 { // its BDAT was refused; these octets are no commands
			if _, err := c.octets(); err != nil {
				return 0, net.ErrClosed
			}
			continue
		}
		line, err := c.readLine()
		if err != nil {
			c.farewell(err)
			return 0, net.ErrClosed
		}
		c.feed = c.session.gate(line)
	}
	n := copy(p, c.feed)
	c.feed = c.feed[n:]
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

// farewell ends the dialogue between two commands.
func (c *conn) farewell(err error) {
	switch last := c.lastWord(err); last {
	case nil:
	case shuttingDown, idleTooLong, lastedTooLong:
		c.out = append(c.out, format(last)...) // no mail was refused: not for the log
	default:
		c.reply(last)
	}
}

// lastWord ends the input and gives the reply that says why, nil when the
// client is gone.
func (c *conn) lastWord(err error) *smtp.SMTPError {
	c.err = net.ErrClosed
	var fault *smtp.SMTPError
	switch {
	case errors.As(err, &fault):
		c.linger = fault != shuttingDown
		return fault
	case !errors.Is(err, os.ErrDeadlineExceeded):
		return nil
	case c.dismissed():
		return shuttingDown
	case time.Now().Before(c.ends):
		return idleTooLong
	}
	return lastedTooLong
}

// Write takes one reply line of go-smtp each time.
func (c *conn) Write(p []byte) (int, error) {
	if c.hide {
		c.hide = false
		return len(p), nil
	}
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
