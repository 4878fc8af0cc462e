package relay

import (
	"slices"
	"sync"
	"time"
)

// pool keeps connections that can be used again. The last one in is the first
// one out, so that those too many grow old and are closed.
type pool struct {
	mu    sync.Mutex // guards all below
	idle  []*conn
	limit time.Duration // how long one is kept
	life  life
}

// learnFrom is the shortest idle time that tells something about the peer's
// own limit; less is more likely a limit on messages.
const learnFrom = 2 * time.Second

// put keeps c, unless a change of the network has cut its way.
func (p *pool) put(c *conn) { p.keep(c, time.Now()) }

// keep is put for one that was last of use at since.
func (p *pool) keep(c *conn, since time.Time) {
	if c.seat.isLost() { // if it is from here on, drop or pop find it
		c.abort()
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	c.wire.moved = nil
	c.since = since
	left := p.limit - time.Since(since)
	if c.timer == nil {
		c.timer = time.AfterFunc(left, func() { p.expire(c) })
	} else {
		c.timer.Reset(left)
	}
	p.idle = append(p.idle, c)
}

// get gives a connection that looks alive, nil if there is none.
func (p *pool) get() *conn {
	for {
		c := p.pop()
		switch {
		case c == nil:
			return nil
		case c.seat.isLost():
			c.abort()
		case c.quiet() == nil:
			return c
		default:
			c.abort()
			p.ended(c, time.Since(c.since))
		}
	}
}

// warm says whether a connection that looks alive waits here. It stays, and
// grows no younger.
func (p *pool) warm() bool {
	c := p.get()
	if c == nil {
		return false
	}
	p.keep(c, c.since)
	return true
}

func (p *pool) pop() *conn {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := len(p.idle)
	if n == 0 {
		return nil
	}
	c := p.idle[n-1]
	p.idle = slices.Delete(p.idle, n-1, n)
	c.timer.Stop()
	c.kept = true
	return c
}

// drop closes some without a word: nobody would hear it.
func (p *pool) drop(some func(*conn) bool) {
	p.mu.Lock()
	var lost []*conn
	p.idle = slices.DeleteFunc(p.idle, func(c *conn) bool {
		if !some(c) {
			return false
		}
		lost = append(lost, c)
		return true
	})
	p.mu.Unlock()
	for _, c := range lost {
		c.timer.Stop()
		c.abort()
	}
}

// ended learns from a peer that closed a connection idle for d: next time we
// are first.
func (p *pool) ended(c *conn, d time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if d >= learnFrom {
		p.limit = min(p.limit, d/2)
	} else {
		p.life.ended(c, time.Now())
	}
}

func (p *pool) expire(c *conn) {
	p.mu.Lock()
	i := slices.Index(p.idle, c)
	if i >= 0 {
		p.idle = slices.Delete(p.idle, i, i+1)
	}
	p.mu.Unlock()
	if i >= 0 {
		c.quit()
	}
}

func (p *pool) closeAll() {
	p.mu.Lock()
	idle := p.idle
	p.idle = nil
	p.mu.Unlock()
	for _, c := range idle {
		c.timer.Stop()
		c.quit()
	}
}
