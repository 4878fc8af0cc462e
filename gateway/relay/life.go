package relay

import "time"

// life is how many messages a session has shown to live for.
type life struct {
	limit lesson // 0: for any number
	last  int    // messages of the last one that the peer ended
	at    time.Time
}

// ended learns from a session that the peer ended soon after its last message.
// Twice in a row after the same number is a limit; but of two that ended for one
// reason, such as a restart, the second has to have begun after the first.
func (l *life) ended(c *conn, now time.Time) {
	if c.mails == 0 || c.born.Before(l.at) {
		return
	}
	if c.mails == l.last {
		l.limit = learnt(int64(c.mails), now)
	}
	l.last, l.at = c.mails, now
}

// saw unlearns a number that a session outlived: it was a restart, say.
func (l *life) saw(mails int) {
	if mails > l.last {
		l.last = 0
	}
}

// retire ends a session that has had as many messages as we, the upstream (RFC
// 9422 4.1) or its habits allow, before the upstream does.
func (u *Upstream) retire(c *conn) bool {
	u.idle.mu.Lock()
	u.idle.life.saw(c.mails)
	shown := int(u.idle.life.limit.now(time.Now()))
	u.idle.mu.Unlock()
	n := least(least(u.opts.MaxMessages, c.caps.messages), shown)
	if n == 0 || c.mails < n {
		return false
	}
	c.quit()
	return true
}
