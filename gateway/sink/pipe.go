package sink

import (
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"time"
)

// pipeBuffer is how much one direction holds before its writer blocks, as
// small as a socket's buffers get.
const pipeBuffer = 64 << 10

// Pipe is a TCP connection without a kernel: buffered both ways, with
// deadlines, with FIN by Close, and with RST by SetLinger(0) before Close.
// As on Linux, what arrived before a reset can still be read.
func Pipe() (client, server net.Conn) {
	return pipeBetween(addr("client"), addr("server"))
}

func pipeBetween(a, b net.Addr) (x, y *conn) {
	ab, ba := newStream(), newStream()
	return &conn{in: ba, out: ab, local: a, remote: b}, &conn{in: ab, out: ba, local: b, remote: a}
}

// conn is one end of a pipe.
type conn struct {
	in, out       *stream
	local, remote net.Addr

	mu    sync.Mutex // guards abort
	abort bool       // Close resets
}

func (c *conn) Read(p []byte) (int, error)  { return c.in.read(p) }
func (c *conn) Write(p []byte) (int, error) { return c.out.write(p) }
func (c *conn) LocalAddr() net.Addr         { return c.local }
func (c *conn) RemoteAddr() net.Addr        { return c.remote }

// SetLinger has the meaning of net.TCPConn.SetLinger for 0: Close resets.
func (c *conn) SetLinger(sec int) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.abort = sec == 0
	return nil
}

func (c *conn) Close() error {
	c.mu.Lock()
	abort := c.abort
	c.mu.Unlock()
	// A socket closed with unread data resets too (RFC 2525 2.17), and so may
	// destroy a reply that its peer has not read yet.
	abort = c.in.stopReading() || abort
	c.out.stopWriting(abort)
	return nil
}

func (c *conn) SetDeadline(t time.Time) error {
	c.in.setDeadline(&c.in.readBy, t)
	c.out.setDeadline(&c.out.writeBy, t)
	return nil
}

func (c *conn) SetReadDeadline(t time.Time) error {
	c.in.setDeadline(&c.in.readBy, t)
	return nil
}

func (c *conn) SetWriteDeadline(t time.Time) error {
	c.out.setDeadline(&c.out.writeBy, t)
	return nil
}

// stream is one direction of a pipe.
type stream struct {
	mu              sync.Mutex // guards all below
	changed         sync.Cond
	buf             []byte
	start           int   // buf[start:] is unread
	end             error // what the reader gets after the last octet: io.EOF or a reset
	refused         error // what the writer gets
	shut            bool  // the reading end was closed by its owner
	readBy, writeBy deadline
}

type deadline struct {
	at    time.Time
	timer *time.Timer
}

func (d *deadline) passed() bool { return !d.at.IsZero() && !time.Now().Before(d.at) }

func newStream() *stream {
	s := &stream{}
	s.changed.L = &s.mu
	return s
}

func (s *stream) setDeadline(d *deadline, t time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	d.at = t
	if d.timer != nil {
		d.timer.Stop()
	}
	if wait := time.Until(t); wait > 0 { // who waits is woken below for one that has passed
		// The lock makes sure that a waiter is either asleep or has yet to look.
		d.timer = time.AfterFunc(wait, func() {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.changed.Broadcast()
		})
	}
	s.changed.Broadcast()
}

func (s *stream) read(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for {
		switch {
		case s.shut:
			return 0, net.ErrClosed
		case s.readBy.passed():
			return 0, os.ErrDeadlineExceeded
		case len(p) == 0:
			return 0, nil
		case s.start < len(s.buf):
			n := copy(p, s.buf[s.start:])
			if s.start += n; s.start == len(s.buf) {
				s.buf, s.start = s.buf[:0], 0
			}
			s.changed.Broadcast()
			return n, nil
		case s.end != nil:
			return 0, s.end
		}
		s.changed.Wait()
	}
}

func (s *stream) write(p []byte) (n int, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for {
		switch {
		case s.refused != nil:
			return n, s.refused
		case s.writeBy.passed():
			return n, os.ErrDeadlineExceeded
		case len(p) == 0:
			return n, nil
		}
		if room := pipeBuffer - (len(s.buf) - s.start); room > 0 {
			if s.start > 0 && len(s.buf)+len(p) > cap(s.buf) {
				s.buf = s.buf[:copy(s.buf, s.buf[s.start:])]
				s.start = 0
			}
			m := min(room, len(p))
			s.buf = append(s.buf, p[:m]...)
			n, p = n+m, p[m:]
			s.changed.Broadcast()
			continue
		}
		s.changed.Wait()
	}
}

// stopReading says whether octets were left unread.
func (s *stream) stopReading() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	unread := !s.shut && s.start < len(s.buf)
	s.shut = true
	if s.refused == nil {
		s.refused = os.NewSyscallError("write", syscall.ECONNRESET)
	}
	s.readBy.stop()
	s.changed.Broadcast()
	return unread
}

func (s *stream) stopWriting(abort bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.end == nil {
		s.end = io.EOF
		if abort {
			s.end = os.NewSyscallError("read", syscall.ECONNRESET)
		}
	}
	s.refused = net.ErrClosed
	s.writeBy.stop()
	s.changed.Broadcast()
}

func (d *deadline) stop() {
	if d.timer != nil {
		d.timer.Stop()
	}
}
