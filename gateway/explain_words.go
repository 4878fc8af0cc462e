package gateway

import (
	"time"

	"mailroam/gateway/dispatch"
	"mailroam/gateway/relay"
	"mailroam/health"
	"mailroam/queue"
)

// messageWords says what becomes of a message.
func messageWords(verdict string, s relay.Scope, j dispatch.Judgement, p dispatch.Policy) string {
	perm := j.Results[0].Last.Permanent()
	next := "the next upstream gets it at once"
	if len(p.Routes.Eligible(&queue.Message{})) == 1 {
		next = "it waits for this upstream, since there is no other"
	}
	switch {
	case verdict == "hold":
		return "it is held until a person decides"
	case verdict == string(relay.Delivered):
		return "it is delivered"
	case verdict == string(relay.Bounce) && (s == relay.ScopeRecipient || s == relay.ScopeMessage):
		return "it bounces at once: no other upstream would take it either"
	case verdict == string(relay.Bounce) && p.SecondOpinion == dispatch.NeverAsk:
		return "it bounces at once, since queue.second_opinion is never"
	case verdict == string(relay.Bounce):
		return "it bounces at once, for no other upstream may carry it"
	case verdict == string(relay.InDoubt) && p.InDoubt == dispatch.FailOver:
		return "it may have been taken: " + next + ", and a second copy is possible, since queue.in_doubt is failover"
	case verdict == string(relay.InDoubt) && p.InDoubt == dispatch.HoldInDoubt:
		return "it may have been taken: it is held until a person decides, since queue.in_doubt is hold"
	case verdict == string(relay.InDoubt):
		return "it may have been taken: this upstream alone is asked again, so that no second copy is sent"
	case verdict == string(relay.Later):
		return "it waits and is tried again; another upstream would hear the same"
	case !j.Fault.OK() && len(j.Refusals) == 0:
		return next + ", and nothing is held against it"
	case !perm:
		return next + "; while all put it off, it is tried again later"
	}
	if p.SoftBounce {
		return next + "; it does not bounce, since queue.soft_bounce is on"
	}
	switch relay.Scope(j.Results[0].Last.Scope) { // as it is weighed
	case relay.ScopeSender, relay.ScopePolicy:
		return next + "; when all refuse it so, its sender is told, and " + spell(p.PolicyHold) + " later it bounces"
	case relay.ScopeSize, relay.ScopeMessage:
		return next + ", if it might take it; it bounces when all refuse it for good"
	case relay.ScopeUnknown, relay.ScopeRecipient:
		return next + "; a second one that refuses it for good bounces it"
	}
	return next + "; such a refusal does not count towards a bounce"
}

// upstreamWords says what becomes of an upstream that was well. rests is until
// when it is left alone then, zero where a probe says that.
func upstreamWords(m relay.Meaning, j dispatch.Judgement, rests, now time.Time) string {
	wait := spell(rests.Sub(now).Round(time.Second))
	alone := "it is left alone for " + wait
	grows := ", and twice as long each time in a row; then one message tries it"
	switch f := j.Fault; {
	case j.Sender:
		return "it stays in use, but not for this sender: for an hour, then twice as long each time, until it takes a recipient from them"
	case f.OK() && len(j.Refusals) > 0 && (m.Wait > 0 || !m.Until.IsZero()):
		return "it stays in use; this message comes back to it after " + spell(j.Refusals[0].Until.Sub(now).Round(time.Second))
	case f.OK() && len(j.Refusals) > 0:
		return "it stays in use; this message may come back to it later"
	case f.OK():
		return "it stays in use"
	case f.Kind == health.Message:
		return "it stays in use, and is left alone for " + spell(5*time.Minute) + " when it says such to three messages in that time"
	case rests.IsZero() && (f.Kind == health.Identity || f.Sign == health.Imposture):
		return "it gets no mail until a probe shows that it proves who it is"
	case rests.IsZero():
		return "it gets no mail until a probe shows that it answers as it should"
	case f.Until.After(now):
		return alone + ", as it asks; then one message tries it"
	case f.Kind == health.Account:
		return "no login is made with this secret for " + wait + ", then an hour, then twice as long each time; a changed password or config is tried at once"
	case f.Kind == health.Place:
		return alone + grows + "; in another network at once"
	case f.Kind == health.Connections:
		return alone + ", and then gets fewer connections at a time"
	}
	return alone + grows
}
