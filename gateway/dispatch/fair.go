package dispatch

import (
	"cmp"
	"hash/fnv"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"mailroam/queue"
)

// Fairness: who writes one letter does not wait behind somebody's ten thousand.
//
//   - The lanes of a list of upstreams are many, half of them for those who write
//     little and half for bulk, and a sender's mail is all in one of each. An
//     upstream is given from one after the other, each time a slot is free, so a
//     sender waits at most for as many as there are others who send.
//   - Of each lane one claim in four takes the newest: what somebody waits for at
//     the moment goes before the rest of a backlog of the same sender.
//   - Where one upstream alone is left, bulk takes of its budget down to a fifth of
//     its limits: that is kept for those who write little.

const (
	// crowds is how many lanes a list of upstreams has for those who write little,
	// and again for bulk. More would tell senders apart better, and make each claim
	// dearer.
	crowds = 8
	// bulkFrom is how many messages of a sender within an hour are no bulk yet.
	bulkFrom = 5
)

// author is by whom senders are told apart: what many letters have in common is
// their author, while each may have a reverse-path of its own.
func author(m *queue.Message) string {
	if len(m.Authors) > 0 {
		return m.Authors[0]
	}
	return m.ReversePath
}

// crowd is the lane of m among those: the one that it was in, or one of those who
// write little.
func crowd(m *queue.Message) int {
	if was, _, ok := strings.Cut(m.Lane, "/"); ok {
		if k, err := strconv.Atoi(was); err == nil && k >= 0 && k < 2*crowds {
			return k
		}
	}
	h := fnv.New32a()
	h.Write([]byte(canonical(author(m))))
	return int(h.Sum32() % crowds)
}

// sort marks mail that is in no lane with its crowd. The caller holds d.mu.
func (d *Dispatcher) sort(m *queue.Message, now time.Time) {
	if m.Lane != "" {
		return
	}
	k := crowd(m)
	if d.lately.count(author(m), now) > bulkFrom {
		k += crowds
	}
	m.Lane = strconv.Itoa(k) + "/"
}

// lane names the lane of m when the given upstreams can take it next.
func (p Policy) lane(m *queue.Message, names []string) string { return p.lanes(names, crowd(m)) }

func (p Policy) lanes(names []string, crowd int) string {
	return strconv.Itoa(crowd) + "/" + p.times() + p.Routes.lane(names)
}

// times marks the lanes of a configuration by what a filing is reckoned with, as
// Routes.tag does by the upstreams: when one of these changes, mail that waits is
// filed anew.
func (p Policy) times() string {
	h := fnv.New32a()
	for _, t := range []time.Duration{p.Expire, p.Warn, p.PolicyHold} {
		h.Write(strconv.AppendInt(nil, int64(t), 10))
		h.Write([]byte{0})
	}
	h.Write([]byte(p.InDoubt))
	return strconv.FormatUint(uint64(h.Sum32()), 36) + "."
}

// parse reads a lane back, and says whether it is one of this configuration.
func (p Policy) parse(lane string) (names []string, ok bool) {
	_, list, ok := strings.Cut(lane, "/")
	if !ok {
		return nil, false
	}
	if list, ok = strings.CutPrefix(list, p.times()); !ok {
		return nil, false
	}
	return p.Routes.parse(list)
}

// inTurn orders the lanes of each upstream so that the one after the last that
// was served comes first.
func (d *Dispatcher) inTurn(lanes []queue.LaneRequest) {
	past := func(r queue.LaneRequest) int { // 1: it had its turn
		if r.Lane <= d.served[r.Upstream] {
			return 1
		}
		return 0
	}
	slices.SortFunc(lanes, func(a, b queue.LaneRequest) int {
		return cmp.Or(strings.Compare(a.Upstream, b.Upstream), past(a)-past(b), strings.Compare(a.Lane, b.Lane))
	})
}

// had notes the turns of what a claim brought.
func (d *Dispatcher) had(claims []queue.Claim) {
	for i, c := range claims {
		if c.Upstream == "" {
			continue
		}
		if i == 0 || claims[i-1].Lane != c.Lane {
			d.turns[c.Lane]++
		}
		d.served[c.Upstream] = c.Lane
	}
}

// share is how many of an upstream's free slots are for mail that waits, and when
// to ask again where nothing else would tell. While no mail is behind, half of
// them are left to fresh mail.
func (d *Dispatcher) share(upstream string) (n int, again time.Duration) {
	again = time.Hour
	if n = d.free(upstream); n <= 0 {
		return 0, again
	}
	if !d.backlog {
		n -= n / 2
	}
	if d.wished[upstream] {
		n, again = n-1, 2*d.config.Hedge // by then the hedge has come or is not wanted
	}
	delete(d.wished, upstream)
	return n, again
}

// forBulk is how much bulk an upstream takes now: down to the last fifth of its
// budget, which is kept for letters where no other upstream of these can take them.
// What is on its way there counts as taken.
func (d *Dispatcher) forBulk(upstream string, names []string) int {
	s := d.Health.Standing(upstream)
	if s.Room == 0 { // there is no limit
		return math.MaxInt
	}
	if others := slices.DeleteFunc(slices.Clone(names), func(n string) bool { return n == upstream }); d.first(others) != "" {
		return math.MaxInt
	}
	return s.Spare - (d.slots[upstream] - d.asked[upstream] - d.begun[upstream])
}

// paced is how often it is looked whether bulk may go on: nothing tells of what
// becomes free of a budget.
const paced = 5 * time.Second

// isBulk says so of the mail in a lane.
func isBulk(lane string) bool {
	k, _, _ := strings.Cut(lane, "/")
	n, err := strconv.Atoi(k)
	return err == nil && n >= crowds
}
