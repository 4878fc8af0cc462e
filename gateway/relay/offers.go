package relay

import (
	"sync"
	"time"
)

// lessons is what the upstream has shown of itself: what its last EHLO said,
// and what it refused since.
type lessons struct {
	mu         sync.Mutex // guards all below
	heard      Offers     // by the last EHLO of a set-up
	size       lesson     // the most octets that may pass
	recipients lesson     // the most at a time
	bare       lesson     // 1: it refuses parameters that it offers
}

// lesson is a number that was learnt, 0 for none.
type lesson struct {
	n  int64
	at time.Time
}

// lessonLasts is how long a lesson is believed. Limits are raised now and then,
// and to be refused once a day costs little.
const lessonLasts = 24 * time.Hour

// now is what is left of a lesson: by the clock, since providers do not sleep.
func (l lesson) now(now time.Time) int64 {
	if now.Round(0).Sub(l.at) > lessonLasts {
		return 0
	}
	return l.n
}

func learnt(n int64, now time.Time) lesson { return lesson{n, now.Round(0)} }

// shown is the lessons at one moment.
type shown struct {
	size       int64
	recipients int
	bare       bool
}

func (l *lessons) recall(now time.Time) shown {
	l.mu.Lock()
	defer l.mu.Unlock()
	return shown{l.size.now(now), int(l.recipients.now(now)), l.bare.now(now) > 0}
}

// hear notes what an EHLO said that is not said again in this set-up. What came
// before STARTTLS is not to be trusted (RFC 3207 4.2).
func (l *lessons) hear(c *capabilities, secure bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.heard = Offers{
		Known: true, Size: c.size, EightBit: c.eightBit, UTF8: c.carriesUTF8(), DSN: c.dsn,
		RequireTLS: c.requireTLS && secure, // RFC 8689 2: a promise of who has proven nothing is none
	}
}

// learn notes what is not zero in s.
func (l *lessons) learn(s shown, now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if s.size > 0 {
		l.size = learnt(s.size, now)
	}
	if s.recipients > 0 {
		l.recipients = learnt(int64(s.recipients), now)
	}
	if s.bare {
		l.bare = learnt(1, now)
	}
}

// took unlearns what a message that was taken disproves.
func (l *lessons) took(size int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if size > l.size.n {
		l.size = lesson{}
	}
}

// Offers is what is known of what the upstream takes. A size that it has once
// refused steers the choice only: asked all the same, Deliver asks the upstream,
// since such a refusal may have been about one mailbox (RFC 3463 3.3).
func (u *Upstream) Offers() Offers {
	s := u.lessons.recall(time.Now())
	u.lessons.mu.Lock()
	defer u.lessons.mu.Unlock()
	o := u.lessons.heard
	said := o.Size
	o.Size = least(said, s.size)
	o.Shown = o.Size != said
	o.DSN = o.DSN && !s.bare
	return o
}

// Learned is what the upstream has shown of its limits by refusals. It is worth
// keeping over a restart.
func (u *Upstream) Learned() Learned {
	s := u.lessons.recall(time.Now())
	return Learned{Size: s.size, Recipients: s.recipients}
}

// Teach tells what a former run had learned.
func (u *Upstream) Teach(l Learned) {
	u.lessons.learn(shown{size: l.Size, recipients: l.Recipients}, time.Now())
}

// least is the smaller of two limits, 0 being none.
func least[N int | int64](a, b N) N {
	if a <= 0 || b > 0 && b < a {
		return max(b, 0)
	}
	return a
}
