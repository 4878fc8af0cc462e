//go:build linux

package lab

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"mailroam/gateway/sink"
)

// inbox is where all mail ends, whichever way it came.
type inbox struct {
	mu      sync.Mutex
	got     map[string][]arrival // by the token in the Message-ID
	changed chan struct{}        // closed at the next arrival
}

type arrival struct {
	at  string // the provider's name
	via string // its Postfix or its practice upstream
	on  time.Time
	con int // connection of the practice upstream
}

func newInbox() *inbox {
	return &inbox{got: map[string][]arrival{}, changed: make(chan struct{})}
}

// take files a message that a sink was given.
func (b *inbox) take(at, via string, m sink.Message) {
	_, rest, _ := bytes.Cut(m.Body, []byte("Message-ID: <"))
	token, _, _ := bytes.Cut(rest, []byte("@"))
	b.mu.Lock()
	defer b.mu.Unlock()
	b.got[string(token)] = append(b.got[string(token)], arrival{at, via, m.At, m.Conn})
	close(b.changed)
	b.changed = make(chan struct{})
}

// wait waits until all tokens have arrived, or for within.
func (b *inbox) wait(tokens []string, within time.Duration) (missing int) {
	deadline := time.NewTimer(within)
	defer deadline.Stop()
	for {
		missing = 0
		b.mu.Lock()
		for _, t := range tokens {
			if len(b.got[t]) == 0 {
				missing++
			}
		}
		changed := b.changed
		b.mu.Unlock()
		if missing == 0 {
			return 0
		}
		select {
		case <-changed:
		case <-deadline.C:
			return missing
		}
	}
}

// arrivals of one message, in order.
func (b *inbox) arrivals(token string) []arrival {
	b.mu.Lock()
	defer b.mu.Unlock()
	return append([]arrival(nil), b.got[token]...)
}

// span is when the first and the last of the messages first arrived.
func (b *inbox) span(tokens []string) (first, last time.Time) {
	for _, t := range tokens {
		for _, a := range b.arrivals(t)[:min(1, len(b.arrivals(t)))] {
			if first.IsZero() || a.on.Before(first) {
				first = a.on
			}
			if a.on.After(last) {
				last = a.on
			}
		}
	}
	return first, last
}

// copies counts what arrived more than once.
func (b *inbox) copies(tokens []string) (n int) {
	for _, t := range tokens {
		n += max(0, len(b.arrivals(t))-1)
	}
	return n
}

// all are the tokens of what has arrived.
func (b *inbox) all() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Collect(maps.Keys(b.got))
}

// where counts the messages by the provider they first arrived at.
func (b *inbox) where(tokens []string) map[string]int {
	by := map[string]int{}
	for _, t := range tokens {
		if as := b.arrivals(t); len(as) > 0 {
			by[as[0].at]++
		}
	}
	return by
}

func places(by map[string]int) string {
	var parts []string
	for _, at := range slices.Sorted(maps.Keys(by)) {
		parts = append(parts, fmt.Sprintf("%d at %s", by[at], at))
	}
	if len(parts) == 1 {
		_, at, _ := strings.Cut(parts[0], " ")
		return "all " + at
	}
	return strings.Join(parts, ", ")
}
