package dispatch

import (
	"errors"
	"time"

	"mailroam/gateway/relay"
	"mailroam/health"
)

// signs are health's words for what relay sees.
var signs = map[relay.Sign]health.Sign{
	relay.DeadDNS:    health.DeadDNS,
	relay.Imposture:  health.Imposture,
	relay.Web:        health.Web,
	relay.WrongClock: health.WrongClock,
}

// ProbeFault is what a probe's error means for the upstream, and whether it
// looks like the network's fault.
func ProbeFault(err error, rules relay.Rules) health.Fault {
	if err == nil {
		return health.Fault{}
	}
	r, sign := relay.RcptResult{Err: err}, relay.NoSign
	if e, ok := errors.AsType[*relay.Error](err); ok {
		if r, sign = (relay.RcptResult{Stage: e.Stage, Reply: e.Reply}), e.Sign(); e.Err != nil {
			r.Err = e
		}
	}
	now := time.Now()
	f := faultOf(rules.Classify(r.Stage, r.Reply, r.Err, "", now), r, answer("", r, now))
	f.Sign = signs[sign]
	return f
}
