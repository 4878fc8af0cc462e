package dispatch

import (
	"slices"

	"mailroam/gateway/relay"
	"mailroam/queue"
)

// opinion is what those who may carry a message have said, together, of one of
// its recipients. Only refusals for good that are about the message, its sender
// or the recipient weigh: the rest is said of an upstream, or for a while.
type opinion struct {
	refusals int // how many refused
	voices   int // of them, without saying whose fault it is: it may be the message's
	objects  int // of them, for its sender or by their policy: elsewhere it may be welcome
	untried  int // who may carry it and have not refused it
	blocked  int // of those, who are known to refuse the sender, so that they were not asked
	quorum   int // voices that are believed
}

// opinion counts. said is what was said of recipient i.
func (p Policy) opinion(m *queue.Message, i int, said []queue.Answer, refusals []queue.Refusal) opinion {
	carriers := p.Routes.carriers(m, i)
	o := opinion{untried: len(carriers), quorum: min(2, len(carriers))}
	if p.SecondOpinion == NeverAsk {
		o.quorum = 1
	}
	for _, a := range said {
		scope := relay.Scope(a.Scope)
		if !a.Permanent() || !weighs(scope) || !slices.Contains(carriers, a.Upstream) {
			continue
		}
		o.refusals++
		o.untried--
		carriers = slices.DeleteFunc(carriers, func(n string) bool { return n == a.Upstream })
		switch scope {
		case relay.ScopeUnknown, relay.ScopeRecipient:
			o.voices++
		case relay.ScopeSender, relay.ScopePolicy:
			o.objects++
		}
	}
	for _, r := range refusals {
		if unasked(r) && slices.Contains(carriers, r.Upstream) {
			o.blocked++
		}
	}
	return o
}

// weighs says which refusals for good count towards the end of a recipient.
func weighs(s relay.Scope) bool {
	switch s {
	case relay.ScopeUnknown, relay.ScopeRecipient, relay.ScopeMessage, relay.ScopeSize, relay.ScopeSender, relay.ScopePolicy:
		return true
	}
	return false
}

// ends says that the recipient has failed: two who do not depend on each other
// have refused it and may mean the message, or all have whose own limits of size
// or form it breaks.
func (o opinion) ends() bool {
	return o.refusals > 0 && (o.voices >= max(o.quorum, 1) || o.untried == 0 && o.objects == 0)
}

// bars says that nobody is left to be asked, and that it is for its sender or by
// policy: what a person can mend, so it is waited for.
func (o opinion) bars() bool {
	return !o.ends() && o.untried == o.blocked && o.objects+o.blocked > 0
}

// final says that all have been asked, and that waiting on is the only other way.
func (o opinion) final() bool { return o.untried == 0 && o.objects > 0 }

// carriers lists who may carry m to recipient i, if nothing were refused. Nobody
// is left out for a size that it never named: what others say must not end
// anything before it was asked.
func (rs Routes) carriers(m *queue.Message, i int) []string {
	var names []string
	for k := range rs.list {
		if r := &rs.list[k]; rs.bar(m, i, r) == (bar{}) || r.forbids(m, i).kind == barNone && r.lacks(m).shown {
			names = append(names, r.Name)
		}
	}
	return names
}

// barred says whether nobody is left who would take m to one of its pending
// recipients, for its sender or by policy.
func (p Policy) barred(m *queue.Message, refusals []queue.Refusal) bool {
	return slices.ContainsFunc(m.Pending(), func(i int) bool { return p.barredFor(m, i, refusals) })
}

// barredForAll says so of each of its pending recipients, of which there are some.
func (p Policy) barredForAll(m *queue.Message, refusals []queue.Refusal) bool {
	return len(m.Pending()) > 0 && !slices.ContainsFunc(m.Pending(), func(i int) bool { return !p.barredFor(m, i, refusals) })
}

func (p Policy) barredFor(m *queue.Message, i int, refusals []queue.Refusal) bool {
	r := &m.Recipients[i]
	return r.Doubt == nil && p.opinion(m, i, r.Said, refusals).bars()
}
