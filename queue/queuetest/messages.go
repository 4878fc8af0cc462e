package queuetest

import (
	"bytes"
	"fmt"
	"io"
	"reflect"
	"testing/synctest"
	"time"

	"mailroam/queue"
)

// messages are the checks of storing, reading and listing.
func messages() []check {
	cs := []check{
		{"a message comes back as it was accepted", storesAll},
		{"an aborted draft leaves nothing", abortLeavesNothing},
		{"a draft is one message", commitOnce},
		{"bad messages are refused and harm nobody", refusesBad},
		{"what is not there is not found", notFound},
		{"a list is newest first and filtered like a scan", listFilters},
		{"a list under churn misses nothing that lasts", listUnderChurn},
		{"finished messages are forgotten by age", forgets},
	}
	for _, n := range []int{0, 1, 64<<10 - 1, 64 << 10, 64<<10 + 1, 1<<20 - 1, 1 << 20, 1<<20 + 1, 5<<20 + 7} {
		cs = append(cs, check{fmt.Sprintf("a body of %d octets comes back equal", n), func(b *bench) { bodyEqual(b, n) }})
	}
	return cs
}

func storesAll(b *bench) {
	n := letter("bob@example.org", "eve@example.net")
	n.Notice = true
	n.Content = queue.Content{
		Authors: []string{"ann@example.com", "zoe@example.com"}, MessageID: "1@example.com",
		EightBit: true, UTF8: true, RequireTLS: true, Automatic: true,
	}
	n.Return = queue.Return{Full: true, EnvID: "QQ+2B314159"}
	n.Recipients[0].Notify, n.Recipients[0].ORcpt = queue.NotifySuccess|queue.NotifyDelay, "rfc822;Bob+2B@example.org"
	n.Recipients[1].Notify = queue.NotifyNever
	b.queued(n)
	want := n.New(int64(len(b.body(n.ID))))
	want.Due, want.Age = n.Due.UTC(), n.Age.UTC()
	if got := b.get(n.ID); !reflect.DeepEqual(got, want) {
		b.Errorf("got  %+v\nwant %+v", got, want)
	}
	c := b.born(letter())
	m := b.state(c.ID, queue.Leased)
	if c.Upstream != "up" || c.Epoch == 0 || !reflect.DeepEqual(c.Message, m) {
		b.Errorf("claim %+v\nmessage %+v", c, m)
	}
}

func bodyEqual(b *bench, n int) {
	body := pattern(n)
	m := letter()
	d, err := b.ses.NewDraft(b.ctx(), m.ID)
	b.must(err)
	for rest := body; len(rest) > 0; { // in uneven pieces, as they come from a network
		k := min(len(rest), 3<<10+17)
		_, err := d.Write(rest[:k])
		b.must(err)
		rest = rest[k:]
	}
	c, err := d.Commit(b.ctx(), "up", m)
	b.must(err)
	d.Abort() // harmless after Commit
	if d := diff([]byte(b.body(m.ID)), body); d != "" || c.Size != int64(n) {
		b.Fatalf("body has %s; size is given as %d", d, c.Size)
	}
	r, err := b.st.OpenBody(b.ctx(), m.ID)
	b.must(err)
	defer r.Close()
	b.settle(c, all(c, queue.Delivered))
	if _, err := b.st.OpenBody(b.ctx(), m.ID); err == nil {
		b.Error("a finished message has a body")
	}
	// A reader that was open may be cut short, but never gives wrong octets.
	if got, _ := io.ReadAll(r); !bytes.HasPrefix(body, got) {
		b.Error("a reader that was open gave other octets")
	}
}

func abortLeavesNothing(b *bench) {
	for _, n := range []int{10, 1<<20 + 1, 3 << 20} {
		d, err := b.ses.NewDraft(b.ctx(), queue.NewID())
		b.must(err)
		_, err = d.Write(pattern(n))
		b.must(err)
		d.Abort()
		d.Abort()
	}
	b.queued(letter()) // a commit, so that what Abort asked for is done
	if st, err := b.st.Stats(b.ctx()); err != nil || st.Queued != 1 {
		b.Errorf("stats %+v, error %v", st, err)
	}
}

func commitOnce(b *bench) {
	n := letter()
	d, err := b.ses.NewDraft(b.ctx(), n.ID)
	b.must(err)
	_, err = d.Commit(b.ctx(), "", n)
	b.must(err)
	_, err = d.Commit(b.ctx(), "", n)
	b.is(err, queue.ErrExists)

	again, err := b.ses.NewDraft(b.ctx(), n.ID)
	b.must(err)
	_, err = io.WriteString(again, "another body")
	b.must(err)
	_, err = again.Commit(b.ctx(), "up", n)
	b.is(err, queue.ErrExists)
	if got := b.body(n.ID); got != "" {
		b.Errorf("the second draft changed the body to %q", got)
	}
	b.state(n.ID, queue.Queued)
}

func refusesBad(b *bench) {
	bad := []queue.NewMessage{letter(), letter(), letter()}
	bad[0].Recipients = nil
	bad[1].Lane = "a\x00b"
	bad[2].ID = queue.ID{}
	for i, n := range bad {
		d, err := b.ses.NewDraft(b.ctx(), n.ID)
		b.must(err)
		if _, err := d.Commit(b.ctx(), "", n); err == nil {
			b.Errorf("bad message %d was stored", i)
		}
	}
	c := b.born(letter())
	if err := b.ses.Settle(b.ctx(), c, queue.Outcome{Filing: queue.Filing{Lane: "\x00"}}); err == nil {
		b.Error("a bad lane was stored")
	}
	if err := b.ses.Settle(b.ctx(), c, queue.Outcome{Spawn: []queue.NewMessage{{}}}); err == nil {
		b.Error("a bad notice was stored")
	}
	b.state(c.ID, queue.Leased)
}

func notFound(b *bench) {
	_, err := b.st.Get(b.ctx(), queue.NewID())
	b.is(err, queue.ErrNotFound)
	_, err = b.st.OpenBody(b.ctx(), queue.NewID())
	b.is(err, queue.ErrNotFound)
	if a := b.apply(queue.OpDrop, queue.NewID()); a.Matched != 0 {
		b.Errorf("matched %d", a.Matched)
	}
}

// zoo stores messages in every state and gives their IDs by state.
func (b *bench) zoo(each int) map[queue.State][]queue.ID {
	b.Helper()
	ids := map[queue.State][]queue.ID{}
	for i := range each {
		q := letter(fmt.Sprintf("rcpt%d@example.org", i))
		q.MessageID = fmt.Sprintf("number.%d@example.com", i)
		ids[queue.Queued] = append(ids[queue.Queued], b.queued(q))
		ids[queue.Leased] = append(ids[queue.Leased], b.born(letter("Leased@Example.NET")).ID)
		h := letter()
		h.ReversePath = ""
		b.queued(h)
		b.apply(queue.OpHold, h.ID)
		ids[queue.Held] = append(ids[queue.Held], h.ID)
		n := letter()
		n.MessageID = q.MessageID
		d := b.born(n)
		b.settle(d, all(d, queue.Delivered))
		ids[queue.Done] = append(ids[queue.Done], d.ID)
		time.Sleep(time.Minute)
	}
	return ids
}

func listFilters(b *bench) {
	start := time.Now()
	ids := b.zoo(3)
	every := []queue.State{queue.Queued, queue.Leased, queue.Held, queue.Done}
	scan := b.list(queue.Filter{States: every})
	if len(scan) != 12 {
		b.Fatalf("%d messages listed, want 12", len(scan))
	}
	for i := 1; i < len(scan); i++ {
		if bytes.Compare(scan[i-1].ID[:], scan[i].ID[:]) <= 0 {
			b.Error("the list is not newest first")
		}
	}
	filters := []queue.Filter{
		{},
		{States: every},
		{From: "<>"},
		{From: "ANN@"},
		{To: "rcpt1@"},
		{To: "example.net"},
		{MessageID: "NUMBER.1@"},
		{MessageID: "number", States: []queue.State{queue.Done}},
		{MessageID: "nobody"},
		{Doubt: true},
		{Before: start.Add(90 * time.Second)},
		{States: []queue.State{queue.Done}, Before: start.Add(90 * time.Second)},
		{IDs: ids[queue.Held]},
		{IDs: append(ids[queue.Done], queue.NewID()), States: every},
		{IDs: []queue.ID{ids[queue.Queued][0], ids[queue.Queued][0]}},
		{States: []queue.State{}},
	}
	for _, s := range every {
		filters = append(filters, queue.Filter{States: []queue.State{s}}, queue.Filter{States: []queue.State{s, queue.Held}})
	}
	for _, f := range filters {
		var want []queue.Message
		for _, m := range scan {
			if f.Match(&m) {
				want = append(want, m)
			}
		}
		if got := b.list(f); !reflect.DeepEqual(got, want) {
			b.Errorf("filter %+v: %d messages, want %d", f, len(got), len(want))
		}
		f.Limit = 2
		if got := b.list(f); len(got) != min(2, len(want)) {
			b.Errorf("filter %+v: %d messages, want %d", f, len(got), min(2, len(want)))
		}
	}
	for range b.st.List(b.ctx(), queue.Filter{}) {
		break // a caller may stop reading
	}
}

func listUnderChurn(b *bench) {
	lasting := map[queue.ID]bool{}
	for range 450 { // more than a store reads at once
		lasting[b.queued(letter())] = true
	}
	fleeting := make(chan queue.Claim, 50)
	for range cap(fleeting) {
		fleeting <- b.born(letter())
	}
	seen := map[queue.ID]int{}
	n := 0
	for m, err := range b.st.List(b.ctx(), queue.Filter{States: []queue.State{queue.Queued, queue.Leased, queue.Done}}) {
		b.must(err)
		seen[m.ID]++
		if n++; n%10 == 0 { // between two rows: one comes, one ends, one is leased
			b.queued(letter())
			c := <-fleeting
			b.settle(c, all(c, queue.Delivered))
			c = b.one(from("a", 1))
			b.must(b.ses.Requeue(b.ctx(), c))
		}
	}
	for id := range lasting {
		if seen[id] != 1 {
			b.Fatalf("a message that was there throughout came %d times", seen[id])
		}
	}
	for id, n := range seen {
		if n != 1 {
			b.Errorf("%s came %d times", id, n)
		}
	}
}

func forgets(b *bench) {
	var ids []queue.ID
	for range 3 {
		c := b.born(letter())
		b.settle(c, all(c, queue.Delivered))
		ids = append(ids, c.ID)
		time.Sleep(time.Hour)
	}
	synctest.Wait()
	f := queue.Filter{States: []queue.State{queue.Done}, Before: time.Now().Add(-90 * time.Minute)}
	a, err := b.st.Apply(b.ctx(), f, queue.Op{Verb: queue.OpForget, At: time.Now()})
	b.must(err)
	if a.Changed != 2 {
		b.Errorf("%d were forgotten, want 2", a.Changed)
	}
	_, err = b.st.Get(b.ctx(), ids[0])
	b.is(err, queue.ErrNotFound)
	b.state(ids[2], queue.Done)
	if a := b.apply(queue.OpForget, b.queued(letter())); a.Changed != 0 {
		b.Error("an unfinished message was forgotten")
	}
}
