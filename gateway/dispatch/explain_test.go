package dispatch

import (
	"slices"
	"testing"
	"time"

	"mailroam/health"
)

func TestExplain(t *testing.T) {
	rs := NewRoutes([]Route{
		{Name: "work", Senders: []string{"@example.com"}},
		{Name: "down"},
		{Name: "slow"},
		{Name: "blocked"},
		{Name: "gmail", Senders: []string{"me@gmail.com"}, Rewrite: []Rewrite{{"*", "me@gmail.com"}}},
		{Name: "back"},
	})
	until := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	got := rs.explain(letterTo("ann@x.example", "bob@example.net"), func(u string) (health.Rank, block) {
		rank := map[string]health.Rank{"down": health.Unusable, "slow": health.LastResort, "back": health.Returning}
		if r, ok := rank[u]; ok {
			return r, block{}
		}
		if u == "blocked" {
			return health.Ready, block{until: until, why: "not you"}
		}
		return health.Ready, block{}
	})
	want := []Choice{
		{Upstream: "work", Bar: "its senders do not include <ann@x.example>"},
		{Upstream: "down", ReversePath: "ann@x.example"},
		{Upstream: "slow", ReversePath: "ann@x.example", Turn: 3},
		{Upstream: "blocked", ReversePath: "ann@x.example", Blocked: until, Why: "not you"},
		{Upstream: "gmail", ReversePath: "me@gmail.com", Author: "me@gmail.com", Turn: 1},
		{Upstream: "back", ReversePath: "ann@x.example", Turn: 2},
	}
	if !slices.Equal(got, want) {
		t.Errorf("got\n%+v\nwant\n%+v", got, want)
	}

	m := letterTo("ann@x.example", "bob@example.net")
	m.Size = 2 << 20
	small := NewRoutes([]Route{{Name: "a", MaxMessage: 1 << 20}})
	if got, none := small.Explain(m); none != "" || got[0].Lacks != "takes at most 1 MiB, this has 2 MiB" || got[0].Turn != 1 {
		t.Errorf("too large for all: %+v", got)
	}
}
