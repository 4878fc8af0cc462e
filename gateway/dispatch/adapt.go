package dispatch

import (
	"errors"
	"time"

	"mailroam/gateway/dsn"
	"mailroam/gateway/relay"
	"mailroam/health"
	"mailroam/queue"
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
func ProbeFault(err error) health.Fault {
	if err == nil {
		return health.Fault{}
	}
	r, sign := relay.RcptResult{Err: err}, relay.NoSign
	if e, ok := errors.AsType[*relay.Error](err); ok {
		if r, sign = (relay.RcptResult{Stage: e.Stage, Reply: e.Reply}), e.Sign(); e.Err != nil {
			r.Err = e
		}
	}
	_, scope := relay.Classify(r.Stage, r.Reply, r.Err, "")
	now := time.Now()
	f := faultOf(scope, r, answer("", r, now), now)
	f.Sign = signs[sign]
	return f
}

// Notice makes the failure notice for mail that a person fails. It reads
// nothing, since it is called inside the store's transaction, so the notice
// goes without the message's header, and one tells of all recipients.
func (d *Dispatcher) Notice(m queue.Message) *queue.NewMessage {
	now := d.now()
	r := dsn.Report{Hostname: d.Hostname, Message: m, Now: now.Time}
	given := queue.Answer{Text: "given up by the operator of the mail gateway", At: now.Time}
	for _, i := range m.Pending() { // they are about to fail (queue.Op)
		rc := m.Recipients[i]
		r.Ended = append(r.Ended, queue.Recipient{Address: rc.Address, State: queue.Failed, Last: doubted(rc, given)})
	}
	if m.ReversePath == "" || len(r.Ended) == 0 {
		return nil
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	n := d.config.failure(r, now)
	d.filed(n.Lane)
	return &n
}
