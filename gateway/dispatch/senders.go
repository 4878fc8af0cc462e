package dispatch

import (
	"time"
)

// senders remembers which upstream relays nothing for which sender. It is
// about one person's address, so it costs the upstream nothing, until several
// senders meet it: then the upstream's own policy is the likelier reason.
type senders map[senderAt]block

type senderAt struct{ upstream, reversePath string }

type block struct {
	at, until time.Time
	wait      time.Duration
}

const (
	blockFirst  = time.Hour
	blockMax    = 24 * time.Hour
	blockWindow = 10 * time.Minute
	blockMany   = 3
	blockKept   = 1000
)

// refuse notes a refusal and says whether many senders have met it lately. The
// null reverse-path is none of them: who refuses it refuses nobody else.
func (s senders) refuse(upstream, reversePath string, now time.Time) (many bool) {
	if len(s) >= blockKept { // forged senders must not fill the memory
		clear(s)
	}
	k := senderAt{upstream, reversePath}
	b := s[k]
	if !b.until.After(now) { // of deliveries that were under way together one counts
		b.wait = min(max(2*b.wait, blockFirst), blockMax)
		b.until = now.Add(b.wait)
	}
	b.at = now
	s[k] = b
	n := 0
	for k, b := range s {
		if k.upstream == upstream && k.reversePath != "" && now.Sub(b.at) < blockWindow {
			n++
		}
	}
	return n >= blockMany && reversePath != ""
}

// accept forgets it: the upstream took a recipient from this sender.
func (s senders) accept(upstream, reversePath string) { delete(s, senderAt{upstream, reversePath}) }

// until is when the sender may be tried there again; zero: now.
func (s senders) until(upstream, reversePath string, now time.Time) time.Time {
	if b := s[senderAt{upstream, reversePath}]; b.until.After(now) {
		return b.until
	}
	return time.Time{}
}
