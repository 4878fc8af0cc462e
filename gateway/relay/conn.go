package relay

import (
	"bufio"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"time"
)

// conn is a session with an endpoint.
type conn struct {
	endpoint Endpoint
	seat     *seat // nil: no change of the network concerns it
	wire     *wire
	nc       net.Conn // wire, or TLS over it
	in       *bufio.Reader
	out      []byte // to be written next
	scratch  []byte // for bodies
	secure   bool   // who answers is proven
	caps     capabilities

	born  time.Time
	mails int         // MAIL that was answered
	named []string    // domains of recipients, where the upstream limits them
	kept  bool        // it comes from the pool
	reset bool        // RSET is due before the next MAIL
	since time.Time   // when it was last of use
	timer *time.Timer // ends its stay in the pool
}

func newConn(e Endpoint, c net.Conn) *conn {
	w := newWire(c)
	return &conn{endpoint: e, wire: w, nc: w, in: bufio.NewReaderSize(w, 4<<10), born: time.Now()}
}

// abort closes at once. Below TLS, since closing TLS writes and may wait.
func (c *conn) abort() {
	_ = c.wire.Close()
	c.seat.leave()
}

// cut is abort for a session whose dot has not begun to leave. What the kernel
// still holds of the body goes with it: else it would be sent for minutes, and
// again when the way comes back, in front of the mail that is sent anew.
func (c *conn) cut() {
	c.wire.discard()
	c.abort()
}

// locate says in a fault of set-up where it happened.
func (c *conn) locate(fault *Error) *Error {
	fault.Endpoint = c.endpoint.address()
	if a, ok := c.wire.RemoteAddr().(*net.TCPAddr); ok {
		fault.Addr = netip.AddrPortFrom(addrOf(a), uint16(a.Port))
	}
	fault.proven = c.secure
	return fault
}

// addrOf is the IP address of a connection's end, invalid where it has none.
func addrOf(a net.Addr) netip.Addr {
	if t, ok := a.(*net.TCPAddr); ok {
		return t.AddrPort().Addr().Unmap()
	}
	return netip.Addr{}
}

// quit ends a session in order and does not wait for the answer.
func (c *conn) quit() {
	_ = c.wire.SetWriteDeadline(time.Now().Add(quitTimeout))
	_, _ = c.nc.Write([]byte("QUIT\r\n"))
	c.abort()
}

// quiet says what stands against sending the next command: something that
// nobody asked for has arrived, or the connection is gone.
func (c *conn) quiet() error {
	if c.in.Buffered() > 0 {
		return errEarly
	}
	c.wire.peek = true
	_, err := c.in.Peek(1)
	c.wire.peek = false
	switch {
	case err == nil:
		return errEarly
	case errors.Is(err, os.ErrDeadlineExceeded):
		return nil
	default:
		return err
	}
}

// flush writes what is in out, n being how much of it left.
func (c *conn) flush(by time.Time) (n int, err error) {
	if err = c.wire.SetWriteDeadline(by); err == nil {
		n, err = c.nc.Write(c.out)
	}
	c.out = c.out[:0]
	return n, err
}

// reply reads one reply, whole, until by.
func (c *conn) reply(by time.Time) (Reply, error) {
	if err := c.wire.SetReadDeadline(by); err != nil {
		return Reply{}, err
	}
	return readReply(c.in)
}

// command sends one line and reads its reply.
func (c *conn) command(line string, by time.Time) (Reply, error) {
	if err := c.quiet(); err != nil {
		return Reply{}, err
	}
	c.out = append(append(c.out[:0], line...), "\r\n"...)
	if _, err := c.flush(by); err != nil {
		return Reply{}, fmt.Errorf("sending %.4s: %w", line, err)
	}
	return c.reply(by)
}
