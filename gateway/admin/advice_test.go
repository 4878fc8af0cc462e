package admin

import (
	"strings"
	"testing"
	"time"

	"mailroam/health"
)

func TestAdvice(t *testing.T) {
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	upstream := func(name, state, why string, kind health.Kind) Upstream {
		return Upstream{
			Status: health.Status{Name: name, State: state, Since: now.Add(-90 * time.Second), Kind: kind, Preferred: state == "up" || state == "unknown"},
			Why:    why,
		}
	}
	up, fresh := upstream("work", "up", "", health.None), upstream("work", "unknown", "", health.None)
	down := upstream("work", "down", "connection refused", health.None)
	locked := upstream("work", health.Cooling, "535 5.7.8 no", health.Account)
	locked.Until = now.Add(time.Hour)
	stranger := upstream("work", "down", "certificate is for another name", health.Identity)
	back := up
	back.Preferred = false
	home := upstream("home", "up", "", health.None)
	homeDown := upstream("home", "suspect", "timed out", health.None)
	homeLocked := upstream("home", health.Cooling, "535 5.7.8 no", health.Account)

	for _, tt := range []struct {
		name string
		list []Upstream
		want []string // a part of each line
	}{
		{"all is well", []Upstream{up, home}, nil},
		{"at the start", []Upstream{fresh, home}, nil},
		{"the last is down", []Upstream{up, homeDown}, nil},
		{"second choice", []Upstream{down, home}, []string{`Running on choice 2, "home": "work" is down for 1m30s: connection refused. It is used again by itself`}},
		{"a dead password", []Upstream{locked, home}, []string{"what provides it in the config, and send the gateway SIGHUP; if they are right, log in at this provider to see whether the account is in order. It is tried again at 2026-03-01T13:00:00Z."}},
		{"a stranger", []Upstream{stranger, home}, []string{"could not prove to be it"}},
		{"a dead password in reserve", []Upstream{up, homeLocked}, []string{`"home" is cooling`}},
		{"back, not trusted", []Upstream{back, home}, []string{`"work" is back and must answer once more to be trusted. Nothing to do.`}},
		{"only a suspect", []Upstream{down, homeDown}, []string{`Running on choice 2, "home"`}},
		{"none", []Upstream{down, homeLocked}, []string{"No upstream works: mail waits", `"work" is down`, `"home" is cooling`}},
		{"no upstreams", nil, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := advise(tt.list, now)
			if len(got) != len(tt.want) {
				t.Fatalf("got %q", got)
			}
			for i, part := range tt.want {
				if !strings.Contains(got[i], part) {
					t.Errorf("line %d is %q, want %q in it", i, got[i], part)
				}
			}
		})
	}
}
