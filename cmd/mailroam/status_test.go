package main

import (
	"bytes"
	"encoding/json"
	"net/netip"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"mailroam/gateway/admin"
	"mailroam/queue"
)

// statusLike is a status without needing what its parts are made of.
func statusLike(t *testing.T, now time.Time) admin.Status {
	t.Helper()
	s := admin.Status{
		Gateway: admin.Info{PID: 7, Version: "1.2", Started: now.Add(-3 * time.Hour), Hostname: "gw.example.org", Listen: []string{"127.0.0.1:2525"}},
		Advice:  []string{`Running on choice 2, "home": "work" is down for 5m0s: connection refused.`},
		Queue:   queue.Stats{Queued: 2, Done: 5, Bytes: 1500, Oldest: now.Add(-time.Minute)},
		Network: admin.Network{Online: true, Interfaces: []admin.Interface{{Name: "wlan0", Addresses: []netip.Prefix{netip.MustParsePrefix("192.0.2.7/24")}}}},
	}
	s.Network.State = "online"
	for _, u := range []struct{ name, state, endpoint, why string }{
		{"work", "down", "smtp-relay.work.example.com:587", "connection refused"},
		{"home", "up", "smtp.example.net:465", ""},
		{"spare", "offline", "mail.spare.example:465, mail.spare.example:587", "no route leads to mail.spare.example\x1b[2J"},
	} {
		up := admin.Upstream{Why: u.why, Endpoint: u.endpoint}
		up.Name, up.State, up.Since = u.name, u.state, now.Add(-5*time.Minute)
		s.Upstreams = append(s.Upstreams, up)
	}
	s.Upstreams[0].LastGood, s.Upstreams[0].NextProbe = now.Add(-6*time.Minute), now.Add(1500*time.Millisecond)
	s.Upstreams[1].LastGood, s.Upstreams[1].NextProbe = now.Add(-12*time.Second), now.Add(14*time.Minute)
	return s
}

func TestStatusText(t *testing.T) {
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	var out bytes.Buffer
	(&app{out: &out, program: "mailroam"}).printStatus(statusLike(t, now), now)
	want := `Running on choice 2, "home": "work" is down for 5m0s: connection refused.

UPSTREAM  STATE    FOR  ENDPOINT                         LAST GOOD  NEXT PROBE
work      down     5m   smtp-relay.work.example.com:587  6m ago     in 1.5s
          connection refused
home      up       5m   smtp.example.net:465             12s ago    in 14m
spare     offline  5m   mail.spare.example:465 +1        never
          no route leads to mail.spare.example\x1b[2J

queue      2 queued, 0 leased, 0 held, 0 in doubt, 5 done; 1.5 kB, the oldest 1m old
network    online
gateway    mailroam 1.2 on gw.example.org, pid 7, up 3h
listening  127.0.0.1:2525
`
	if got := out.String(); got != want {
		t.Errorf("got:\n%swant:\n%s", got, want)
	}
	for line := range strings.Lines(out.String()) {
		if n := utf8.RuneCountInString(line); n > 100 {
			t.Errorf("%d columns: %s", n, line)
		}
	}
}

// What is left of the limits stands below each upstream that has some.
func TestStatusLimits(t *testing.T) {
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	s := statusLike(t, now)
	s.Advice = []string{"3 messages are refused by every upstream that may send them, for their senders or by policy."}
	s.Queue.Barred = 3
	s.Upstreams = s.Upstreams[:2]
	budget := func(u *admin.Upstream, text string) {
		if err := json.Unmarshal([]byte(text), &u.Budget); err != nil {
			t.Fatal(err)
		}
	}
	work, home := &s.Upstreams[0], &s.Upstreams[1]
	work.State, work.Why = "limited", "500 of 500 recipients an hour are used (limits.per_hour)"
	budget(work, `[{"per": "minute", "limit": 30, "left": 30}, {"per": "hour", "limit": 500, "left": 0, "more": "2026-03-01T12:23:00Z"}, {"per": "day", "limit": 2000, "left": 1412}]`)
	budget(home, `[{"per": "minute", "limit": 30, "left": 12}, {"per": "hour", "limit": 500, "left": 412}, {"per": "day", "limit": 2000, "left": 1912}]`)
	home.Learned.Connections = 3
	var out bytes.Buffer
	(&app{out: &out, program: "mailroam"}).printStatus(s, now)
	want := `3 messages are refused by every upstream that may send them, for their senders or by policy.

UPSTREAM  STATE    FOR  ENDPOINT                         LAST GOOD  NEXT PROBE
work      limited  5m   smtp-relay.work.example.com:587  6m ago     in 1.5s
          500 of 500 recipients an hour are used (limits.per_hour)
          recipients left: 30 of 30 a minute, 0 of 500 an hour (more in 23m), 1412 of 2000 a day
home      up       5m   smtp.example.net:465             12s ago    in 14m
          recipients left: 12 of 30 a minute, 412 of 500 an hour, 1912 of 2000 a day; takes 3 connections at a time

queue      2 queued, 0 leased, 0 held, 0 in doubt, 5 done; 1.5 kB, 3 refused by all, the oldest 1m old
`
	if got := out.String(); !strings.HasPrefix(got, want) {
		t.Errorf("got:\n%swant:\n%s", got, want)
	}
}

func TestNetworkText(t *testing.T) {
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	for _, tt := range []struct{ state, manager, want string }{
		{"online", "", "online"},
		{"online", "full", "online"},
		{"online", "limited", "online; NetworkManager says limited"},
		{"unreachable", "full", "unreachable (for 2m); NetworkManager says full"},
		{"portal", "portal", "captive portal? (for 2m); NetworkManager says portal"},
		{"unreachable", "limited\x1b", `unreachable (for 2m); NetworkManager says limited\x1b`},
		{"offline", "", "offline (for 2m)"},
		{"", "", "unknown (for 2m)"},
	} {
		n := admin.Network{Online: tt.state == "online", Manager: tt.manager}
		n.State, n.Since = tt.state, now.Add(-2*time.Minute)
		if got := networkText(n, now); got != tt.want {
			t.Errorf("got  %q\nwant %q", got, tt.want)
		}
	}
}
