package msa

import (
	"net/netip"
	"sync"

	"github.com/emersion/go-smtp"
)

// lobby knows every connection of a server: it counts them, tells them to go,
// and waits until they are gone.
type lobby struct {
	limits Limits
	wg     sync.WaitGroup // connections

	mu     sync.Mutex // guards all below
	conns  map[*conn]struct{}
	byAddr map[netip.Addr]int
	closed bool
}

func newLobby(l Limits) *lobby {
	return &lobby{limits: l, conns: map[*conn]struct{}{}, byAddr: map[netip.Addr]int{}}
}

// enter counts c in, or says why it may not come in.
func (l *lobby) enter(c *conn) *smtp.SMTPError {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.closed:
		return shuttingDown
	case len(l.conns) >= l.limits.MaxConns:
		return tooManyConns
	case l.byAddr[c.addr] >= l.limits.MaxConnsPerAddr:
		return tooManyFromYou
	}
	l.conns[c] = struct{}{}
	if c.addr.IsValid() && !c.addr.IsLoopback() {
		l.byAddr[c.addr]++
	}
	l.wg.Add(1)
	return nil
}

// leave counts c out, once.
func (l *lobby) leave(c *conn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if _, in := l.conns[c]; !in {
		return
	}
	delete(l.conns, c)
	if l.byAddr[c.addr]--; l.byAddr[c.addr] <= 0 {
		delete(l.byAddr, c.addr)
	}
	l.wg.Done()
}

// drain lets nobody in any more, asks everybody to go, and waits for that.
func (l *lobby) drain() {
	for _, c := range l.close() {
		c.dismiss(c.Conn)
	}
	l.wg.Wait()
}

// cut ends what is left without a word: nothing was promised there yet.
func (l *lobby) cut() {
	for _, c := range l.close() {
		c.sever()
	}
}

func (l *lobby) close() (present []*conn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
	for c := range l.conns {
		present = append(present, c)
	}
	return present
}
