package relay

import (
	"net"
	"os"
	"sync"
	"syscall"
	"time"
)

// wire is the connection below TLS. It can look whether something has arrived
// without waiting for it, which a net.Conn cannot: a deadline in the past
// hides even what is there.
type wire struct {
	net.Conn
	raw  syscall.RawConn // nil when there is no descriptor
	peek bool            // Read does not wait
	look look
	at   func(fd uintptr) bool // look.at
	once sync.Once

	wrote int64 // octets that the kernel took; it belongs to who writes

	// moved is told of octets that come, nil when nobody wants to know. It
	// belongs to who reads.
	moved func()
}

// look is one read that does not wait; it lives in the wire, since it happens
// before every command.
type look struct {
	p   []byte
	n   int
	err error
}

func (l *look) at(fd uintptr) bool {
	l.n, l.err = readNow(fd, l.p)
	return true
}

// peekWait is how long a look takes where there is no descriptor.
const peekWait = time.Millisecond

func newWire(c net.Conn) *wire {
	w := &wire{Conn: c}
	w.at = w.look.at
	if s, ok := c.(syscall.Conn); ok {
		if raw, err := s.SyscallConn(); err == nil {
			w.raw = raw
		}
	}
	return w
}

// Read gives os.ErrDeadlineExceeded when peeking and nothing has arrived. TLS
// takes that for a time-out, which it survives.
func (w *wire) Read(p []byte) (int, error) {
	if !w.peek {
		n, err := w.Conn.Read(p)
		if n > 0 && w.moved != nil {
			w.moved()
		}
		return n, err
	}
	if w.raw == nil || !canPeek {
		if err := w.Conn.SetReadDeadline(time.Now().Add(peekWait)); err != nil {
			return 0, err
		}
		return w.Conn.Read(p)
	}
	if err := w.Conn.SetReadDeadline(time.Time{}); err != nil {
		return 0, err
	}
	w.look = look{p: p}
	if err := w.raw.Read(w.at); err != nil {
		return 0, err
	}
	return w.look.n, w.look.err
}

func (w *wire) Write(p []byte) (int, error) {
	n, err := w.Conn.Write(p)
	w.wrote += int64(n)
	return n, err
}

// discard makes Close forget what was not sent.
func (w *wire) discard() {
	if c, ok := w.Conn.(interface{ SetLinger(int) error }); ok {
		_ = c.SetLinger(0)
	}
}

// Close may come from several sides at once.
func (w *wire) Close() (err error) {
	err = os.ErrClosed
	w.once.Do(func() { err = w.Conn.Close() })
	return err
}
