package relay

import (
	"sync"
	"time"
)

// A session is given up as unheard when after vigilAfter, or one of the looks
// that follow, TCP has sent again unheardResends times in vain. TCP goes by the
// round trips that it has measured, so a slow line is given more time than a
// fast one.
const (
	vigilAfter     = 1500 * time.Millisecond
	vigilEvery     = 250 * time.Millisecond
	unheardResends = 3
)

// vigil looks after a kept session up to its reply to MAIL. A router that has
// forgotten it drops what we send and says nothing, and TCP would go on for half
// a minute (RFC 5482). A server that is only slow has acknowledged the command.
// A nil vigil is over.
type vigil struct {
	c *conn

	mu    sync.Mutex // guards all below
	timer *time.Timer
	found bool // nobody hears us
	over  bool
}

func newVigil(c *conn) *vigil {
	v := &vigil{c: c}
	v.mu.Lock() // look may run at once
	defer v.mu.Unlock()
	v.timer = time.AfterFunc(vigilAfter, v.look)
	return v
}

func (v *vigil) look() {
	v.mu.Lock()
	defer v.mu.Unlock()
	switch {
	case v.over: // what is under way now may be a body, on a line that stutters
	case v.c.wire.unheard():
		v.found = true
		v.c.cut()
	default:
		v.timer.Reset(vigilEvery)
	}
}

// unheard says that the vigil has cut the session.
func (v *vigil) unheard() bool {
	if v == nil {
		return false
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.found
}

func (v *vigil) stop() {
	if v == nil {
		return
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	v.over = true
	v.timer.Stop()
}
