package queuetest

import (
	"errors"
	"reflect"
	"slices"
	"time"

	"mailroam/queue"
)

// leases are the checks of what may be written under a claim, and what becomes
// of one that nobody ends.
func leases() []check {
	return []check{
		{"settling gives every recipient its standing", settleKinds},
		{"notices are queued with the settle that makes them", spawns},
		{"settling again changes nothing", settleTwice},
		{"a settle can hold", settleHolds},
		{"mail that all refuse is counted as long as they do", settleBars},
		{"the dot is marked for the upstream that gets it", markDot},
		{"who does not own a message cannot write it", fences},
		{"a requeued message is as it was", requeues},
		{"the next session finds interrupted mail in doubt", joinInterrupts},
		{"a claim without an upstream leaves no doubt", joinNoDoubt},
		{"what A took is never offered again after a crash at B", joinKeepsKnown},
		{"leaving gives everything back", leaves},
	}
}

func (b *bench) standing(id queue.ID, want ...queue.RcptState) queue.Message {
	b.Helper()
	m := b.get(id)
	var got []queue.RcptState
	for _, r := range m.Recipients {
		got = append(got, r.State)
	}
	if !slices.Equal(got, want) {
		b.Fatalf("recipients are %v, want %v", got, want)
	}
	return m
}

func settleKinds(b *bench) {
	now := time.Now().UTC()
	c := b.born(letter("a@example.org", "b@example.org", "c@example.org", "d@example.org"))
	doubt := &queue.Doubt{Upstream: "up", At: now, Online: time.Hour, Refused: 1}
	o := queue.Outcome{
		At: now, Counted: true,
		Rcpts: []queue.RcptResult{
			{Index: 0, State: queue.Delivered, Last: queue.Answer{Upstream: "up", Code: 250, Enhanced: "2.0.0", Text: "fine", At: now}},
			{Index: 1, State: queue.Failed, Last: queue.Answer{Upstream: "up", Code: 550}},
			{Index: 2, State: queue.Pending, Doubt: doubt, Said: []queue.Answer{{Upstream: "up", Code: 550}}},
		},
		Attempts: []queue.Attempt{{At: now, Took: time.Second, Upstream: "up", Stage: "dot", Verdict: "delivered", Rcpts: []int{0}}},
		Filing:   queue.Filing{Lane: "b", Due: now.Add(time.Minute), Age: now.Add(time.Hour)},
		Refusals: []queue.Refusal{{Upstream: "x", Until: now.Add(time.Hour), Perm: true, Place: true}},
	}
	b.settle(c, o)
	m := b.standing(c.ID, queue.Delivered, queue.Failed, queue.Pending, queue.Pending)
	if m.State != queue.Queued || m.Filing != o.Filing || m.Tries != 1 || m.InDoubt() != "up" {
		b.Errorf("message %+v", m)
	}
	if !reflect.DeepEqual(m.Attempts, o.Attempts) || !reflect.DeepEqual(m.Refusals, o.Refusals) || !reflect.DeepEqual(m.Recipients[2].Doubt, doubt) ||
		m.Recipients[0].Last != o.Rcpts[0].Last || !slices.Equal(m.Recipients[2].Said, []queue.Answer{{Upstream: "up", Code: 550}}) {
		b.Errorf("message %+v", m)
	}
	if b.body(c.ID) == "" {
		b.Error("the body went with recipients still pending")
	}

	c = b.one(queue.ClaimRequest{Lanes: []queue.LaneRequest{{Lane: "b"}}, Max: 1})
	b.settle(c, queue.Outcome{At: now.Add(time.Minute), Rcpts: []queue.RcptResult{
		{Index: 0, State: queue.Failed}, // settled: it keeps its standing
		{Index: 2, State: queue.Delivered},
		{Index: 3, State: queue.Expired},
		{Index: 9, State: queue.Failed}, // there is none
	}})
	m = b.standing(c.ID, queue.Delivered, queue.Failed, queue.Delivered, queue.Expired)
	if m.State != queue.Done || !m.Ended.Equal(now.Add(time.Minute)) || m.Tries != 1 || m.Filing != (queue.Filing{}) || m.InDoubt() != "" {
		b.Errorf("message %+v", m)
	}
	b.claims(from("b", 9))
}

func spawns(b *bench) {
	c := b.born(letter())
	notice := letter("ann@example.com")
	notice.ReversePath, notice.Notice, notice.Body = "", true, pattern(100<<10)
	late := in("b", time.Hour)
	o := all(c, queue.Failed)
	o.Spawn = []queue.NewMessage{notice, late}
	b.settle(c, o)
	m := b.state(notice.ID, queue.Queued)
	if !m.Notice || m.Size != 100<<10 || diff([]byte(b.body(notice.ID)), notice.Body) != "" {
		b.Errorf("notice %+v", m)
	}
	b.state(late.ID, queue.Queued)
	b.settle(c, o) // nor is a notice made twice
	b.claims(from("a", 9), notice.ID)
}

func settleTwice(b *bench) {
	c := b.born(letter("a@example.org", "b@example.org"))
	o := all(c, queue.Delivered)
	o.Rcpts = o.Rcpts[:1]
	o.Due = time.Now().Add(time.Hour)
	b.settle(c, o)
	first := b.get(c.ID)
	b.settle(c, o)
	if again := b.get(c.ID); !reflect.DeepEqual(first, again) {
		b.Errorf("first  %+v\nsecond %+v", first, again)
	}
	time.Sleep(time.Hour)
	next := b.one(from("a", 1))
	b.settle(c, o)
	b.state(c.ID, queue.Leased) // by somebody else, who keeps it
	b.settle(next, all(next, queue.Delivered))
	b.settle(next, all(next, queue.Delivered))
	b.is(b.ses.Settle(b.ctx(), c, o), queue.ErrFenced)
	b.standing(c.ID, queue.Delivered, queue.Delivered)
}

func settleHolds(b *bench) {
	c := b.born(letter())
	o := all(c, queue.Pending)
	o.Hold = queue.Hold{Reason: "older than 30 days", By: "mailroam", Since: time.Now().UTC()}
	b.settle(c, o)
	if m := b.state(c.ID, queue.Held); m.Held != o.Hold {
		b.Errorf("held %+v", m.Held)
	}
	time.Sleep(48 * time.Hour)
	b.claims(queue.ClaimRequest{Aged: true, Except: map[string]bool{}, Max: 9})
	b.apply(queue.OpRelease, c.ID)
	if m := b.state(c.ID, queue.Queued); m.Lane != "" || m.Released.IsZero() || m.Held != (queue.Hold{}) {
		b.Errorf("released %+v", m)
	}
}

func settleBars(b *bench) {
	c := b.born(letter())
	told := time.Now().UTC()
	o := all(c, queue.Pending)
	o.Barred, o.Warned, o.At = time.Hour, true, told
	count := func(when string, want int) {
		b.Helper()
		b.agree()
		if st, err := b.st.Stats(b.ctx()); err != nil || st.Barred != want {
			b.Errorf("%s: %d are counted, want %d (%v)", when, st.Barred, want, err)
		}
	}
	b.settle(c, o)
	if m := b.state(c.ID, queue.Queued); m.Barred != time.Hour || !m.Warned.Equal(told) {
		b.Errorf("barred since %v, warned at %v", m.Barred, m.Warned)
	}
	count("refused by all", 1)
	time.Sleep(time.Minute)
	c = b.one(from("a", 1))
	count("being tried again", 1)
	o.Warned = false
	o.At = time.Now()
	b.settle(c, o)
	if m := b.get(c.ID); !m.Warned.Equal(told) {
		b.Errorf("warned at %v, and at %v nobody was told", told, m.Warned)
	}
	b.apply(queue.OpHold, c.ID)
	count("held", 0)
	b.apply(queue.OpRelease, c.ID)
	if m := b.get(c.ID); m.Barred != 0 || !m.Warned.IsZero() {
		b.Errorf("released: barred since %v, warned at %v", m.Barred, m.Warned)
	}
	count("released", 0)
	c = b.one(queue.ClaimRequest{Except: map[string]bool{}, Max: 1})
	b.settle(c, o)
	count("refused again", 1)
	b.apply(queue.OpRetry, c.ID)
	count("tried by a person", 0)
	c = b.one(queue.ClaimRequest{Except: map[string]bool{}, Max: 1})
	b.settle(c, o)
	c = b.one(from("a", 1))
	b.must(b.ses.Requeue(b.ctx(), c))
	count("given back", 1)
	c = b.one(from("a", 1))
	b.settle(c, all(c, queue.Delivered))
	count("delivered", 0)
}

func markDot(b *bench) {
	c := b.born(letter("a@example.org", "b@example.org"))
	b.must(b.ses.MarkDot(b.ctx(), c, nil, "up", nil))
	b.must(b.ses.MarkDot(b.ctx(), c, []int{1}, "next", []queue.RcptResult{{Index: 0, State: queue.Delivered}}))
	b.must(b.ses.MarkDot(b.ctx(), c, []int{1}, "next", nil))
	o := queue.Outcome{At: time.Now(), Rcpts: []queue.RcptResult{{Index: 1, State: queue.Delivered}}}
	b.settle(c, o) // what MarkDot stored need not be said again
	b.standing(c.ID, queue.Delivered, queue.Delivered)
	b.state(c.ID, queue.Done)
}

func fences(b *bench) {
	kept := b.born(letter())
	over := b.born(letter())
	b.settle(over, all(over, queue.Pending))
	gone := b.born(letter())
	b.must(b.ses.Requeue(b.ctx(), gone))
	again := b.born(letter())
	b.must(b.ses.Requeue(b.ctx(), again))
	var stale []queue.Claim
	for name, c := range map[string]queue.Claim{"epoch": kept, "session": kept, "requeued": gone, "unknown": kept} {
		switch name {
		case "epoch":
			c.Epoch++
		case "session":
			c.Session--
		case "unknown":
			c.ID = queue.NewID()
		}
		stale = append(stale, c)
	}
	stale = append(stale, again)
	for _, c := range b.claim(from("a", 9)) {
		if c.ID == again.ID {
			kept = c // claimed anew: the older claim is over
		}
	}
	before := b.list(queue.Filter{})
	for _, c := range stale {
		b.is(b.ses.MarkDot(b.ctx(), c, nil, "other", nil), queue.ErrFenced)
		b.is(b.ses.MarkDot(b.ctx(), c, nil, "up", nil), queue.ErrFenced)
		b.is(b.ses.Settle(b.ctx(), c, all(c, queue.Delivered)), queue.ErrFenced)
		b.is(b.ses.Requeue(b.ctx(), c), queue.ErrFenced)
	}
	if after := b.list(queue.Filter{}); !reflect.DeepEqual(before, after) {
		b.Error("a stale claim changed something")
	}
	err := b.ses.Requeue(b.ctx(), stale[0], kept, stale[1])
	b.is(err, queue.ErrFenced)
	b.state(kept.ID, queue.Queued) // the good one among them was given back
}

func requeues(b *bench) {
	n := letter()
	n.Due = time.Now().Add(-time.Hour)
	b.queued(n)
	before := b.get(n.ID)
	c := b.one(from("a", 1))
	time.Sleep(time.Minute)
	b.must(b.ses.Requeue(b.ctx(), c))
	after := b.get(n.ID)
	if !after.Due.Equal(time.Now()) {
		b.Errorf("due %v, want now", after.Due)
	}
	if after.Due = before.Due; !reflect.DeepEqual(before, after) {
		b.Errorf("before %+v\nafter  %+v", before, after)
	}
	c = b.born(letter("a@example.org", "b@example.org"))
	b.must(b.ses.MarkDot(b.ctx(), c, []int{1}, "next", []queue.RcptResult{{Index: 0, State: queue.Delivered}}))
	b.must(b.ses.Requeue(b.ctx(), c))
	b.standing(c.ID, queue.Delivered, queue.Pending)
}

func joinInterrupts(b *bench) {
	old := b.ses
	waiting := b.queued(letter())
	waiting2 := b.get(waiting)
	c := b.born(letter("a@example.org", "b@example.org"))
	done := b.born(letter())
	b.settle(done, all(done, queue.Delivered))
	time.Sleep(time.Hour)
	b.join()
	m := b.state(c.ID, queue.Queued)
	last := m.Attempts[len(m.Attempts)-1]
	if m.Lane != "" || !m.Due.Equal(time.Now()) || m.InDoubt() != "up" || !last.Interrupted || last.Upstream != "up" || m.Tries != 0 {
		b.Errorf("interrupted %+v", m)
	}
	for _, r := range m.Recipients {
		if r.State != queue.Pending || r.Doubt == nil || r.Doubt.Upstream != "up" || !r.Doubt.Crash {
			b.Errorf("recipient %+v", r)
		}
	}
	if !reflect.DeepEqual(b.get(waiting), waiting2) {
		b.Error("a waiting message was touched")
	}
	b.state(done.ID, queue.Done)

	b.is(old.Settle(b.ctx(), c, all(c, queue.Delivered)), queue.ErrFenced)
	b.is(old.MarkDot(b.ctx(), c, nil, "up", nil), queue.ErrFenced)
	b.is(old.Requeue(b.ctx(), c), queue.ErrFenced)
	if _, err := old.Claim(b.ctx(), from("a", 9)); !errors.Is(err, queue.ErrFenced) {
		b.Errorf("the old session's claim: %v", err)
	}
	b.is(old.Leave(b.ctx()), queue.ErrFenced)
	b.standing(c.ID, queue.Pending, queue.Pending)
	if d, err := old.NewDraft(b.ctx(), queue.NewID()); err == nil {
		b.Errorf("the old session gave a draft %v", d)
	}
}

func joinNoDoubt(b *bench) {
	n := letter()
	n.Lane = ""
	id := b.queued(n)
	b.one(queue.ClaimRequest{Lanes: []queue.LaneRequest{{Lane: ""}}, Max: 1})
	b.join()
	if m := b.state(id, queue.Queued); m.InDoubt() != "" || len(m.Attempts) != 0 {
		b.Errorf("message %+v", m)
	}
}

// joinKeepsKnown is the crash between the MarkDot at B and the settle.
func joinKeepsKnown(b *bench) {
	now := time.Now().UTC()
	c := b.born(letter("a@example.org", "b@example.org", "c@example.org", "d@example.org"))
	b.must(b.ses.MarkDot(b.ctx(), c, nil, "up", nil))
	b.must(b.ses.MarkDot(b.ctx(), c, []int{1, 2}, "next", []queue.RcptResult{
		{Index: 0, State: queue.Delivered, Last: queue.Answer{Upstream: "up", Code: 250}},
		{Index: 3, State: queue.Pending, Doubt: &queue.Doubt{Upstream: "up", At: now}},
	}))
	b.must(b.ses.MarkDot(b.ctx(), c, []int{2}, "last", []queue.RcptResult{
		{Index: 1, State: queue.Failed, Last: queue.Answer{Upstream: "next", Code: 550}},
	}))
	b.join()
	m := b.standing(c.ID, queue.Delivered, queue.Failed, queue.Pending, queue.Pending)
	if d := m.Recipients[2].Doubt; d == nil || d.Upstream != "last" || !d.Crash {
		b.Errorf("doubt %+v, want the upstream marked last", d)
	}
	if d := m.Recipients[3].Doubt; d == nil || d.Upstream != "up" || d.Crash {
		b.Errorf("doubt %+v, want the one that was witnessed", d)
	}
	if m.Recipients[0].Last.Code != 250 {
		b.Errorf("the answer of the first is lost: %+v", m.Recipients[0])
	}

	// All is known, so nothing is left to send.
	c = b.born(letter())
	b.must(b.ses.MarkDot(b.ctx(), c, []int{}, "next", []queue.RcptResult{{Index: 0, State: queue.Delivered}}))
	b.join()
	b.state(c.ID, queue.Done)
}

func leaves(b *bench) {
	c := b.born(letter())
	claimed := b.queued(letter())
	b.one(from("a", 1))
	old := b.ses
	b.must(old.Leave(b.ctx()))
	for _, id := range []queue.ID{c.ID, claimed} {
		if m := b.state(id, queue.Queued); m.Lane != "a" || len(m.Attempts) != 0 || m.InDoubt() != "" {
			b.Errorf("message %+v", m)
		}
	}
	b.is(old.Settle(b.ctx(), c, all(c, queue.Delivered)), queue.ErrFenced)
	b.is(old.Leave(b.ctx()), queue.ErrFenced)
	b.join()
	b.claims(from("a", 9), c.ID, claimed)
}
