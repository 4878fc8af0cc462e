package queuetest

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing/synctest"
	"time"

	"mailroam/queue"
)

// claims are the checks of what is offered, to whom, in which order and when.
func claims() []check {
	return []check{
		{"claims come oldest due first", oldestFirst},
		{"or newest first, when asked", newestFirst},
		{"slots bound claims over all lanes of an upstream", slotsBound},
		{"lanes are served in turn", lanesInTurn},
		{"a lane left out is left alone", laneFilter},
		{"mail to be filed anew is claimed at any time", fileAnew},
		{"unlisted lanes are claimed for filing anew", unlistedLanes},
		{"age is claimed from any lane", agedClaims},
		{"a claim waits for the due time", waitsForDue},
		{"a claim wakes when something is queued", wakes},
		{"a claim that nothing ends waits for its context", waitsForContext},
		{"no two claims hold one message", exclusive},
		{"cancelling never loses a claim", cancelLosesNothing},
	}
}

// in makes a message due after d in a lane.
func in(lane string, d time.Duration) queue.NewMessage {
	n := letter()
	n.Lane, n.Due = lane, time.Now().Add(d)
	return n
}

func idsOf(cs []queue.Claim) (ids []queue.ID) {
	for _, c := range cs {
		ids = append(ids, c.ID)
	}
	return ids
}

func (b *bench) claims(r queue.ClaimRequest, want ...queue.ID) []queue.Claim {
	b.Helper()
	cs := b.claim(r)
	if got := idsOf(cs); !slices.Equal(got, want) {
		b.Fatalf("claimed %v\nwant %v", got, want)
	}
	return cs
}

func oldestFirst(b *bench) {
	y := b.queued(in("a", -time.Second))
	x := b.queued(in("a", -time.Minute))
	b.queued(in("a", time.Minute))
	z := b.queued(in("a", 0))
	cs := b.claims(from("a", 2), x, y)
	for _, c := range cs {
		if c.State != queue.Leased || c.Upstream != "up" || c.Aged {
			b.Errorf("claim %+v", c)
		}
		b.state(c.ID, queue.Leased)
	}
	b.claims(from("a", 2), z)
	b.claims(from("a", 2))
}

func newestFirst(b *bench) {
	x := b.queued(in("a", -time.Minute))
	y := b.queued(in("a", -time.Second))
	b.queued(in("a", time.Minute))
	b.queued(in("b", -time.Second))
	r := from("a", 1)
	r.Lanes[0].Newest = true
	b.claims(r, y)
	b.claims(r, x)
	b.claims(r)
}

func slotsBound(b *bench) {
	for range 3 {
		b.queued(in("a", 0))
		b.queued(in("b", 0))
		b.queued(in("c", 0))
	}
	r := queue.ClaimRequest{
		Lanes: []queue.LaneRequest{{Lane: "a", Upstream: "up"}, {Lane: "b", Upstream: "up"}, {Lane: "c", Upstream: "other"}},
		Slots: map[string]int{"up": 4, "other": 1},
	}
	n := map[string]int{}
	for _, c := range b.claim(r) {
		n[c.Upstream]++
	}
	if n["up"] != 4 || n["other"] != 1 {
		b.Errorf("claimed %v, want 4 and 1", n)
	}
	if r.Slots["up"] != 4 {
		b.Error("the request was changed")
	}
	r.Slots = map[string]int{"up": 0}
	b.claims(r) // other is not listed: it has none
}

func lanesInTurn(b *bench) {
	for range 2 {
		b.queued(in("a", 0))
		b.queued(in("b", 0))
	}
	r := queue.ClaimRequest{
		Lanes: []queue.LaneRequest{{Lane: "a", Upstream: "up"}, {Lane: "b", Upstream: "up"}},
		Slots: map[string]int{"up": 1},
	}
	var got string
	for turn := range 4 {
		r.Turn = turn
		got += b.one(r).Lane
	}
	if got != "abab" {
		b.Errorf("lanes were served as %s", got)
	}
}

func laneFilter(b *bench) {
	b.queued(in("ab", 0))
	b.queued(in("", 0))
	x := b.queued(in("a", 0))
	b.queued(in("b", 0))
	b.claims(from("a", 9), x)
	b.claims(from("c", 9))
}

func fileAnew(b *bench) {
	x := b.queued(in("", time.Hour))
	y := b.queued(in("a", time.Hour))
	b.queued(in("b", time.Hour))
	r := queue.ClaimRequest{Lanes: []queue.LaneRequest{{Lane: ""}, {Lane: "a"}}}
	b.claims(r)
	r.Max = 5
	for _, c := range b.claims(r, x, y) {
		if c.Upstream != "" || c.Aged {
			b.Errorf("claim %+v names an upstream", c)
		}
	}
}

func unlistedLanes(b *bench) {
	unlisted := []queue.ID{b.queued(in("", time.Hour)), b.queued(in("ab", 0)), b.queued(in("c", -time.Hour))}
	b.queued(in("a", 0))
	b.queued(in("b", 0))
	r := queue.ClaimRequest{Except: map[string]bool{"a": true, "b": true}, Max: 2}
	cs := append(b.claim(r), b.claim(r)...)
	got := idsOf(cs)
	slices.SortFunc(got, func(a, b queue.ID) int { return slices.Compare(a[:], b[:]) })
	if !slices.Equal(got, unlisted) || cs[0].Upstream != "" {
		b.Errorf("claimed %v, want %v", got, unlisted)
	}
	b.claims(r)
	b.claims(queue.ClaimRequest{Max: 9}) // nil Except claims none of them
}

func agedClaims(b *bench) {
	old := in("x", time.Hour)
	old.Age = time.Now().Add(-time.Second)
	x := b.queued(old)
	never := in("x", 0)
	never.Age = time.Time{}
	b.queued(never)
	soon := in("y", time.Hour)
	soon.Age = time.Now().Add(time.Minute)
	y := b.queued(soon)
	held := in("y", 0)
	held.Age = time.Now().Add(-time.Hour)
	b.apply(queue.OpHold, b.queued(held))

	r := queue.ClaimRequest{Aged: true, Max: 5}
	c := b.claims(r, x)[0]
	if !c.Aged || c.Upstream != "" {
		b.Errorf("claim %+v", c)
	}
	b.claims(r)
	start := time.Now()
	cs, err := b.ses.Claim(b.ctx(), r)
	b.must(err)
	if len(cs) != 1 || cs[0].ID != y || time.Since(start) > time.Minute {
		b.Errorf("claimed %v after %v", idsOf(cs), time.Since(start))
	}
}

func waitsForDue(b *bench) {
	start := time.Now()
	x := b.queued(in("a", 37*time.Second))
	b.queued(in("a", time.Hour))
	b.queued(in("b", time.Second))
	cs, err := b.ses.Claim(b.ctx(), from("a", 5))
	b.must(err)
	if took := time.Since(start); len(cs) != 1 || cs[0].ID != x || took != 37*time.Second {
		b.Errorf("claimed %v after %v", idsOf(cs), took)
	}
}

func wakes(b *bench) {
	ways := map[string]func() queue.ID{
		"commit": func() queue.ID { return b.queued(in("a", 0)) },
		"retry": func() queue.ID { // goes to the empty lane
			id := b.queued(in("a", time.Hour))
			b.apply(queue.OpRetry, id)
			return id
		},
		"release": func() queue.ID {
			id := b.queued(in("b", time.Hour))
			b.apply(queue.OpHold, id)
			b.apply(queue.OpRelease, id)
			return id
		},
		"requeue": func() queue.ID {
			c := b.born(in("a", time.Hour))
			b.must(b.ses.Requeue(b.ctx(), c))
			return c.ID
		},
		"settle": func() queue.ID {
			c := b.born(in("b", 0))
			o := all(c, queue.Pending)
			o.Lane, o.Due = "a", time.Now()
			b.settle(c, o)
			return c.ID
		},
		"notice": func() queue.ID {
			c := b.born(in("b", 0))
			o := all(c, queue.Failed)
			n := in("a", 0)
			n.Notice, n.Body = true, []byte("it failed")
			o.Spawn = []queue.NewMessage{n}
			b.settle(c, o)
			return n.ID
		},
	}
	r := from("a", 1)
	r.Lanes = append(r.Lanes, queue.LaneRequest{Lane: ""})
	r.Max = 1
	for way, act := range ways {
		start := time.Now()
		got := make(chan []queue.Claim)
		go func() {
			cs, _ := b.ses.Claim(b.ctx(), r)
			got <- cs
		}()
		synctest.Wait() // it waits now
		id := act()
		cs := <-got
		if len(cs) != 1 || cs[0].ID != id || time.Since(start) != 0 {
			b.Fatalf("%s: claimed %v after %v, want %v", way, idsOf(cs), time.Since(start), id)
		}
		b.settle(cs[0], all(cs[0], queue.Delivered))
	}
}

func waitsForContext(b *bench) {
	ctx, cancel := context.WithTimeout(b.ctx(), time.Hour)
	defer cancel()
	start := time.Now()
	cs, err := b.ses.Claim(ctx, from("a", 1))
	if cs != nil || err != nil || time.Since(start) != time.Hour {
		b.Errorf("claims %v, error %v, after %v", cs, err, time.Since(start))
	}
	b.queued(letter())
	cs, err = b.ses.Claim(ctx, from("a", 1))
	if cs != nil || err != nil {
		b.Errorf("claims %v, error %v with a context that had ended", cs, err)
	}
}

func exclusive(b *bench) {
	const workers, mails = 8, 400
	for i := range mails {
		b.queued(in(fmt.Sprint("lane", i%3), 0))
	}
	var mu sync.Mutex
	times := map[queue.ID]int{}
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			r := queue.ClaimRequest{Slots: map[string]int{"up": 7}, Turn: w}
			for i := range 3 {
				r.Lanes = append(r.Lanes, queue.LaneRequest{Lane: fmt.Sprint("lane", i), Upstream: "up", Newest: w%2 == 0})
			}
			for {
				cs := b.claim(r)
				if len(cs) == 0 {
					return
				}
				for _, c := range cs {
					mu.Lock()
					times[c.ID]++
					mu.Unlock()
					if err := b.ses.Settle(b.ctx(), c, all(c, queue.Delivered)); err != nil {
						b.Error(err)
					}
				}
			}
		})
	}
	wg.Wait()
	for id, n := range times {
		if n != 1 {
			b.Errorf("%s was claimed %d times", id, n)
		}
	}
	if len(times) != mails {
		b.Errorf("%d messages were claimed, want %d", len(times), mails)
	}
}

func cancelLosesNothing(b *bench) {
	const mails = 300
	for range mails {
		b.queued(in("a", 0))
	}
	var mu sync.Mutex
	held := 0
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 100 {
				ctx, cancel := context.WithCancel(b.ctx())
				go cancel() // at any moment of the claim
				cs, err := b.ses.Claim(ctx, from("a", 2))
				if err != nil {
					b.Error(err)
				}
				mu.Lock()
				held += len(cs)
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	st, err := b.st.Stats(b.ctx())
	b.must(err)
	if st.Leased != held || st.Leased+st.Queued != mails {
		b.Errorf("%d claims were returned; %d messages are leased and %d queued", held, st.Leased, st.Queued)
	}
}
