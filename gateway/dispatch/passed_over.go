package dispatch

import (
	"cmp"
	"slices"
	"time"

	"mailroam/queue"
)

// PassedOver says that a sender's mail goes by another upstream than its first
// choice, since that one refuses the sender.
type PassedOver struct {
	Sender, First, By string
	Until             time.Time // when the first is asked again; past: with the next message
	Why               string    // what the first said
}

// PassedOver lists the mail that another upstream takes for such a reason. It is
// so until the first takes a recipient from that sender: the end of a block is
// only when that is tried again. Without mail it is forgotten in the end. Who is
// refused by all is not in it, nor are notices, which have no sender.
func (d *Dispatcher) PassedOver() []PassedOver {
	now := time.Now()
	d.mu.Lock()
	rs, known := d.config.Routes, map[senderAt]block{}
	for k, b := range d.senders {
		if k.reversePath != "" && now.Before(b.until.Add(blockMax)) {
			known[k] = b
		}
	}
	d.mu.Unlock()
	var list []PassedOver
	for k, b := range known {
		may := rs.Eligible(&queue.Message{ReversePath: k.reversePath})
		if len(may) == 0 || may[0] != k.upstream {
			continue
		}
		by := slices.IndexFunc(may, func(name string) bool {
			_, refuses := known[at(name, k.reversePath)]
			return !refuses
		})
		if by > 0 {
			list = append(list, PassedOver{Sender: k.reversePath, First: k.upstream, By: may[by], Until: b.until.UTC(), Why: b.why})
		}
	}
	slices.SortFunc(list, func(a, b PassedOver) int {
		return cmp.Or(cmp.Compare(a.First, b.First), cmp.Compare(a.Sender, b.Sender))
	})
	return list
}
