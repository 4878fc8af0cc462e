package dispatch

import (
	"slices"
	"time"

	"mailroam/gateway/relay"
	"mailroam/health"
	"mailroam/queue"
)

// straysFrom is how many sessions at an upstream must have ended badly with a
// message until it, and not the upstream, is thought to be why.
const straysFrom = 3

// strays says that a session ended so with the message in it that the message
// may be why: else one that a server falls over would keep all others from it.
// An answer that makes no sense is laid to it at once.
func (t Try) strays(r relay.RcptResult, s relay.Scope) bool {
	if r.Stage < relay.Mail || signs[r.Fault().Sign()] != health.NoSign { // somebody else may be speaking
		return false
	}
	return r.Nonsense() || endsSession(r.Stage.String(), r.Reply.Code, s) && t.ended() >= straysFrom-1
}

const brokenOff = "we broke it off: any other may take it"

// ended is how many sessions at the upstream have ended badly with the message.
// One may have several lines, since not all recipients got equally far.
func (t Try) ended() (n int) {
	var last time.Time
	for _, a := range t.Message.Attempts {
		if a.Upstream == t.Upstream && a.Why != brokenOff && endsSession(a.Stage, a.Code, relay.Scope(a.Scope)) && !a.At.Equal(last) {
			n, last = n+1, a.At
		}
	}
	return n
}

// endsSession knows sessions that ended from MAIL on: lost, or closed (RFC 5321
// 3.8).
func endsSession(at string, code int, s relay.Scope) bool {
	stage, _ := relay.ParseStage(at)
	return stage >= relay.Mail && (code == 0 || code == 421) && slices.Contains([]relay.Scope{relay.ScopeSession, relay.ScopeNetwork}, s)
}

// slowest is how long such a message waits at most: an upstream that is charged
// itself is left alone for as long.
const slowest = 5 * time.Minute

// strayed slows the message where the upstream would be left alone else. Another
// network may end that, as it ends what sessions that break do to an upstream.
func (p Policy) strayed(j *Judgement, t Try, a queue.Answer, now Now) (why string) {
	wait := min(p.Schedule.Initial<<min(t.ended(), 10), slowest)
	j.refuse(queue.Refusal{Upstream: t.Upstream, Until: now.Time.Add(wait).UTC(), Place: true, Answer: a})
	if j.Fault.OK() {
		j.Fault = health.Fault{Kind: health.Message, Reason: a.String(), By: t.Message.ID.String()}
	}
	return "the session may have ended for this message: it alone waits, and any other upstream may take it"
}
