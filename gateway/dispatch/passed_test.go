package dispatch

import (
	"slices"
	"testing"

	"mailroam/queue"
)

// TestPassed: what goes by another upstream than the first that may carry it is
// told of, by recipient and by what the message needs.
func TestPassed(t *testing.T) {
	rs := NewRoutes([]Route{
		{Name: "corp", Recipients: []string{"corp.example"}},
		{Name: "small", MaxMessage: 1000},
		{Name: "gmail", Senders: []string{"me@gmail.com"}, Rewrite: []Rewrite{{"*", "me@gmail.com"}}},
	})
	for _, tt := range []struct {
		name, from, upstream string
		size                 int64
		want                 []string
	}{
		{"by its first choice", "ann@x.example", "small", 0, []string{"corp"}},
		{"by its last", "ann@x.example", "gmail", 0, []string{"corp", "small"}},
		{"too large for another", "ann@x.example", "gmail", 2000, []string{"corp"}},
		{"a notice", "", "gmail", 0, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var got []string
			m := letterTo(tt.from, "a@corp.example", "b@y.example", "c@corp.example", "d@z.example")
			m.Size = tt.size
			l := &leg{
				d: &Dispatcher{Options: Options{Passed: func(first string) { got = append(got, first) }}}, config: Config{Policy: Policy{Routes: rs}},
				try: Try{Message: m, Upstream: tt.upstream},
			}
			l.passed(Judgement{Results: []queue.RcptResult{{Index: 0, State: queue.Delivered}, {Index: 1, State: queue.Delivered}, {Index: 3, State: queue.Pending}}})
			if !slices.Equal(got, tt.want) {
				t.Errorf("told of %v, want %v", got, tt.want)
			}
		})
	}
}
