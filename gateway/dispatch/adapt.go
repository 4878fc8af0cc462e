package dispatch

import (
	"errors"
	"time"

	"mailroam/gateway/dsn"
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
