package dispatch

import (
	"cmp"
	"slices"
	"time"

	"mailroam/queue"
)

// Decide looks at a claimed message before anything is sent: the clock may
// have ended it, a doubt may be over, or it must be filed anew. send says that
// a pass may begin; otherwise the outcome is to be settled as it is.
func (p Policy) Decide(c queue.Claim, now Now) (o queue.Outcome, event string, send bool) {
	m := c.Message
	o = queue.Outcome{At: now.Time, Refusals: m.Refusals}
	if m.Online == 0 && !m.Released.IsZero() { // a release does not know the odometer
		o.Online = max(now.Online, 1)
		m.Online = o.Online
	}
	switch {
	// Before expiry: after months in a drawer a bounce helps nobody, and the
	// odometer may say that it was hardly ever online.
	case !now.Time.Before(tooOld(&m)):
		o.Hold = p.hold("waiting for more than 30 days: release it if it should still be sent", now)
		return o, "held", false
	case now.Online-m.Online >= p.Expire:
		return p.expire(&m, now), "expired", false
	}
	event = "filed"
	due := m.Due
	if _, known := p.Routes.parse(m.Lane); !known { // others may take it now
		due = now.Time
	}
	for _, i := range m.Pending() {
		r := m.Recipients[i]
		if r.Doubt == nil {
			continue
		}
		d := *r.Doubt
		if d.Online == 0 { // a crash does not know the odometer
			d.Online = max(now.Online, 1)
		}
		keep := &d
		if now.Online-d.Online >= p.doubtWait(&m, &d) {
			keep, event, o.Counted, due = nil, "in-doubt", true, now.Time
		}
		if keep == nil || d != *r.Doubt {
			o.Rcpts = append(o.Rcpts, queue.RcptResult{Index: i, State: queue.Pending, Doubt: keep, Last: r.Last, Said: r.Said})
		}
	}
	if c.Upstream != "" && len(o.Rcpts) == 0 {
		return o, "", true
	}
	m.Recipients = slices.Clone(m.Recipients)
	m.Record(o.Rcpts)
	return p.refile(&m, o, due, now), event, false
}

// refile completes an outcome whose message stays pending.
func (p Policy) refile(m *queue.Message, o queue.Outcome, due time.Time, now Now) queue.Outcome {
	f, ok := p.File(m, o.Refusals, due, now)
	if !ok {
		o.Hold = p.hold(p.Routes.NoRoute(m), now)
		return o
	}
	o.Filing = f
	return o
}

func (p Policy) hold(reason string, now Now) queue.Hold {
	return queue.Hold{Reason: reason, By: "mailroam", Since: now.Time.UTC()}
}

// expire ends what is still pending, with the last answers it got.
func (p Policy) expire(m *queue.Message, now Now) queue.Outcome {
	o := queue.Outcome{At: now.Time, Refusals: m.Refusals}
	for _, i := range m.Pending() {
		r := m.Recipients[i]
		a := r.Last
		a.At = now.Time.UTC()
		if a.Enhanced == "" {
			a.Enhanced = "4.4.7" // RFC 3463: delivery time expired
		}
		o.Rcpts = append(o.Rcpts, queue.RcptResult{Index: i, State: queue.Expired, Last: doubted(r, a), Said: r.Said})
	}
	return p.silent(m, o, now)
}

// silent keeps mail with the null reverse-path from ending unseen: nobody
// could be told (RFC 5321 4.5.5), so a person is asked. What ended is pending
// again, in doubt where it was; what was delivered stays so.
func (p Policy) silent(m *queue.Message, o queue.Outcome, now Now) queue.Outcome {
	if m.ReversePath != "" {
		return o
	}
	const reason = "nobody can be told that this could not be delivered: "
	for i := range o.Rcpts {
		r := &o.Rcpts[i]
		if r.State == queue.Failed || r.State == queue.Expired {
			r.State, r.Doubt = queue.Pending, m.Recipients[r.Index].Doubt
			o.Hold = p.hold(reason+cmp.Or(r.Last.String(), "no upstream took it in time"), now)
		}
	}
	if o.Hold.Reason == "" {
		if a := p.refusedByAll(m, o.Refusals); a != nil {
			o.Hold = p.hold(reason+"every upstream refuses it: "+a.String(), now)
		}
	}
	return o
}

// refusedByAll is one of the answers by which every upstream that may send m
// has refused it for good, nil while one has not.
func (p Policy) refusedByAll(m *queue.Message, refusals []queue.Refusal) (a *queue.Answer) {
	for _, n := range p.Routes.Eligible(m) {
		i := slices.IndexFunc(refusals, func(r queue.Refusal) bool { return r.Upstream == n && r.Perm })
		if i < 0 {
			return nil
		}
		a = &refusals[i].Answer
	}
	return a
}

// doubted adds to the answer that ends a recipient in doubt what its sender
// must know.
func doubted(r queue.Recipient, a queue.Answer) queue.Answer {
	if r.Doubt != nil {
		a.Text += " (a copy may have arrived through " + r.Doubt.Upstream + ")"
	}
	return a
}
