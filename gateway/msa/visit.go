package msa

import (
	"net"
	"sync"
	"time"
)

// visit is how far a connection is on its way out. Its lock keeps the order
// to go from being lost between looking and waiting.
type visit struct {
	mu     sync.Mutex // guards all below, and setting the read deadline
	bodies int        // under way
	going  bool       // asked to go
	gone   bool       // closed
}

// arm sets the deadline of the next read, unless the client is to go.
func (v *visit) arm(nc net.Conn, until time.Time) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.going && v.bodies == 0 {
		return shuttingDown
	}
	return nc.SetReadDeadline(until)
}

// dismissed says that no further command is taken: bodies end first.
func (v *visit) dismissed() bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.going && v.bodies == 0
}

// depart reports whether this is the first Close.
func (v *visit) depart() bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	first := !v.gone
	v.gone = true
	return first
}

// dismiss asks the client to go, and wakes a wait for its next command.
func (c *conn) dismiss() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.going = true
	if c.bodies == 0 {
		_ = c.SetReadDeadline(time.Unix(1, 0))
	}
}

// hold keeps the server and this connection from ending while a body is taken.
// It is false when they have begun to.
func (c *conn) hold() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.going || c.gone {
		return false
	}
	c.bodies++
	c.server.lobby.wg.Add(1)
	return true
}

func (c *conn) release() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.bodies--
	c.server.lobby.wg.Done()
}
