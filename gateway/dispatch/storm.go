package dispatch

import (
	"fmt"
	"time"

	"mailroam/gateway/dsn"
	"mailroam/queue"
)

// A program that sends to a bad list must not drown a person in notices, nor
// fill the queue with them. What is not sent stays on the list of finished mail.
const (
	maxNotices   = 20 // of a kind, to one sender
	noticeWindow = time.Hour
	maxStorms    = 1000 // senders remembered
)

// allowance is what a sender may still be sent.
type allowance int

const (
	oneNotice allowance = iota
	lastNotice
	tooManyNotices
)

// storms counts the notices to each sender, in windows that begin with the first.
type storms map[string]*storm

type storm struct {
	since time.Time
	n     int
}

// count enters one more, and says the how-manieth it is.
func (s storms) count(sender string, now time.Time) int {
	key := canonical(sender)
	c := s[key]
	if c == nil || c.over(now) {
		s.makeRoom(now)
		c = &storm{since: now}
		s[key] = c
	}
	c.n++
	return c.n
}

// over is also true after the clock was set back.
func (c *storm) over(now time.Time) bool {
	return now.Before(c.since) || now.Sub(c.since) >= noticeWindow
}

// makeRoom forgets one of a few: one that is over, else the one with the fewest,
// so that a storm is not forgotten for those who write once. To look at all would
// cost too much where each message has another sender.
func (s storms) makeRoom(now time.Time) {
	if len(s) < maxStorms {
		return
	}
	var victim string
	few := 10
	for key, c := range s {
		if few == 10 || c.over(now) || c.n < s[victim].n {
			victim = key
		}
		if few--; few == 0 || c.over(now) {
			break
		}
	}
	delete(s, victim)
}

// storm says whether a sender may get one more notice of a kind. Each counts for
// itself: good news that was asked for must not cost anybody the bad.
func (d *Dispatcher) storm(kind dsn.Kind, sender string, now time.Time) allowance {
	d.mu.Lock()
	n := d.storms.count(string(kind)+" "+sender, now)
	d.mu.Unlock()
	switch {
	case n < maxNotices:
		return oneNotice
	case n == maxNotices:
		return lastNotice
	case n == maxNotices+1:
		d.Log.Warn("alert", "text", fmt.Sprintf("<%s> got %d notices of %s mail within an hour: no more are sent to it until that is over; `mailroam queue list` lists what they would be about, with `--state done` what has ended",
			queue.Printable(sender, 256), maxNotices, kind))
	}
	return tooManyNotices
}
