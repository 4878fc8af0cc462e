package dispatch

import (
	"errors"
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
	Eligible int         // upstreams that may carry this message at all
}

// Judgement is what a delivery means for the message and for the upstream.
type Judgement struct {
	Results  []queue.RcptResult // one for each of Try.Rcpts
	Attempts []queue.Attempt
	Refusals []queue.Refusal // this upstream turned this message away
	Fault    health.Fault    // to be charged to the upstream; zero: it served
	Sender   bool            // this upstream relays nothing for this sender
	Accepted bool            // a recipient was accepted: the sender is welcome here
	Left     []int           // recipients that ask no other upstream in this pass
	Later    bool            // some of them wait, whichever upstream is asked
	Counted  bool            // a reply was about the message
	Why      string          // for the log of a doubt's end
	Relayed  []int           // delivered where DSN is not offered, and their sender wants to know: it is ours to tell
}

const maxText = 512 // octets of a reply that are kept

// Judge weighs a delivery. A refusal is charged to whoever it is about:
// faults of the recipient or of the message bounce it, everything else moves
// it to the next upstream.
func (p Policy) Judge(t Try, now Now) Judgement {
	var j Judgement
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
	meaning := t.Rules.Classify(r.Stage, r.Reply, r.Err, rcpt.Address, now.Time)
	v, scope := meaning.Verdict, meaning.Scope
	perm := r.Err == nil && r.Reply.Code/100 == 5
	switch {
	case r.InDoubt:
		v, scope = relay.InDoubt, relay.ScopeSession
	case perm && r.Stage == relay.Mail && t.Message.ReversePath == "" && scope == relay.ScopeUnknown:
		scope = relay.ScopeSender // <> is not welcome here, whatever the message
	case errors.Is(r.Err, relay.ErrPassword):
		// A keyring that is locked is soon unlocked, and no login was made: no
		// reason to stay away for an hour as after a refused one.
		scope = relay.ScopeSession
	}
	a := answer(t.Upstream, r, now.Time)
	res := queue.RcptResult{Index: i, State: queue.Pending, Doubt: rcpt.Doubt, Last: a, Said: rcpt.Said}
	why := ""
	ours := errors.Is(r.Err, relay.ErrGivenUp) || errors.Is(r.Err, relay.ErrPassedOver)

	j.Accepted = j.Accepted || r.Stage > relay.Rcpt
	switch {
	case v == relay.Delivered:
		res.State, res.Doubt = queue.Delivered, nil
	case v == relay.Bounce:
		res.State, res.Doubt, res.Last = queue.Failed, nil, doubted(rcpt, a)
		why = "the fault is the " + string(scope) + "'s: no upstream would take it"
	case v == relay.InDoubt:
		res.Doubt = &queue.Doubt{Upstream: t.Upstream, At: now.Time.UTC(), Online: max(now.Online, 1)}
		if rcpt.Doubt != nil { // an older doubt must not be prolonged by a newer one
			res.Doubt.Online = rcpt.Doubt.Online
		}
		j.Left, j.Counted = append(j.Left, i), true
		j.refuse(queue.Refusal{Upstream: t.Upstream, Until: now.Time.Add(doubtRetry).UTC(), Answer: a})
		why = "the connection was lost after the final dot: the same upstream is asked first, so that no second copy is sent"
	case rcpt.Doubt != nil:
		// Only a 2xx or the release ends a doubt; any other answer is "later".
		why = p.stillInDoubt(j, &res, t, scope, r, now)
	case v == relay.Later:
		j.Left, j.Later, j.Counted = append(j.Left, i), true, true
		why = "the recipient's side asks to wait; another upstream would meet the same"
	case ours:
		why = "we broke it off: any other may take it"
	case upstreamScope(scope, r.Stage):
		why = "the fault is the upstream's (" + string(scope) + "): any other may take it"
	default:
		why = "another upstream may take it (" + string(scope) + ")"
		j.Counted = true
		j.Sender = j.Sender || scope == relay.ScopeSender
		// Only what may be the message's fault counts towards its end.
		blamed := perm && (scope == relay.ScopeUnknown || scope == relay.ScopeSize || scope == relay.ScopeMessage)
		if blamed {
			a.Scope = string(scope)
			res.Said = rcpt.Say(a)
		}
		if blamed && len(res.Said) >= quorum(scope, t.Eligible) {
			res.State, v = queue.Failed, relay.Bounce
			why = "refused for good by as many upstreams as it takes to believe it"
		} else {
			place := scope == relay.ScopeSender
			j.refuse(queue.Refusal{Upstream: t.Upstream, Until: p.again(t, now), Perm: perm, Place: place, Answer: a})
		}
	}
	if upstreamScope(scope, r.Stage) && j.Fault.OK() && !ours {
		j.Fault = faultOf(scope, r, a, now.Time)
		j.Fault.Sign = signs[r.Fault().Sign()]
	}
	j.Results = append(j.Results, res)
	j.attempt(queue.Attempt{
		At: t.At.UTC(), Took: t.Result.Took, Upstream: t.Upstream, Endpoint: t.Result.Endpoint,
		Stage: r.Stage.String(), Verdict: string(v), Code: a.Code, Enhanced: a.Enhanced, Text: a.Text, Why: why,
	}, i)
}

// again is when an upstream that refused the message may be asked once more.
func (p Policy) again(t Try, now Now) time.Time {
	return now.Time.Add(p.Schedule.Wait(t.Message.ID, t.Message.Tries+1)).UTC()
}

// stillInDoubt handles a retry that brought no 2xx. Two refusals after a crash,
// or an account that no longer works, release the message.
func (p Policy) stillInDoubt(j *Judgement, res *queue.RcptResult, t Try, scope relay.Scope, r relay.RcptResult, now Now) string {
	d := *res.Doubt
	if upstreamScope(scope, r.Stage) && (scope != relay.ScopeAccount || r.Err != nil) {
		return "the upstream that may hold a copy could not be asked"
	}
	if last := t.Message.Recipients[res.Index].Last; d.Refused == 0 || now.Time.Sub(last.At) >= crashAgain {
		d.Refused++
	}
	j.Counted = true
	if scope == relay.ScopeAccount || d.Crash && d.Refused >= 2 {
		res.Doubt = nil
		j.Why = "the upstream that may hold a copy takes no more of it"
		return "in doubt no longer: " + j.Why + ", another one is asked; a second copy is possible"
	}
	res.Doubt = &d
	j.Left = append(j.Left, res.Index)
	j.refuse(queue.Refusal{Upstream: t.Upstream, Until: latest(p.again(t, now), now.Time.Add(crashAgain).UTC()), Answer: res.Last})
	return "it may hold a copy, so it alone is asked again"
}

// quorum is how many upstreams must refuse for good, without saying whose
// fault it is, before a recipient has failed: two independent ones, or the only
// one there is. A limit of size or form is each upstream's own, so all count.
func quorum(scope relay.Scope, eligible int) int {
	if scope == relay.ScopeUnknown {
		return min(2, eligible)
	}
	return eligible
}

// upstreamScope says that the upstream is charged rather than the message. A
// refusal by policy before MAIL cannot be about the message; from MAIL on it
// is about the sender or this message there.
func upstreamScope(s relay.Scope, at relay.Stage) bool {
	switch s {
	case relay.ScopeNetwork, relay.ScopeIdentity, relay.ScopeSession, relay.ScopeAccount, relay.ScopeQuota, relay.ScopePlace:
		return true
	default:
		return s != relay.ScopeNone && at < relay.Mail
	}
}

// faultOf says which of the upstream's machines is charged. What a probe sees
// as well is a fault of reach (network, identity); what comes from the log-in
// on is the breaker's, which no probe clears.
func faultOf(s relay.Scope, r relay.RcptResult, a queue.Answer, now time.Time) health.Fault {
	f := health.Fault{Kind: health.Session, Reason: a.String()}
	switch {
	case s == relay.ScopeIdentity:
		f.Kind = health.Identity
	case r.Stage < relay.Auth:
		f.Kind = health.Network
	case s == relay.ScopePlace:
		f.Kind = health.Place
	case s == relay.ScopeAccount && !errors.Is(r.Err, relay.ErrPassword):
		f.Kind = health.Account
	case s == relay.ScopeQuota:
		f.Kind = health.Quota
	case s == relay.ScopePolicy:
		f.Kind = health.Policy
	case r.Stage == relay.Auth && r.Err == nil: // 4xx: the service that checks passwords is ill
		f.Kind, f.Until = health.Quota, now.Add(5*time.Minute)
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
