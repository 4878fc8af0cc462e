package dispatch

import (
	"cmp"
	"slices"
	"time"

	"mailroam/gateway/relay"
	"mailroam/queue"
)

// Decide looks at a claimed message before anything is sent: the clock may
// have ended it, a doubt may be over, its sender is to be told of a delay, or it
// must be filed anew. send says that a pass may begin; otherwise the outcome is
// to be settled as it is.
func (p Policy) Decide(c queue.Claim, now Now) (o queue.Outcome, event string, send bool) {
	m := c.Message
	m.Recipients = slices.Clone(m.Recipients)
	o = queue.Outcome{At: now.Time, Refusals: m.Refusals, Barred: m.Barred}
	if m.Online == 0 && !m.Released.IsZero() { // a release does not know the odometer
		o.Online = max(now.Online, 1)
		m.Online = o.Online
	}
	due, event := m.Due, "filed"
	_, known := p.parse(m.Lane)
	switch {
	// Before expiry: after months in a drawer a bounce helps nobody, and the
	// odometer may say that it was hardly ever online.
	case !now.Time.Before(tooOld(&m)):
		o.Hold = p.hold("waiting for more than 30 days: release it if it should still be sent", now)
		return o, "held", false
	case now.Online-m.Online >= p.Expire:
		return p.expire(&m, now), "expired", false
	case !known: // others may take it now
		due = now.Time
		if c.Upstream == "" && m.Barred != 0 {
			o.Refusals, o.Barred = nil, 0
		}
	case m.Barred != 0 && now.Online-m.Barred >= p.PolicyHold:
		for _, i := range p.outvoted(&m) {
			r := m.Recipients[i]
			o.Rcpts = append(o.Rcpts, queue.RcptResult{Index: i, State: queue.Failed, Last: decisive(r), Said: r.Said})
		}
	}
	for _, i := range m.Pending() {
		r, changed := m.Recipients[i], false
		if !known && c.Upstream == "" {
			r, changed = anew(r)
		}
		if r.Doubt != nil {
			d := *r.Doubt
			if d.Online == 0 { // a crash does not know the odometer
				d.Online = max(now.Online, 1)
			}
			changed = changed || d != *r.Doubt
			r.Doubt = &d
			if now.Online-p.doubtSince(&m, &d) >= p.doubtWait(&m, &d, now) && p.doubtHold(&m) == "" {
				r.Doubt, changed = nil, true
				event, o.Counted, due = "in-doubt", true, now.Time
			}
		}
		if changed {
			o.Rcpts = append(o.Rcpts, queue.RcptResult{Index: i, State: queue.Pending, Doubt: r.Doubt, Last: r.Last, Said: r.Said})
		}
	}
	o.Warned = p.toWarn(&m) && !now.Time.Before(latest(m.Accepted, m.Released).Add(p.Warn)) && now.Online-m.Online >= warnOnline
	if c.Upstream != "" && len(o.Rcpts) == 0 && !o.Warned && p.doubtHold(&m) == "" {
		return o, "", true
	}
	m.Record(o.Rcpts)
	return p.refile(&m, o, due, now), event, false
}

// anew lets what was said of a recipient weigh no more, where it is about to be
// asked for again: after a release or a retry, in another network, by another
// configuration. Notices still tell of it.
func anew(r queue.Recipient) (queue.Recipient, bool) {
	weighs := func(a queue.Answer) bool { return a.Scope != "" }
	if !weighs(r.Last) && !slices.ContainsFunc(r.Said, weighs) {
		return r, false
	}
	r.Last.Scope, r.Said = "", slices.Clone(r.Said)
	for i := range r.Said {
		r.Said[i].Scope = ""
	}
	return r, true
}

// outvoted lists the recipients that all who may carry the message refuse, for
// its sender or by policy, and that wait for nothing but a change. Those of mail
// with the null reverse-path wait for a person.
func (p Policy) outvoted(m *queue.Message) (is []int) {
	if p.SoftBounce || m.ReversePath == "" {
		return nil
	}
	for _, i := range m.Pending() {
		r := &m.Recipients[i]
		if o := p.opinion(m, i, r.Said, nil); r.Doubt == nil && o.final() && o.bars() {
			is = append(is, i)
		}
	}
	return is
}

// doubtHold is why mail in doubt waits for a person, where it does: one who has
// released it since has decided.
func (p Policy) doubtHold(m *queue.Message) string {
	if p.InDoubt != HoldInDoubt {
		return ""
	}
	for _, i := range m.Pending() {
		if d := m.Recipients[i].Doubt; d != nil && d.At.After(m.Released) {
			return d.Upstream + " may have it already: release it to ask there again, or drop it"
		}
	}
	return ""
}

// refile completes an outcome whose message stays pending.
func (p Policy) refile(m *queue.Message, o queue.Outcome, due time.Time, now Now) queue.Outcome {
	if len(m.Pending()) == 0 || o.Hold.Reason != "" {
		return o
	}
	if why := p.doubtHold(m); why != "" {
		o.Hold = p.hold(why, now)
		return o
	}
	o = p.bar(m, o, now)
	if why := p.untoldAll(m, o.Refusals); why != "" {
		o.Hold = p.hold(why, now)
		return o
	}
	m.Barred = o.Barred
	if o.Warned {
		m.Warned = now.Time
	}
	if o.Counted {
		m.Tries++
	}
	f, ok := p.File(m, o.Refusals, due, now)
	if !ok {
		o.Hold = p.hold(p.Routes.NoRoute(m), now)
		return o
	}
	o.Filing = f
	return o
}

// bar notes since when all refuse the message for its sender or by policy. Its
// sender hears of that at once, since nothing but a person's doing may end it;
// where others are only waited for beside that, when they have what they wait for.
func (p Policy) bar(m *queue.Message, o queue.Outcome, now Now) queue.Outcome {
	if !p.barred(m, o.Refusals) {
		o.Barred = 0
		return o
	}
	if o.Barred == 0 {
		o.Barred = max(now.Online, 1)
	}
	o.Warned = o.Warned || m.Warned.IsZero() && m.ReversePath != "" && p.barredForAll(m, o.Refusals)
	return o
}

// spaced keeps a message that all refuse, for its sender or by policy, from them
// for a while, so that it is shown to all of them in one pass and seldom.
func (p Policy) spaced(m *queue.Message, o queue.Outcome, now Now) queue.Outcome {
	if !p.barredForAll(m, o.Refusals) {
		return o
	}
	wait := barredAgain
	if o.Barred != 0 {
		wait = max(wait, now.Online-o.Barred)
	}
	o.Refusals = slices.Clone(o.Refusals)
	for i := range o.Refusals {
		o.Refusals[i].Until = latest(o.Refusals[i].Until, now.Time.Add(wait).UTC())
	}
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
	o.Rcpts = unsaid(m, o.Rcpts)
	m.Record(o.Rcpts)
	if why := p.untoldAll(m, nil); why != "" {
		o.Hold = p.hold(why, now)
	}
	return o
}

const silence = "nobody can be told that this could not be delivered: "

// unsaid keeps what ends of mail with the null reverse-path from ending unseen:
// nobody could be told (RFC 5321 4.5.5), so a person is asked. It is pending
// again, in doubt where it was, and marked so that it is put to nobody while
// others are still waited for.
func unsaid(m *queue.Message, rs []queue.RcptResult) []queue.RcptResult {
	if m.ReversePath != "" {
		return rs
	}
	for k := range rs {
		if r := &rs[k]; r.State == queue.Failed || r.State == queue.Expired {
			r.State, r.Doubt, r.Last.Scope = queue.Pending, m.Recipients[r.Index].Doubt, untold
		}
	}
	return rs
}

// untold is, in place of whose fault it is, that a recipient has failed and
// nobody could be told. Like whose fault it is, it is forgotten when all are
// asked anew.
const untold = "untold"

// untoldAll is why a person must decide about mail with the null reverse-path;
// "" while a recipient of it is waited for.
func (p Policy) untoldAll(m *queue.Message, refusals []queue.Refusal) (why string) {
	if m.ReversePath != "" {
		return ""
	}
	for _, i := range m.Pending() {
		switch a := m.Recipients[i].Last; {
		case a.Scope == untold:
			why = cmp.Or(a.String(), "no upstream took it in time")
		case p.barredFor(m, i, refusals):
			why = cmp.Or(why, "every upstream refuses it: "+refusal(m, refusals))
		default:
			return ""
		}
	}
	if why == "" {
		return ""
	}
	return silence + why
}

// refusal is what the last who refused m for good said.
func refusal(m *queue.Message, refusals []queue.Refusal) string {
	for _, i := range m.Pending() {
		if a := decisive(m.Recipients[i]); a.Permanent() {
			return a.String()
		}
	}
	for _, r := range refusals {
		if r.Perm {
			return r.Upstream + " " + r.Answer.String()
		}
	}
	return "for its sender"
}

// decisive is the last refusal for good that weighs, else the last answer.
func decisive(r queue.Recipient) queue.Answer {
	for _, a := range slices.Backward(r.Said) {
		if a.Permanent() && weighs(relay.Scope(a.Scope)) {
			return a
		}
	}
	return r.Last
}

// doubted adds to the answer that ends a recipient in doubt what its sender
// must know.
func doubted(r queue.Recipient, a queue.Answer) queue.Answer {
	if r.Doubt != nil {
		a.Text += mayHave(r.Doubt.Upstream)
	}
	return a
}

func mayHave(upstream string) string { return " (a copy may have arrived through " + upstream + ")" }
