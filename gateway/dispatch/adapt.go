package dispatch

import (
	"errors"
	"time"

	"mailroam/gateway/relay"
	"mailroam/health"
	"mailroam/queue"
)

// ProbeFault is what a probe's error means for the upstream.
func ProbeFault(err error) health.Fault {
	if err == nil {
		return health.Fault{}
	}
	r := relay.RcptResult{Err: err}
	if e := (*relay.Error)(nil); errors.As(err, &e) {
		r = relay.RcptResult{Stage: e.Stage, Reply: e.Reply, Err: e.Err}
	}
	_, scope := relay.Classify(r.Stage, r.Reply, r.Err, "")
	now := time.Now()
	return faultOf(scope, r, answer("", r, now), now)
}

// Notice makes the failure notice for mail that a person fails. It reads
// nothing, since it is called inside the store's transaction, so the notice
// goes without the message's header.
func (d *Dispatcher) Notice(m queue.Message) *queue.NewMessage {
	d.mu.Lock()
	defer d.mu.Unlock()
	now := d.now()
	given := queue.Answer{Text: "given up by the operator of the mail gateway", At: now.Time}
	var o queue.Outcome
	for _, i := range m.Pending() { // they are about to fail (queue.Op)
		o.Rcpts = append(o.Rcpts, queue.RcptResult{Index: i, State: queue.Failed, Last: doubted(m.Recipients[i], given)})
	}
	d.config.notice(&m, &o, d.Hostname, nil, now)
	if len(o.Spawn) == 0 {
		return nil
	}
	d.learn(o.Spawn[0].Lane)
	return &o.Spawn[0]
}
