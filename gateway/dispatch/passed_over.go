package dispatch

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"mailroam/queue"
)

// PassedOver says that a sender's mail passes by its first choice, since that one
// refuses the sender.
type PassedOver struct {
	Sender, First string
	Others        []string  // who may take it then, in order of preference
	Until         time.Time // when the first is asked again; past: with the next message
	Why           string    // what the first said
}

// PassedOver lists the mail that others may take for such a reason, be it
// to some recipients only. It is so until the first takes a recipient from that
// sender: the end of a block is only when that is tried again. Without mail it is
// forgotten in the end. Who is refused by all is not in it, nor are notices, which
// have no sender.
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
	if len(known) == 0 {
		return nil
	}
	var list []PassedOver
	to := rs.destinations()
	for k, b := range known {
		refuses := func(name string) bool {
			_, ok := known[at(name, k.reversePath)]
			return ok
		}
		if others := rs.insteadOf(k, to, refuses); len(others) > 0 {
			list = append(list, PassedOver{Sender: k.reversePath, First: k.upstream, Others: others, Until: b.until.UTC(), Why: b.why})
		}
	}
	slices.SortFunc(list, func(a, b PassedOver) int {
		return cmp.Or(cmp.Compare(a.First, b.First), cmp.Compare(a.Sender, b.Sender))
	})
	return list
}

// insteadOf lists who may take mail of a sender to one of the recipients for whom
// the upstream, which refuses the sender, is its first choice.
func (rs Routes) insteadOf(k senderAt, to []queue.Recipient, refuses func(upstream string) bool) []string {
	for _, r := range to {
		may := rs.Eligible(&queue.Message{ReversePath: k.reversePath, Recipients: []queue.Recipient{r}})
		if len(may) == 0 || may[0] != k.upstream {
			continue
		}
		if others := slices.DeleteFunc(may, refuses); len(others) > 0 {
			return others
		}
	}
	return nil
}

// destinations gives one recipient for all to whom the same upstreams may send.
func (rs Routes) destinations() (to []queue.Recipient) {
	seen := map[string]bool{}
	add := func(domain string) {
		r := queue.Recipient{Address: "bob@" + strings.ReplaceAll(domain, "*", "anybody.else"), State: queue.Pending}
		who := fmt.Sprintf("%q", rs.Eligible(&queue.Message{Recipients: []queue.Recipient{r}}))
		if !seen[who] {
			seen[who], to = true, append(to, r)
		}
	}
	add("anybody.else.example")
	for k := range rs.list {
		for _, domain := range rs.list[k].Recipients {
			add(domain)
		}
	}
	return to
}
