package dispatch

import (
	"slices"
	"testing"
	"time"

	"mailroam/queue"
)

func TestRoutes(t *testing.T) {
	routes := NewRoutes([]Route{
		{Name: "work", Senders: []string{"@example.com", "ann@example.org"}},
		{Name: "home", DefaultFrom: "ann@home.example", Senders: []string{"ann@home.example"}},
		{Name: "any"},
	})
	for _, tt := range []struct {
		from string
		want []string
	}{
		{"bob@example.com", []string{"work", "any"}},
		{"Bob@EXAMPLE.com", []string{"work", "any"}},
		{"ann@example.org", []string{"work", "any"}},
		{"bob@example.org", []string{"any"}},
		{"bob@sub.example.com", []string{"any"}},
		{"", []string{"work", "home", "any"}}, // the null reverse-path goes anywhere
		{"root", []string{"home", "any"}},
		{"pi@raspberry", []string{"home", "any"}},
		{"pi@box.local", []string{"home", "any"}},
	} {
		if got := routes.Eligible(&queue.Message{ReversePath: tt.from}); !slices.Equal(got, tt.want) {
			t.Errorf("Eligible(%q) = %v, want %v", tt.from, got, tt.want)
		}
	}
}

func TestDefaultFrom(t *testing.T) {
	r := Route{DefaultFrom: "ann@example.com"}
	for from, want := range map[string]string{
		"":                "", // stands for "never answer", whoever insists on a sender
		"root":            "ann@example.com",
		"pi@raspberry":    "ann@example.com",
		"pi@nas.lan":      "ann@example.com",
		"x@a.home.arpa":   "ann@example.com",
		"bob@example.net": "bob@example.net",
		"bob@[192.0.2.1]": "bob@[192.0.2.1]",
	} {
		if got := r.From(from); got != want {
			t.Errorf("From(%q) = %q, want %q", from, got, want)
		}
	}
	if got := (Route{}).From("root"); got != "root" {
		t.Errorf("without default_from: %q", got)
	}
}

func TestLaneOfAnotherListIsUnknown(t *testing.T) {
	a := NewRoutes([]Route{{Name: "a"}, {Name: "b"}})
	lane := a.lane([]string{"a", "b"})
	if got, ok := a.parse(lane); !ok || !slices.Equal(got, []string{"a", "b"}) {
		t.Errorf("parse(%q) = %v, %v", lane, got, ok)
	}
	if got, ok := a.parse(a.lane(nil)); !ok || len(got) != 0 {
		t.Errorf("the lane of nobody is %v, %v", got, ok)
	}
	for name, other := range map[string]Routes{
		"another order": NewRoutes([]Route{{Name: "b"}, {Name: "a"}}),
		"one more":      NewRoutes([]Route{{Name: "a"}, {Name: "b"}, {Name: "c"}}),
		"other senders": NewRoutes([]Route{{Name: "a", Senders: []string{"@x"}}, {Name: "b"}}),
	} {
		if got, ok := other.parse(lane); ok {
			t.Errorf("%s: the old lane still reads as %v", name, got)
		}
	}
}

func TestSchedule(t *testing.T) {
	s := Schedule{Initial: 30 * time.Second, Max: 30 * time.Minute}
	want := []time.Duration{30 * time.Second, time.Minute, 2 * time.Minute, 4 * time.Minute, 8 * time.Minute, 16 * time.Minute, 30 * time.Minute, 30 * time.Minute}
	id := queue.NewID()
	for i, w := range want {
		got := s.Wait(id, i+1)
		if got < w*8/10 || got > w*12/10 {
			t.Errorf("Wait(%d) = %v, want %v ± 20 %%", i+1, got, w)
		}
		if again := s.Wait(id, i+1); again != got {
			t.Errorf("Wait(%d) is not repeatable: %v, %v", i+1, got, again)
		}
	}
	for _, n := range []int{0, -1, 1000} {
		if got := s.Wait(id, n); got < 24*time.Second || got > 36*time.Minute {
			t.Errorf("Wait(%d) = %v", n, got)
		}
	}
	spread := map[time.Duration]bool{}
	for range 50 {
		spread[s.Wait(queue.NewID(), 3)] = true
	}
	if len(spread) < 40 {
		t.Errorf("50 messages share %d waits: they would come back together", len(spread))
	}
}
