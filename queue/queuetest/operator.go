package queuetest

import (
	"sync"
	"time"

	"mailroam/queue"
)

// operator holds the checks of what a person can do.
func operator() []check {
	return []check{
		{"every verb acts where it makes sense", verbs},
		{"hold and drop stop a leased message at its dot", wishesAtDot},
		{"hold and drop act when the attempt ends", wishesAtEnd},
		{"hold and drop survive the process", wishesAtJoin},
		{"fail makes a notice and drop none", failNotice},
		{"verbs act on all that match, and say on how many", applyMany},
		{"verbs act while mail is claimed", applyWhileClaiming},
	}
}

func verbs(b *bench) {
	type row struct {
		verb queue.Verb
		from queue.State
		to   queue.State // "" is gone
	}
	acts := []row{
		{queue.OpHold, queue.Queued, queue.Held},
		{queue.OpHold, queue.Leased, queue.Leased}, // later
		{queue.OpRelease, queue.Held, queue.Queued},
		{queue.OpRetry, queue.Queued, queue.Queued},
		{queue.OpFail, queue.Queued, queue.Done},
		{queue.OpFail, queue.Held, queue.Done},
		{queue.OpDrop, queue.Queued, queue.Done},
		{queue.OpDrop, queue.Held, queue.Done},
		{queue.OpDrop, queue.Leased, queue.Leased}, // later
		{queue.OpForget, queue.Done, ""},
	}
	for _, v := range []queue.Verb{queue.OpHold, queue.OpRelease, queue.OpRetry, queue.OpFail, queue.OpDrop, queue.OpForget, "dance"} {
		for state, ids := range b.zoo(1) {
			want, changes := state, false
			for _, r := range acts {
				if r.verb == v && r.from == state {
					want, changes = r.to, true
				}
			}
			every := []queue.State{queue.Queued, queue.Leased, queue.Held, queue.Done}
			a, err := b.st.Apply(b.ctx(), queue.Filter{IDs: ids, States: every}, queue.Op{Verb: v, By: "operator", At: time.Now()})
			b.must(err)
			if a.Matched != 1 || (a.Changed == 1) != changes || len(a.IDs) != a.Changed {
				b.Errorf("%s on %s: %+v", v, state, a)
			}
			if want == "" {
				_, err := b.st.Get(b.ctx(), ids[0])
				b.is(err, queue.ErrNotFound)
			} else if m := b.get(ids[0]); m.State != want {
				b.Errorf("%s on %s leaves it %s, want %s", v, state, m.State, want)
			}
			b.agree()
		}
	}
}

func wishesAtDot(b *bench) {
	for v, want := range map[queue.Verb]error{queue.OpHold: queue.ErrHeld, queue.OpDrop: queue.ErrDropped} {
		c := b.born(letter())
		b.must(b.ses.MarkDot(b.ctx(), c, nil, "up", nil))
		if a := b.apply(v, c.ID); a.Changed != 1 {
			b.Errorf("%s changed %d", v, a.Changed)
		}
		if a := b.apply(v, c.ID); a.Changed != 0 {
			b.Errorf("%s again changed %d", v, a.Changed)
		}
		b.is(b.ses.MarkDot(b.ctx(), c, nil, "up", nil), want)
		b.is(b.ses.MarkDot(b.ctx(), c, nil, "next", nil), want)
		b.must(b.ses.Requeue(b.ctx(), c))
	}
	c := b.born(letter())
	b.apply(queue.OpHold, c.ID)
	b.apply(queue.OpRelease, c.ID) // the person thinks again
	b.must(b.ses.MarkDot(b.ctx(), c, nil, "next", nil))
}

func wishesAtEnd(b *bench) {
	ends := map[string]func(queue.Claim){
		"settle":  func(c queue.Claim) { b.settle(c, all(c, queue.Pending)) },
		"requeue": func(c queue.Claim) { b.must(b.ses.Requeue(b.ctx(), c)) },
	}
	for name, end := range ends {
		held, dropped := b.born(letter()), b.born(letter())
		b.apply(queue.OpHold, held.ID)
		b.apply(queue.OpDrop, dropped.ID)
		end(held)
		end(dropped)
		if m := b.state(held.ID, queue.Held); m.Held.By != "operator" || !m.Held.Since.Equal(time.Now()) {
			b.Errorf("%s: held %+v", name, m.Held)
		}
		b.state(dropped.ID, queue.Done)
		b.standing(dropped.ID, queue.Dropped)
	}
	c := b.born(letter())
	b.apply(queue.OpHold, c.ID)
	b.settle(c, all(c, queue.Delivered)) // it was too late
	b.state(c.ID, queue.Done)
	b.standing(c.ID, queue.Delivered)
}

func wishesAtJoin(b *bench) {
	held, dropped := b.born(letter()), b.born(letter())
	b.apply(queue.OpHold, held.ID)
	b.apply(queue.OpDrop, dropped.ID)
	b.join()
	b.state(held.ID, queue.Held)
	b.state(dropped.ID, queue.Done)
}

func failNotice(b *bench) {
	var seen []queue.RcptState
	notice := letter("ann@example.com")
	notice.Body = []byte("it failed")
	op := queue.Op{Verb: queue.OpFail, Reason: "no", By: "operator", At: time.Now(), Notice: func(m queue.Message) *queue.NewMessage {
		seen = append(seen, m.Recipients[0].State)
		return &notice
	}}
	id := b.queued(letter())
	f := queue.Filter{IDs: []queue.ID{id}}
	if _, err := b.st.Apply(b.ctx(), f, op); err != nil {
		b.Fatal(err)
	}
	if m := b.standing(id, queue.Failed); m.Recipients[0].Last.Text != "no" {
		b.Errorf("message %+v", m)
	}
	if len(seen) == 0 || seen[0] != queue.Pending {
		b.Errorf("the notice was made from %v", seen)
	}
	if got := b.body(notice.ID); got != "it failed" {
		b.Errorf("the notice says %q", got)
	}
	op.Notice = func(queue.Message) *queue.NewMessage { return nil } // none is wanted
	f.IDs[0] = b.queued(letter())
	if a, err := b.st.Apply(b.ctx(), f, op); err != nil || a.Changed != 1 {
		b.Errorf("affected %+v, error %v", a, err)
	}
	op.Notice = func(queue.Message) *queue.NewMessage { return &queue.NewMessage{} } // a mistake
	f.IDs[0] = b.queued(letter())
	if a, err := b.st.Apply(b.ctx(), f, op); err != nil || a.Changed != 0 {
		b.Errorf("affected %+v, error %v", a, err)
	}
	b.state(f.IDs[0], queue.Queued) // nobody fails without being told
}

func applyMany(b *bench) {
	const n = 1100
	for range n {
		b.queued(letter())
	}
	op := queue.Op{Verb: queue.OpHold, By: "operator", At: time.Now()}
	a, err := b.st.Apply(b.ctx(), queue.Filter{Limit: 30}, op)
	b.must(err)
	if a.Matched != 30 || a.Changed != 30 {
		b.Errorf("with a limit of 30: %+v", a)
	}
	a, err = b.st.Apply(b.ctx(), queue.Filter{}, op)
	b.must(err)
	if a.Matched != n || a.Changed != n-30 || len(a.IDs) != queue.MaxAffectedIDs {
		b.Errorf("matched %d, changed %d, listed %d", a.Matched, a.Changed, len(a.IDs))
	}
	a, err = b.st.Apply(b.ctx(), queue.Filter{}, op)
	b.must(err)
	if a.Matched != n || a.Changed != 0 {
		b.Errorf("again: matched %d, changed %d", a.Matched, a.Changed)
	}
}

func applyWhileClaiming(b *bench) {
	const n = 600
	for range n {
		b.queued(letter())
	}
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for {
				cs := b.claim(from("a", 10))
				if len(cs) == 0 {
					return
				}
				for _, c := range cs {
					o := all(c, queue.Delivered)
					if err := b.ses.Settle(b.ctx(), c, o); err != nil {
						b.Error(err)
					}
				}
			}
		})
	}
	wg.Go(func() {
		for range 10 {
			_, err := b.st.Apply(b.ctx(), queue.Filter{Limit: 50}, queue.Op{Verb: queue.OpHold, By: "operator", At: time.Now()})
			if err != nil {
				b.Error(err)
			}
		}
	})
	wg.Wait()
	st, err := b.st.Stats(b.ctx())
	b.must(err)
	if st.Done+st.Held != n || st.Leased+st.Queued != 0 {
		b.Errorf("stats %+v", st)
	}
}
