package dispatch

import (
	"cmp"
	"maps"
	"slices"
	"time"

	"mailroam/gateway/relay"
	"mailroam/queue"
)

// senders remembers which upstream relays nothing for which sender. It is
// about one person's address, so it costs the upstream nothing, until several
// senders meet it: then the upstream's own policy is the likelier reason.
type senders map[senderAt]block

type senderAt struct{ upstream, reversePath string }

// at is the sender there, however it is written.
func at(upstream, reversePath string) senderAt { return senderAt{upstream, canonical(reversePath)} }

type block struct {
	at, until time.Time
	wait      time.Duration
	why       string
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
func (s senders) refuse(upstream, reversePath, why string, now time.Time) (many bool) {
	k := at(upstream, reversePath)
	b, known := s[k]
	if !known && len(s) >= blockKept { // forged senders must not fill the memory
		delete(s, s.first())
	}
	if !b.until.After(now) { // of deliveries that were under way together one counts
		b.wait = min(max(2*b.wait, blockFirst), blockMax)
		b.until = now.Add(b.wait)
	}
	b.at, b.why = now, queue.Printable(why, maxText)
	s[k] = b
	n := 0
	for k, b := range s {
		if k.upstream == upstream && k.reversePath != "" && now.Sub(b.at) < blockWindow {
			n++
		}
	}
	return n >= blockMany && reversePath != ""
}

// first is who may be tried again first.
func (s senders) first() senderAt {
	return slices.MinFunc(slices.Collect(maps.Keys(s)), func(a, b senderAt) int { return s[a].until.Compare(s[b].until) })
}

// accept forgets it: the upstream took a recipient from this sender.
func (s senders) accept(upstream, reversePath string) { delete(s, at(upstream, reversePath)) }

// until is when the sender may be tried there again; zero: now.
func (s senders) until(upstream, reversePath string, now time.Time) time.Time {
	b, _ := s.now(upstream, reversePath, now)
	return b.until
}

// now is what keeps the sender from being tried there at the moment.
func (s senders) now(upstream, reversePath string, now time.Time) (b block, known bool) {
	if b := s[at(upstream, reversePath)]; b.until.After(now) {
		return b, true
	}
	return block{}, false
}

// answer stands for that of the upstream to a message that it is not asked for.
// It has no code, for to this one nothing was answered.
func (b block) answer(upstream string) queue.Answer {
	return queue.Answer{
		Upstream: upstream, Enhanced: "5.7.1", Scope: string(relay.ScopeSender), Text: "relays nothing for this sender: " + b.why, At: b.at.UTC(),
	}
}

// unasked says that an upstream was not asked for what it had said to another
// message of this sender.
func unasked(r queue.Refusal) bool { return r.Perm && r.Answer.Code == 0 }

// Block says that an upstream relays nothing for a sender, as far as is known.
type Block struct {
	Upstream string    `json:"upstream"`
	Sender   string    `json:"sender"` // "" is the null reverse-path
	Until    time.Time `json:"until"`  // when it may be tried again
	Why      string    `json:"why"`    // what the upstream said
}

// Blocks lists who is kept from which upstream now, and until when.
func (d *Dispatcher) Blocks() []Block {
	now := time.Now()
	d.mu.Lock()
	defer d.mu.Unlock()
	list := []Block{}
	for k, b := range d.senders {
		if b.until.After(now) {
			list = append(list, Block{Upstream: k.upstream, Sender: k.reversePath, Until: b.until.UTC(), Why: b.why})
		}
	}
	slices.SortFunc(list, func(a, b Block) int {
		return cmp.Or(cmp.Compare(a.Upstream, b.Upstream), cmp.Compare(a.Sender, b.Sender))
	})
	return list
}
