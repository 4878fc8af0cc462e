package health

import (
	"testing"
	"time"
)

// One message after which a session ends badly is no reason to stay away; three
// in five minutes are.
func TestStrays(t *testing.T) {
	type seen struct {
		by string
		at time.Duration
	}
	for _, c := range []struct {
		name string
		seen []seen
		rest time.Duration
	}{
		{"one", []seen{{"a", 0}}, 0},
		{"two", []seen{{"a", 0}, {"b", time.Minute}}, 0},
		{"three", []seen{{"a", 0}, {"b", time.Minute}, {"c", 4 * time.Minute}}, 5 * time.Minute},
		{"three in more than five minutes", []seen{{"a", 0}, {"b", time.Minute}, {"c", 5 * time.Minute}}, 0},
		{"and a fourth soon after", []seen{{"a", 0}, {"b", time.Minute}, {"c", 5 * time.Minute}, {"d", 330 * time.Second}}, 5 * time.Minute},
		{"one, again and again", []seen{{"a", 0}, {"a", time.Second}, {"a", 2 * time.Second}, {"a", 3 * time.Second}}, 0},
		{"two by turns", []seen{{"a", 0}, {"b", time.Second}, {"a", 2 * time.Second}, {"b", 3 * time.Second}}, 0},
		{"two, and then a third", []seen{{"a", 0}, {"b", time.Second}, {"a", 2 * time.Second}, {"c", 3 * time.Second}}, 5 * time.Minute},
	} {
		begin := time.Unix(1e9, 0)
		now, tr := begin, tracker{Reach: up}
		for i, s := range c.seen {
			if now = begin.Add(s.at); tr.rank(now) != Ready {
				t.Errorf("%s: it rests after %d", c.name, i)
			}
			tr = tr.observe(observation{fault: Fault{Kind: Message, Reason: "not an SMTP reply", By: s.by}}, now, 2)
			tr = tr.observe(served, now, 2) // others go through meanwhile
		}
		if got := max(0, tr.Breaker.Until.Sub(now)); got != c.rest {
			t.Errorf("%s: it rests for %v, want %v", c.name, got, c.rest)
		}
	}
	now := time.Unix(1e9, 0)
	tr := tracker{Reach: up}.observe(busy, now, 2)
	now = tr.Breaker.Until
	tr = tr.observe(observation{trial: true, fault: Fault{Kind: Message, By: "a"}}, now, 2)
	if got := tr.Breaker.Until.Sub(now); got != 10*time.Second {
		t.Errorf("a trial that ends so shows nothing good, and yet the next is in %v", got)
	}
	tr = tracker{Reach: up}.observe(observation{fault: Fault{Kind: Message, By: "a"}}, now, 2)
	tr = tr.observe(observation{fault: Fault{Kind: Message, By: "b"}}, now, 2).roam(now)
	if tr = tr.observe(observation{generation: tr.generation, fault: Fault{Kind: Message, By: "c"}}, now, 2); tr.rank(now) != Ready {
		t.Error("what happened in another network counts")
	}
}
