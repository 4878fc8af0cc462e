package dispatch

import (
	"fmt"
	"time"

	"mailroam/gateway/dsn"
	"mailroam/queue"
)

// Decide looks at a claimed message before anything is sent: the clock may
// have ended it, a doubt may be over, or it must be filed anew. send says that
// a pass may begin; otherwise the outcome is to be settled as it is.
func (p Policy) Decide(c queue.Claim, now Now) (o queue.Outcome, event string, send bool) {
	m := c.Message
	o = queue.Outcome{At: now.Time, Refusals: m.Refusals}
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
		if now.Online-d.Online >= p.doubtWait(&d) {
			keep, event, o.Counted = nil, "in-doubt", true
		}
		if keep == nil || d != *r.Doubt {
			o.Rcpts = append(o.Rcpts, queue.RcptResult{Index: i, State: queue.Pending, Doubt: keep, Last: r.Last, Refused: r.Refused})
		}
	}
	if c.Upstream != "" && len(o.Rcpts) == 0 {
		return o, "", true
	}
	m.Record(o.Rcpts)
	return p.refile(&m, o, m.Due, now), event, false
}

// refile completes an outcome whose message stays pending.
func (p Policy) refile(m *queue.Message, o queue.Outcome, due time.Time, now Now) queue.Outcome {
	f, ok := p.File(m, o.Refusals, due, now)
	if !ok {
		o.Hold = p.hold(fmt.Sprintf("no upstream may send for <%s>: add it to the senders of one", queue.Printable(m.ReversePath, 256)), now)
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
		o.Rcpts = append(o.Rcpts, queue.RcptResult{Index: i, State: queue.Expired, Last: doubted(r, a), Refused: r.Refused})
	}
	return p.silent(m, o, now)
}

// silent keeps mail with the null reverse-path from ending unseen: nobody
// could be told (RFC 5321 4.5.5), so a person is asked.
func (p Policy) silent(m *queue.Message, o queue.Outcome, now Now) queue.Outcome {
	if m.ReversePath != "" {
		return o
	}
	kept := o.Rcpts[:0]
	for _, r := range o.Rcpts {
		if r.State == queue.Failed || r.State == queue.Expired {
			o.Hold = p.hold("a notice that could not be delivered: "+cmpText(r.Last), now)
			r.State = queue.Pending
		}
		kept = append(kept, r)
	}
	o.Rcpts = kept
	return o
}

func cmpText(a queue.Answer) string {
	if a.Text == "" {
		return "no upstream took it in time"
	}
	return a.Text
}

// doubted adds to the answer that ends a recipient in doubt what its sender
// must know.
func doubted(r queue.Recipient, a queue.Answer) queue.Answer {
	if r.Doubt != nil {
		a.Text += " (a copy may have arrived through " + r.Doubt.Upstream + ")"
	}
	return a
}

// notice adds to an outcome the failure notice for the recipients it ends.
func (p Policy) notice(m *queue.Message, o *queue.Outcome, hostname string, header []byte, now Now) {
	if m.ReversePath == "" || o.Hold.Reason != "" {
		return
	}
	var ended []queue.Recipient
	for _, r := range o.Rcpts {
		if r.State == queue.Failed || r.State == queue.Expired {
			ended = append(ended, queue.Recipient{Address: m.Recipients[r.Index].Address, State: r.State, Last: r.Last})
		}
	}
	if len(ended) == 0 {
		return
	}
	n := dsn.Failure(dsn.Report{Hostname: hostname, Message: *m, Ended: ended, Header: header, Now: now.Time})
	if f, ok := p.File(&queue.Message{Accepted: now.Time, Online: now.Online}, nil, now.Time, now); ok {
		n.Filing = f
	}
	n.Online = now.Online
	o.Spawn = append(o.Spawn, n)
}
