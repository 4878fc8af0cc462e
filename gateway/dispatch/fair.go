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
//   - Where one upstream alone is left, mail that waits takes of its budget at
//     will down to a fifth of its limits. That is given out slowly, so that mail
//     that comes in seldom finds nothing left.

const (
	// crowds is how many lanes a list of upstreams has for those who write little,
	// and again for bulk. More would tell senders apart better, and make each claim
	// dearer.
	crowds = 8
	// bulkFrom is how many messages of a sender within an hour are no bulk yet.
	bulkFrom = 20
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
	h.Write([]byte(strings.ToLower(author(m))))
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
	return strconv.Itoa(crowd) + "/" + p.Routes.lane(names)
}

// parse reads a lane back, and says whether it is one of this configuration.
func (p Policy) parse(lane string) (names []string, ok bool) {
	_, list, ok := strings.Cut(lane, "/")
	if !ok {
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
func (d *Dispatcher) had(claims []queue.Claim, now time.Time) {
	for i, c := range claims {
		if c.Upstream == "" {
			continue
		}
		if i == 0 || claims[i-1].Lane != c.Lane {
			d.turns[c.Lane]++
		}
		d.served[c.Upstream], d.spent[c.Upstream] = c.Lane, now
	}
}

// share is how many of an upstream's free slots are for mail that waits, and when
// to ask again where its budget forbids any. While no mail is behind, half of
// them are left to fresh mail.
func (d *Dispatcher) share(upstream string, names []string, now time.Time) (n int, again time.Duration) {
	again = time.Hour
	if n = d.free(upstream); n <= 0 {
		return 0, again
	}
	if !d.backlog {
		n -= n / 2
	}
	switch atWill, apart := d.budget(upstream, names); {
	case apart == 0:
		if n = min(n, atWill-(d.slots[upstream]-d.begun[upstream])); n <= 0 {
			again = soon // those under way may cost less than is set aside for them
		}
	case now.Sub(d.spent[upstream]) < apart:
		n, again = 0, min(apart-now.Sub(d.spent[upstream]), paced)
	default:
		n = 1
	}
	if n > 0 && d.wished[upstream] {
		n, again = n-1, 2*d.config.Hedge // by then the hedge has come or is not wanted
	}
	delete(d.wished, upstream)
	return n, again
}

// budget says what is left of an upstream's budget at will, and where that is
// nothing, how far apart the rest is to be given. Where another one can take
// what is in a lane of these names, nothing is held back.
func (d *Dispatcher) budget(upstream string, names []string) (atWill int, apart time.Duration) {
	atWill = math.MaxInt
	if d.Health.Standing(upstream).Room == 0 { // there is no limit
		return atWill, 0
	}
	if d.first(slices.DeleteFunc(slices.Clone(names), func(n string) bool { return n == upstream })) != "" {
		return atWill, 0
	}
	for _, s := range d.Health.Status() {
		if s.Name != upstream {
			continue
		}
		for _, b := range s.Budget {
			kept := b.Limit / 5
			if atWill = min(atWill, b.Left-kept); b.Left <= kept && kept > 0 {
				apart = max(apart, periods[b.Per]/time.Duration(kept))
			}
		}
	}
	return atWill, apart
}

// paced is how often it is looked whether a budget has more again.
const paced = 5 * time.Second

var periods = map[string]time.Duration{"minute": time.Minute, "hour": time.Hour, "day": 24 * time.Hour}

// fresh says whether mail that just came in may take of an upstream's budget
// before all that waits. A sender who pours in more than a little must not take
// the last of it: that is kept for others.
func (d *Dispatcher) fresh(upstream string, names []string, m *queue.Message, now time.Time) bool {
	_, apart := d.budget(upstream, names)
	if apart == 0 {
		return true
	}
	k := favour{upstream, crowd(m)}
	if now.Sub(d.favours[k]) < 4*apart {
		return false
	}
	d.favours[k] = now
	return true
}

// favour is what fresh mail of a crowd got at an upstream whose budget is nearly
// used up.
type favour struct {
	upstream string
	crowd    int
}
