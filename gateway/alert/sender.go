package alert

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"mailroam/health"
	"mailroam/queue"
)

// Refusal says that the first choice of a sender's mail refuses the sender.
type Refusal struct {
	Sender, First string
	Others        []string  // who may take it then, in order of preference
	Until         time.Time // when the first is asked again
	Why           string    // what the first said
}

// RefusesSenders says whose mail the named upstream, their first choice, refuses,
// what becomes of it and what to do about it; "" when it refuses nobody's.
func RefusesSenders(name string, all []Refusal, list []health.Status, now time.Time) string {
	var by, running, waiting []string
	var soonest Refusal
	for _, r := range all {
		if r.First != name {
			continue
		}
		if len(running)+len(waiting) == 0 || r.Until.Before(soonest.Until) {
			soonest = r
		}
		sender := queue.Printable(r.Sender, maxSender)
		k := Chain{Upstreams: r.Others}.Offered(list)
		if k < 0 {
			waiting = append(waiting, sender)
			continue
		}
		running = append(running, sender)
		if q := fmt.Sprintf("%q", r.Others[k]); !slices.Contains(by, q) {
			by = append(by, q)
		}
	}
	var what []string
	if len(running) > 0 {
		what = append(what, "running on "+listing(by)+" with mail from "+listing(running))
	}
	if len(waiting) > 0 {
		what = append(what, "mail from "+listing(waiting)+" waits until another upstream works")
	}
	if len(what) == 0 {
		return ""
	}
	text := strings.Join(what, ", and ")
	it, next := "this sender", "with the next message"
	if len(running)+len(waiting) > 1 {
		it = "these senders"
	}
	if soonest.Until.After(now) {
		next = "after " + clock(soonest.Until, now)
	}
	return fmt.Sprintf("%s: %q relays nothing for %s: %s It is asked again %s. "+
		"Allow the address at this provider, or name in the upstream's senders whom it may send for; once it is mended: `mailroam queue retry --all`.",
		strings.ToUpper(text[:1])+text[1:], name, it, sentence(soonest.Why), next)
}

// maxSender bounds an address in a text: what to do comes after it.
const maxSender = 100
