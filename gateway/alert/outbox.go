package alert

import (
	"slices"
	"sync"
	"time"
)

// outbox keeps what is still to be told, in order. Of the same thing only the
// newest waits: an end replaces a beginning that nobody has heard of yet, and
// says all the same since when it was so.
type outbox struct {
	ready chan struct{} // yields when there is something new

	mu   sync.Mutex
	list []*letter
}

type letter struct {
	Event
	at time.Time // when it was put in, by the wall clock
}

func newOutbox() *outbox { return &outbox{ready: make(chan struct{}, 1)} }

func (o *outbox) put(e Event, now time.Time) {
	o.mu.Lock()
	o.list = slices.DeleteFunc(o.list, func(l *letter) bool { return l.key == e.key })
	o.list = append(o.list, &letter{e, now.Round(0)})
	o.mu.Unlock()
	signal(o.ready)
}

// first is the oldest letter, nil when there is none. It stays until it is
// done.
func (o *outbox) first() *letter {
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.list) == 0 {
		return nil
	}
	return o.list[0]
}

// done takes l out, if it is not out already.
func (o *outbox) done(l *letter) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.list = slices.DeleteFunc(o.list, func(other *letter) bool { return other == l })
}

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
