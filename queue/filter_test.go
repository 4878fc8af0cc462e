package queue_test

import (
	"testing"
	"time"

	"mailroam/queue"
)

func TestFilter(t *testing.T) {
	noon := time.Date(2026, 7, 1, 12, 0, 0, 0, time.UTC)
	id := queue.NewID()
	base := queue.Message{
		ID: id, State: queue.Queued, Accepted: noon, ReversePath: "Ann@Example.com", Content: queue.Content{MessageID: "CA+1@mail.example.com"},
		Recipients: []queue.Recipient{{Address: "bob@example.org", State: queue.Delivered}, {Address: "Eve@example.net", State: queue.Pending}},
	}
	with := func(change func(*queue.Message)) queue.Message {
		m := base
		change(&m)
		return m
	}
	done := with(func(m *queue.Message) { m.State, m.Ended = queue.Done, noon.Add(time.Hour) })
	null := with(func(m *queue.Message) { m.ReversePath = "" })
	doubt := with(func(m *queue.Message) {
		m.Recipients = []queue.Recipient{{State: queue.Pending, Doubt: &queue.Doubt{Upstream: "a"}}}
	})
	was := with(func(m *queue.Message) {
		m.Recipients = []queue.Recipient{{State: queue.Delivered, Doubt: &queue.Doubt{Upstream: "a"}}}
	})
	for _, c := range []struct {
		name string
		f    queue.Filter
		m    queue.Message
		want bool
	}{
		{"all takes unfinished ones", queue.Filter{}, base, true},
		{"all takes no finished one", queue.Filter{}, done, false},
		{"finished, asked for", queue.Filter{States: []queue.State{queue.Done}}, done, true},
		{"another state", queue.Filter{States: []queue.State{queue.Held, queue.Leased}}, base, false},
		{"no state at all", queue.Filter{States: []queue.State{}}, base, false},
		{"its ID", queue.Filter{IDs: []queue.ID{queue.NewID(), id}}, base, true},
		{"another ID", queue.Filter{IDs: []queue.ID{queue.NewID()}}, base, false},
		{"an ID does not overrule the states", queue.Filter{IDs: []queue.ID{id}}, done, false},
		{"part of the sender, any case", queue.Filter{From: "@EXAMPLE"}, base, true},
		{"another sender", queue.Filter{From: "carl"}, base, false},
		{"the null sender", queue.Filter{From: "<>"}, null, true},
		{"not the null sender", queue.Filter{From: "<>"}, base, false},
		{"null is not everybody", queue.Filter{From: "ann"}, null, false},
		{"any recipient", queue.Filter{To: "eve@EXAMPLE"}, base, true},
		{"no recipient", queue.Filter{To: "ann"}, base, false},
		{"part of the Message-ID, any case", queue.Filter{MessageID: "ca+1@"}, base, true},
		{"another Message-ID", queue.Filter{MessageID: "ca+2@"}, base, false},
		{"the Message-ID of a finished one", queue.Filter{MessageID: "CA+1", States: []queue.State{queue.Done}}, done, true},
		{"in doubt", queue.Filter{Doubt: true}, doubt, true},
		{"not in doubt", queue.Filter{Doubt: true}, base, false},
		{"doubt of a settled recipient is none", queue.Filter{Doubt: true}, was, false},
		{"accepted before", queue.Filter{Before: noon.Add(1)}, base, true},
		{"not before itself", queue.Filter{Before: noon}, base, false},
		{"ended before, when finished", queue.Filter{States: []queue.State{queue.Done}, Before: noon.Add(time.Hour + 1)}, done, true},
		{"ended later", queue.Filter{States: []queue.State{queue.Done}, Before: noon.Add(time.Hour)}, done, false},
		{"all fields must match", queue.Filter{From: "ann", To: "nobody"}, base, false},
	} {
		if got := c.f.Match(&c.m); got != c.want {
			t.Errorf("%s: %v", c.name, got)
		}
	}
}
