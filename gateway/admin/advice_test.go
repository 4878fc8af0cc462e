package admin

import (
	"slices"
	"strings"
	"testing"
	"time"

	"mailroam/gateway/alert"
	"mailroam/health"
)

func TestAdvice(t *testing.T) {
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	upstream := func(name, state, why string, kind health.Kind) health.Status {
		return health.Status{Name: name, State: state, Since: now.Add(-90 * time.Second), Kind: kind, Why: why, Preferred: state == "up" || state == "unknown"}
	}
	up, fresh := upstream("work", "up", "", health.None), upstream("work", "unknown", "", health.None)
	down := upstream("work", "down", "connection refused", health.None)
	locked := upstream("work", health.Cooling, "535 5.7.8 no", health.Account)
	locked.Until = now.Add(time.Hour)
	stranger := upstream("work", "down", "certificate is for another name", health.Identity)
	back := up
	back.Preferred = false
	home := upstream("home", "up", "", health.None)
	homeDown2 := upstream("home", "down", "timed out", health.Network)
	homeDown := upstream("home", "suspect", "timed out", health.None)
	homeLocked := upstream("home", health.Cooling, "535 5.7.8 no", health.Account)

	relaying := upstream("work", health.Cooling, "550 5.7.1 relaying denied", health.Place)
	forAll := []alert.Chain{{Senders: []string{"anybody else"}, Upstreams: []string{"work", "home"}}}

	limited := upstream("work", health.Limited, "500 of 500 recipients an hour are used (limits.per_hour)", health.None)
	limited.Until = now.Add(20 * time.Minute)
	for _, tt := range []struct {
		name string
		list []health.Status
		want []string // a part of each line
	}{
		{"all is well", []health.Status{up, home}, nil},
		{"at the start", []health.Status{fresh, home}, nil},
		{"the last is down", []health.Status{up, homeDown}, nil},
		{"second choice", []health.Status{down, home}, []string{`Running on choice 2, "home": "work" is down for 1m30s: connection refused. It is used again by itself`}},
		{"a dead password", []health.Status{locked, home}, []string{"Correct username and password, which for many providers is an app password; if they are right, log in at this provider to see whether the account is in order. After a change of the config send the gateway SIGHUP. It is tried again at 13:00:00 UTC."}},
		{"a stranger", []health.Status{stranger, home}, []string{"could not prove to be it"}},
		{"a dead password in reserve", []health.Status{up, homeLocked}, []string{`"home" is cooling for 1m30s: 535 5.7.8 no. Correct`}},
		{"back, not trusted", []health.Status{back, home}, []string{`"work" answers again; mail returns to it as health.rise and health.failback say. Nothing to do.`}},
		{"only a suspect", []health.Status{down, homeDown}, []string{`Running on choice 2, "home"`}},
		{"none", []health.Status{down, homeLocked}, []string{"No upstream works: mail waits", `"work" is down`, `"home" is cooling`}},
		{"our own limit", []health.Status{limited, home}, []string{`Running on choice 2, "home": "work" is limited for 1m30s: 500 of 500 recipients an hour are used (limits.per_hour). That is a limit of your own, not the provider's: there is nothing to do, or raise it if the provider allows more. It is used again at 12:20:00 UTC.`}},
		{"our own limits, all", []health.Status{limited, homeDown2}, []string{"No upstream works: mail waits", "That is a limit of your own", `"home" is down`}},
		{"refused for where we are", []health.Status{relaying, home}, []string{`Running on choice 2, "home": "work" is cooling for 1m30s: 550 5.7.1 relaying denied. It refuses mail from this network: there is nothing to do`}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := advise(Network{}, tt.list, forAll, nil, map[string]string{"home": "password_file"}, now)
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

// What is one sender's second choice may be another's first.
func TestAdviceForEachSender(t *testing.T) {
	list := []health.Status{{Name: "work", State: "down", Why: "timed out"}, {Name: "home", State: "up", Preferred: true}, {Name: "spare", State: "up", Preferred: true}}
	chains := []alert.Chain{
		{Senders: []string{"@work.example"}, Upstreams: []string{"work"}},
		{Senders: []string{"@ann.example"}, Upstreams: []string{"work", "spare"}},
		{Senders: []string{"anybody else"}, Upstreams: []string{"home", "spare"}},
	}
	got := advise(Network{}, list, chains, nil, nil, time.Now())
	want := []string{
		"No upstream works for mail from @work.example: it waits on disk and leaves by itself when one is back.",
		`Running on choice 2, "spare", with mail from @ann.example: "work" is down: timed out. It is used again by itself when it answers; if it should answer now, check its urls and this network.`,
	}
	if !slices.Equal(got, want) {
		t.Errorf("got %q", got)
	}
}

// When it is the network, upstreams that do not answer are not to blame; a
// password that was refused still is.
func TestAdviceAboutTheNetwork(t *testing.T) {
	list := []health.Status{
		{Name: "work", State: "down", Kind: health.Identity, Why: "certificate is for another name"},
		{Name: "home", State: health.Cooling, Kind: health.Account, Why: "535 5.7.8 no"},
	}
	chains := []alert.Chain{{Upstreams: []string{"work", "home"}}}
	for _, tt := range []struct {
		outlook health.Outlook
		manager string
		want    string
	}{
		{
			health.Outlook{State: health.Portal, Why: "somebody else answers for every upstream", Advice: "open a browser and log in to this network"},
			"portal",
			"It is the network (portal), not the upstreams. Somebody else answers for every upstream. Open a browser and log in to this network.",
		},
		{
			health.Outlook{State: health.Unreachable, Why: "no upstream can be reached", Advice: "Wait, or try another network."},
			"portal",
			"It is the network (unreachable), not the upstreams. No upstream can be reached. NetworkManager says that this is a captive portal. Open a browser and log in to this network: mail waits on disk and leaves by itself.",
		},
		{
			health.Outlook{State: health.Unreachable, Why: "no upstream can be reached", Advice: "Wait, or try another network."},
			"limited",
			"It is the network (unreachable), not the upstreams. No upstream can be reached. Wait, or try another network.",
		},
		{health.Outlook{State: health.Offline}, "none", "It is the network (offline), not the upstreams. Mail waits on disk and leaves by itself."},
	} {
		got := advise(Network{Outlook: tt.outlook, Manager: tt.manager}, list, chains, nil, nil, time.Now())
		if len(got) != 2 || got[0] != tt.want || !strings.HasPrefix(got[1], `"home" is cooling: 535`) {
			t.Errorf("%s: %q", tt.outlook.State, got)
		}
	}
}

// One upstream alone is charged as itself, until NetworkManager knows better.
func TestAdviceBehindASilentPortal(t *testing.T) {
	list := []health.Status{{Name: "work", State: "down", Kind: health.Network, Why: "timed out"}}
	chains := []alert.Chain{{Upstreams: []string{"work"}}}
	for manager, want := range map[string]int{"": 2, "full": 2, "limited": 2, "portal": 3} {
		got := advise(Network{Outlook: health.Outlook{State: health.Online}, Manager: manager}, list, chains, nil, nil, time.Now())
		if len(got) != want || strings.Contains(got[0], "captive portal") != (manager == "portal") {
			t.Errorf("%q: %q", manager, got)
		}
	}
}
