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
}

// learnFrom is the shortest idle time that tells something about the peer's
// own limit; less is more likely a limit on messages.
const learnFrom = 2 * time.Second

// put keeps c.
func (p *pool) put(c *conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	c.since = time.Now()
	if c.timer == nil {
		c.timer = time.AfterFunc(p.limit, func() { p.expire(c) })
	} else {
		c.timer.Reset(p.limit)
	}
	p.idle = append(p.idle, c)
}

// get gives a connection that looks alive, nil if there is none.
func (p *pool) get() *conn {
	for {
		c := p.pop()
		if c == nil || c.quiet() == nil {
			return c
		}
		c.abort()
		p.closedAfter(time.Since(c.since))
	}
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

// closedAfter learns from a peer that closed a connection idle for d: next
// time we are first.
func (p *pool) closedAfter(d time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if d >= learnFrom {
		p.limit = min(p.limit, d/2)
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
