package alert

import (
	"fmt"
	"slices"
	"time"
)

// Refusal says that the first choice of a sender's mail refuses the sender, and
// another upstream takes it.
type Refusal struct {
	Sender, First, By string
	Until             time.Time // when the first is asked again
	Why               string    // what the first said
}

// RefusesSenders says whose mail the named upstream, their first choice, refuses,
// and what to do about it; "" when it refuses nobody's.
func RefusesSenders(name string, all []Refusal, now time.Time) string {
	var senders, by []string
	var soonest Refusal
	for _, r := range all {
		if r.First != name {
			continue
		}
		if len(senders) == 0 || r.Until.Before(soonest.Until) {
			soonest = r
		}
		senders = append(senders, r.Sender)
		if q := fmt.Sprintf("%q", r.By); !slices.Contains(by, q) {
			by = append(by, q)
		}
	}
	if len(senders) == 0 {
		return ""
	}
	it, next := "this sender", "with the next message"
	if len(senders) > 1 {
		it = "these senders"
	}
	if soonest.Until.After(now) {
		next = "after " + clock(soonest.Until, now)
	}
	return fmt.Sprintf("Running on %s with mail from %s: %q relays nothing for %s: %s. It is asked again %s. "+
		"Allow the address at this provider, or name in the upstream's senders whom it may send for; once it is mended: `mailroam queue retry --all`.",
		listing(by), listing(senders), name, it, soonest.Why, next)
}
