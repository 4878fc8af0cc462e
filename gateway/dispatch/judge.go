package dispatch

import (
	"cmp"
	"errors"
	"slices"
	"time"

	"mailroam/gateway/relay"
	"mailroam/health"
	"mailroam/queue"
)

// Try is one delivery: who was asked, for whom, and what came back.
type Try struct {
	Message  *queue.Message // as it stands in this pass
	Upstream string
	Rcpts    []int // indexes, in the order of Result.Rcpts
	Result   relay.Result
	Rules    relay.Rules // of the upstream
	At       time.Time   // its beginning
}

// Judgement is what a delivery means for the message and for the upstream.
type Judgement struct {
	Results  []queue.RcptResult // one for each of Try.Rcpts
	Attempts []queue.Attempt
	Refusals []queue.Refusal // this upstream turned this message away
	Fault    health.Fault    // to be charged to the upstream; zero: it served
	Sender   bool            // this upstream relays nothing for this sender
	Accepted bool            // a recipient was accepted: the sender is welcome here
	Spent    int             // recipients that the upstream took, or may have taken
	Counted  bool            // a reply was about the message
	Hold     string          // why a person must decide; "" for no reason
	Relayed  []int           // delivered where DSN is not offered, and their sender wants to know: it is ours to tell
}

const maxText = 512 // octets of a reply that are kept

// Judge weighs a delivery. A refusal is charged to whoever it is about:
// faults of the recipient or of the message bounce it, everything else moves
// it to the next upstream.
func (p Policy) Judge(t Try, now Now) Judgement {
	j := Judgement{Accepted: slices.ContainsFunc(t.Result.Rcpts, func(r relay.RcptResult) bool { return r.Stage > relay.Rcpt })}
	for k, i := range t.Rcpts {
		p.judge(&j, t, i, t.Result.Rcpts[k], now)
	}
	if len(j.Attempts) == 1 && len(t.Rcpts) == len(t.Message.Recipients) {
		j.Attempts[0].Rcpts = nil // all
	}
	return j
}

func (p Policy) judge(j *Judgement, t Try, i int, r relay.RcptResult, now Now) {
	rcpt := t.Message.Recipients[i]
	m := t.meaning(r, p.named(t, r, rcpt.Address), j.Accepted, now.Time)
	a := answer(t.Upstream, r, now.Time)
	a.Scope = string(m.Scope)
	theirs := upstreamScope(m.Scope, r.Stage)
	if theirs && weighs(m.Scope) { // said before it knew of the message
		a.Scope = string(relay.ScopePlace)
	}
	res := queue.RcptResult{Index: i, State: queue.Pending, Doubt: rcpt.Doubt, Last: a, Said: rcpt.Said}
	ours := errors.Is(r.Err, relay.ErrGivenUp) || errors.Is(r.Err, relay.ErrPassedOver) || errors.Is(r.Err, relay.ErrQueued)
	why := ""
	switch {
	case m.Verdict == relay.Delivered:
		res.State, res.Doubt = queue.Delivered, nil
		j.Spent++
		if !t.Result.DSN && rcpt.Notify.Wants(queue.NotifySuccess) {
			j.Relayed = append(j.Relayed, i)
		}
	case m.Verdict == relay.InDoubt:
		j.Spent++
		why = p.doubt(j, &res, t, r, now)
	case ours:
		why = brokenOff
	case rcpt.Doubt != nil && (m.Verdict != relay.Bounce || p.SoftBounce):
		// Only a 2xx or the release ends a doubt; any other answer is "later".
		why = p.stillInDoubt(j, &res, t, m, r, now)
	case theirs:
		if why = charged(m.Scope) + ": any other may take it"; t.strays(r, m.Scope) {
			why = p.strayed(j, t, a, now)
		}
		if !slices.ContainsFunc(rcpt.Said, func(s queue.Answer) bool { return s.Upstream == t.Upstream && weighs(relay.Scope(s.Scope)) }) {
			res.Said = rcpt.Say(a) // else it said more about this recipient before
		}
	case m.Verdict == relay.Later:
		res.Last.Scope = string(relay.ScopeRecipient)
		res.Said = rcpt.Say(res.Last)
		j.Counted = true
		if m.Until.After(now.Time) {
			j.refuse(queue.Refusal{Upstream: t.Upstream, Until: p.again(t, m, now), Answer: a})
		}
		why = "the recipient's side asks to wait; another upstream would meet the same"
	default:
		why = p.refused(j, &res, t, m, r, now)
	}
	if res.State == queue.Failed {
		m.Verdict = relay.Bounce
		res.Doubt, res.Last = nil, doubted(rcpt, res.Last)
	} else if m.Verdict == relay.Bounce {
		m.Verdict = relay.Next
	}
	if theirs && !ours && j.Fault.OK() {
		j.Fault = faultOf(m, r, a)
		j.Fault.Sign = signs[r.Fault().Sign()]
	}
	j.Results = append(j.Results, res)
	j.attempt(queue.Attempt{
		At: t.At.UTC(), Took: t.Result.Took, Upstream: t.Upstream, Endpoint: t.Result.Endpoint,
		Stage: r.Stage.String(), Verdict: string(m.Verdict), Code: a.Code, Enhanced: a.Enhanced, Text: a.Text,
		Scope: string(m.Scope), Rule: m.Rule, Why: why,
	}, i)
}

// named is the recipient whom a refusal may name; "" when that would say nothing:
// who writes to himself may be named as the sender.
func (p Policy) named(t Try, r relay.RcptResult, rcpt string) string {
	if r.Err != nil || !r.Reply.Refuses() {
		return rcpt
	}
	if from, _ := p.Routes.From(t.Message, t.Upstream); same(rcpt, from) {
		return ""
	}
	return rcpt
}

// meaning is what r means here, where more is known than one reply.
func (t Try) meaning(r relay.RcptResult, rcpt string, accepted bool, now time.Time) relay.Meaning {
	m := t.Rules.Classify(r.Stage, r.Reply, r.Err, rcpt, now)
	perm := r.Err == nil && r.Reply.Code/100 == 5
	switch {
	case r.InDoubt:
		m.Verdict, m.Scope = relay.InDoubt, relay.ScopeSession
	case perm && r.Stage == relay.Mail && t.Message.ReversePath == "" && m.Scope == relay.ScopeUnknown:
		m.Scope = relay.ScopeSender // <> is not welcome here, whatever the message
	case r.Stage == relay.Rcpt && m.Scope == relay.ScopeSender && accepted:
		m.Scope = relay.ScopePolicy // others were taken from this sender
	case errors.Is(r.Err, relay.ErrPassword):
		// A keyring that is locked is soon unlocked, and no login was made: no
		// reason to stay away for an hour as after a refused one.
		m.Scope = relay.ScopeSession
	}
	return m
}

// refused weighs a refusal of this message, and says what follows.
func (p Policy) refused(j *Judgement, res *queue.RcptResult, t Try, m relay.Meaning, r relay.RcptResult, now Now) (why string) {
	rcpt := t.Message.Recipients[res.Index]
	a := &res.Last
	ends := m.Verdict == relay.Bounce
	j.Counted = j.Counted || !ends
	why = "the fault is the " + string(m.Scope) + "'s: no upstream would take it"
	switch content := ends && m.Scope == relay.ScopeMessage; {
	case !ends || rcpt.Doubt != nil: // who is in doubt can ask nobody else
	case content && p.ContentReject == HoldContent && !letGo(t.Message):
		j.Hold = "refused for what is in it by " + t.Upstream + ": " + a.String()
		res.Said = rcpt.Say(*a)
		return "queue.content_reject is hold: a person decides"
	case content && (p.ContentReject == FailOverContent || p.ContentReject == HoldContent):
		a.Scope, ends = string(relay.ScopeUnknown), false
	case m.Scope == relay.ScopeRecipient && p.SecondOpinion == Always:
		ends = false
	}
	res.Said = rcpt.Say(*a)
	o := p.opinion(t.Message, res.Index, res.Said, nil)
	if !ends && a.Permanent() && o.ends() { // a 4xx ends nothing, whatever was said before under other knobs
		ends = true
		switch {
		case o.untried == 0 && o.refusals > 1:
			why = "every upstream that may carry it has refused it for good"
		case o.untried == 0:
			why = "refused for good, and no other upstream may carry it"
		default:
			why = "refused for good by as many upstreams as it takes to believe it"
		}
	}
	if ends && !p.SoftBounce {
		res.State = queue.Failed
		return why
	}
	j.Sender = j.Sender || m.Scope == relay.ScopeSender
	j.refuse(queue.Refusal{
		Upstream: t.Upstream, Until: p.again(t, m, now), Perm: a.Permanent(), Place: m.Scope == relay.ScopeSender, Answer: *a,
	})
	switch {
	case ends:
		return why + "; queue.soft_bounce is on, so it is tried on"
	case o.untried == 0 && a.Permanent():
		return reasons[m.Scope] + ", and no other is left: it waits for one to change its mind"
	case o.untried > 0 && a.Permanent() && o.objects == 0 && o.voices > 0:
		return reasons[m.Scope] + ": a second one is asked"
	}
	return reasons[m.Scope] + ": another one may take it"
}

// letGo says that a person let a message go that had been refused for what is in
// it: to hold it for that again would leave no way to send it.
func letGo(m *queue.Message) bool {
	return slices.ContainsFunc(m.Attempts, func(a queue.Attempt) bool {
		return a.Scope == string(relay.ScopeMessage) && a.At.Before(m.Released)
	})
}

// reasons say what a refusal of this message is about.
var reasons = map[relay.Scope]string{
	relay.ScopeRecipient: "it refuses the recipient",
	relay.ScopeMessage:   "it does not take such a message",
	relay.ScopeSize:      "the message is too large for it",
	relay.ScopeSender:    "it does not send for this sender",
	relay.ScopePolicy:    "its policy is against it",
	relay.ScopeTemporary: "it puts the message off",
	relay.ScopeUnknown:   "it does not say whose fault it is",
}

// charged says what is wrong with an upstream that did not get to the message.
func charged(s relay.Scope) string {
	switch s {
	case relay.ScopeQuota:
		return "our quota there is used up"
	case relay.ScopeAccount:
		return "it refuses our account"
	case relay.ScopePlace:
		return "it does not serve the network we are in"
	case relay.ScopeSession:
		return "the session with it failed"
	case relay.ScopeConnections:
		return "it has too many connections from us"
	case relay.ScopeNetwork:
		return "it cannot be reached"
	case relay.ScopeIdentity:
		return "it did not prove who it is"
	}
	return "it does not serve us now"
}

// longestWait bounds what an upstream can tell us to wait with a message.
const longestWait = 24 * time.Hour

// again is when an upstream that refused the message may be asked once more: at
// the time it names itself, else after the message's own back-off, which the
// wait of a rule may lengthen.
func (p Policy) again(t Try, m relay.Meaning, now Now) time.Time {
	if m.Until.After(now.Time) {
		return earliest(latest(m.Until, now.Time.Add(p.Schedule.Initial)), now.Time.Add(longestWait)).UTC()
	}
	return now.Time.Add(max(p.Schedule.Wait(t.Message.ID, t.Message.Tries+1), min(m.Wait, longestWait))).UTC()
}

// doubt is for a dot without an answer.
func (p Policy) doubt(j *Judgement, res *queue.RcptResult, t Try, r relay.RcptResult, now Now) (why string) {
	j.Counted = true
	d := &queue.Doubt{Upstream: t.Upstream, At: now.Time.UTC(), Online: max(now.Online, 1), Unacked: r.Unacked}
	if old := res.Doubt; old != nil { // an older doubt must not be prolonged by a newer one
		d.Online = old.Online
		d.Unacked = d.Unacked && old.Unacked
	}
	res.Doubt = d
	j.refuse(queue.Refusal{Upstream: t.Upstream, Until: now.Time.Add(doubtRetry(d)).UTC(), Answer: res.Last})
	lost := "the connection was lost after the final dot"
	if d.Unacked {
		lost += ", which its machine did not acknowledge"
	}
	switch p.InDoubt {
	case FailOver:
		res.Doubt = nil
		return lost + "; queue.in_doubt is failover, so the next upstream is asked at once, and a second copy is possible"
	case HoldInDoubt:
		return lost + "; queue.in_doubt is hold: a person decides"
	}
	return lost + ": the same upstream is asked first, so that no second copy is sent"
}

// stillInDoubt handles a retry that brought no 2xx. Two refusals after a crash,
// or an account that no longer works, release the message.
func (p Policy) stillInDoubt(j *Judgement, res *queue.RcptResult, t Try, m relay.Meaning, r relay.RcptResult, now Now) string {
	d := *res.Doubt
	if upstreamScope(m.Scope, r.Stage) && (m.Scope != relay.ScopeAccount || r.Err != nil) {
		return "the upstream that may hold a copy could not be asked"
	}
	if last := t.Message.Recipients[res.Index].Last; d.Refused == 0 || now.Time.Sub(last.At) >= crashAgain {
		d.Refused++
	}
	j.Counted = true
	if m.Scope == relay.ScopeAccount || d.Crash && d.Refused >= 2 {
		res.Doubt = nil
		return "in doubt no longer: the upstream that may hold a copy takes no more of it, another one is asked; a second copy is possible"
	}
	res.Doubt = &d
	j.refuse(queue.Refusal{Upstream: t.Upstream, Until: latest(p.again(t, m, now), now.Time.Add(crashAgain).UTC()), Answer: res.Last})
	return "it may hold a copy, so it alone is asked again"
}

// upstreamScope says that the upstream is charged rather than the message. A
// refusal by policy before MAIL cannot be about the message; from MAIL on it
// is about the sender or this message there.
func upstreamScope(s relay.Scope, at relay.Stage) bool {
	switch s {
	case relay.ScopeNetwork, relay.ScopeIdentity, relay.ScopeSession, relay.ScopeConnections,
		relay.ScopeAccount, relay.ScopeQuota, relay.ScopePlace:
		return true
	default:
		return s != relay.ScopeNone && at < relay.Mail
	}
}

// faultOf says which of the upstream's machines is charged. What a probe sees
// as well is a fault of reach (network, identity); what comes from the log-in
// on is the breaker's, which no probe clears.
func faultOf(m relay.Meaning, r relay.RcptResult, a queue.Answer) health.Fault {
	f := health.Fault{Kind: health.Session, Reason: a.String(), Until: m.Until, Wait: m.Wait}
	switch {
	case m.By != nil:
		f.Remedy = m.By.Remedy
	case errors.Is(r.Err, relay.ErrPassword):
		f.Remedy = "mend what gives the password, with which the upstream has nothing to do"
	case m.Scope == relay.ScopeAccount && r.Err != nil: // no password was shown to it
		f.Remedy = "correct auth, username or urls in the config; `mailroam probe --login` says what comes of it"
	}
	switch s := m.Scope; {
	case s == relay.ScopeIdentity:
		f.Kind = health.Identity
	case s == relay.ScopeConnections:
		f.Kind = health.Connections
	case s == relay.ScopeQuota && r.Err == nil: // also in a greeting: it is there, and a probe would clear it
		f.Kind = health.Quota
	case r.Stage < relay.Auth:
		f.Kind = health.Network
	case s == relay.ScopePlace:
		f.Kind = health.Place
	case s == relay.ScopeAccount && !errors.Is(r.Err, relay.ErrPassword):
		f.Kind = health.Account
	case s == relay.ScopePolicy:
		f.Kind = health.Policy
	case r.Stage == relay.Auth && r.Err == nil: // 4xx: the service that checks passwords is ill
		f.Kind = health.Quota
		f.Wait = cmp.Or(f.Wait, 5*time.Minute)
	case r.Err == nil && r.Reply.Code == 421:
		f.Wait = cmp.Or(f.Wait, time.Minute)
	case r.Stage == relay.Body && r.Err != nil: // it may have taken minutes to show
		f.Wait, f.Again = 30*time.Second, 5*time.Minute
	case r.InDoubt:
		f.Wait = 30 * time.Second
	}
	return f
}

func answer(upstream string, r relay.RcptResult, now time.Time) queue.Answer {
	a := queue.Answer{Upstream: upstream, Code: r.Reply.Code, Enhanced: r.Reply.Enhanced, Text: r.Reply.Text, At: now.UTC()}
	if r.Err != nil {
		a.Code, a.Enhanced, a.Text = 0, "", r.Fault().Words("")
	}
	a.Text = queue.Printable(a.Text, maxText)
	return a
}

// refuse notes one refusal an upstream, the longest.
func (j *Judgement) refuse(r queue.Refusal) {
	if len(j.Refusals) > 0 {
		r.Place = r.Place || j.Refusals[0].Place
		j.Refusals[0].Place = r.Place
		if r.Until.After(j.Refusals[0].Until) {
			j.Refusals[0] = r
		}
		return
	}
	j.Refusals = append(j.Refusals, r)
}

// attempt adds to the timeline; recipients that fared alike share a line.
func (j *Judgement) attempt(a queue.Attempt, rcpt int) {
	for k := range j.Attempts {
		b := &j.Attempts[k]
		if b.Stage == a.Stage && b.Verdict == a.Verdict && b.Code == a.Code && b.Text == a.Text && b.Why == a.Why {
			b.Rcpts = append(b.Rcpts, rcpt)
			return
		}
	}
	a.Rcpts = []int{rcpt}
	j.Attempts = append(j.Attempts, a)
}
