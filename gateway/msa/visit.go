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
	inBody bool
	going  bool // asked to go
	closed bool
}

// arm sets the deadline of the next read, unless the client is to go.
func (v *visit) arm(nc net.Conn, until time.Time) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.going && !v.inBody {
		return shuttingDown
	}
	return nc.SetReadDeadline(until)
}

// dismissed says that no further command is taken: a body ends first.
func (v *visit) dismissed() bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.going && !v.inBody
}

// dismiss asks the client to go, and wakes a wait for its next command.
func (v *visit) dismiss(nc net.Conn) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.going = true
	if !v.inBody {
		_ = nc.SetReadDeadline(time.Unix(1, 0))
	}
}

// beginBody keeps the connection from being asked to go until endBody. It is
// false when that has happened already.
func (v *visit) beginBody() bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.inBody = !v.going
	return v.inBody
}

func (v *visit) endBody() {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.inBody = false
}

// depart reports whether this is the first Close.
func (v *visit) depart() bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	first := !v.closed
	v.closed = true
	return first
}
