package main

import (
	"math"
	"time"

	"mailroam/gateway/admin"
	"mailroam/queue"
)

// shown is a message in JSON: others build on these names. As everywhere in our
// JSON a span of time has its unit in its name.
type shown struct {
	queue.Message
	Online     float64        `json:"online_s,omitzero"`
	Barred     float64        `json:"barred_s,omitzero"`
	Recipients []shownRcpt    `json:"to"`
	Attempts   []shownAttempt `json:"timeline"`
}

type shownRcpt struct {
	queue.Recipient
	Doubt *shownDoubt `json:"doubt,omitempty"`
}

type shownDoubt struct {
	queue.Doubt
	Online float64 `json:"online_s,omitzero"`
}

type shownAttempt struct {
	queue.Attempt
	Took float64 `json:"took_ms"`
}

// shownMessage leaves out what the message itself has in nanoseconds.
func shownMessage(m queue.Message) shown {
	s := shown{Message: m, Online: seconds(m.Online), Barred: seconds(m.Barred), Recipients: []shownRcpt{}, Attempts: []shownAttempt{}}
	s.Message.Online, s.Message.Barred = 0, 0
	for _, r := range m.Recipients {
		to := shownRcpt{Recipient: r}
		if r.Doubt != nil {
			to.Doubt = &shownDoubt{*r.Doubt, seconds(r.Doubt.Online)}
			to.Doubt.Doubt.Online = 0
		}
		s.Recipients = append(s.Recipients, to)
	}
	for _, at := range m.Attempts {
		took := math.Round(at.Took.Seconds()*1e4) / 10
		at.Took = 0
		s.Attempts = append(s.Attempts, shownAttempt{at, took})
	}
	return s
}

func shownMessages(ms []queue.Message) []shown {
	all := make([]shown, len(ms))
	for i, m := range ms {
		all[i] = shownMessage(m)
	}
	return all
}

func seconds(d time.Duration) float64 { return d.Round(time.Millisecond).Seconds() }

// shownStatus is what `status --json` prints.
type shownStatus struct {
	admin.Status
	Held []shown `json:"held"`
}
