package relay

import "time"

// limits is how long each step may take.
type limits struct {
	connect time.Duration // each of DNS, TCP
	setup   time.Duration // each of greeting, EHLO, TLS, AUTH
	command time.Duration // MAIL, RCPT
	kept    time.Duration // MAIL on a kept connection, which may have died unnoticed
	data    time.Duration // 354
	total   time.Duration // everything before the first reply to MAIL; 0: no limit
}

// hurried is for when another upstream is usable: the message had better move
// on than wait.
var hurried = limits{
	connect: 10 * time.Second,
	setup:   15 * time.Second,
	command: 60 * time.Second,
	kept:    5 * time.Second,
	data:    60 * time.Second,
	total:   18 * time.Second,
}

// patient is for when there is no other: RFC 5321 4.5.3.2, and RFC 4954 4 for
// AUTH, which asks for at least three minutes.
var patient = limits{
	connect: 1 * time.Minute,
	setup:   5 * time.Minute,
	command: 5 * time.Minute,
	kept:    5 * time.Minute,
	data:    2 * time.Minute,
}

// These hold for both.
const (
	blockTimeout = 3 * time.Minute  // one write of data (RFC 5321 4.5.3.2.5)
	dotTimeout   = 10 * time.Minute // RFC 5321 4.5.3.2.6: giving up early makes duplicates (RFC 1047)
	lastWords    = 5 * time.Second  // for a reply after a failed write
	quitTimeout  = 1 * time.Second  // to write QUIT; its reply is not waited for
	idleLimit    = 30 * time.Second // how long a connection is kept unused
)

// budget is the limits of one delivery that has begun.
type budget struct {
	limits
	end time.Time // zero: none
}

func newBudget(hurry bool, now time.Time) budget {
	if !hurry {
		return budget{limits: patient}
	}
	return budget{limits: hurried, end: now.Add(hurried.total)}
}

// by is when a step of set-up must be over that may take d.
func (b budget) by(d time.Duration) time.Time {
	t := time.Now().Add(d)
	if !b.end.IsZero() && b.end.Before(t) {
		return b.end
	}
	return t
}

// over says that no time is left for set-up.
func (b budget) over() bool { return !b.end.IsZero() && !time.Now().Before(b.end) }
