package alert

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"mailroam/health"
	"mailroam/queue"
)

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func is(name, state, why string, kind health.Kind) health.Status {
	return health.Status{
		Name: name, State: state, Since: noon.Add(-time.Minute), Why: why, Kind: kind,
		Preferred: state == "up" || state == "unknown",
	}
}

func up(name string) health.Status   { return is(name, "up", "", health.None) }
func down(name string) health.Status { return is(name, "down", "connection refused", health.Network) }

func locked(name string) health.Status {
	return is(name, health.Cooling, "535 5.7.8 no", health.Account)
}

// view is a look at upstreams that all mail may take in this order.
func view(list ...health.Status) View {
	v := View{Now: noon, Upstreams: list, Outlook: health.Outlook{State: "online"}}
	var names []string
	for _, u := range list {
		names = append(names, u.Name)
	}
	if len(names) > 0 {
		v.Chains = []Chain{{Senders: []string{"anybody"}, Upstreams: names}}
	}
	return v
}

func with(v View, change func(*View)) View { change(&v); return v }

func TestOffered(t *testing.T) {
	back := up("work")
	back.Preferred = false
	for _, tt := range []struct {
		list []health.Status
		want int
	}{
		{[]health.Status{up("work"), up("home")}, 0},
		{[]health.Status{is("work", "unknown", "", health.None), up("home")}, 0},
		{[]health.Status{down("work"), up("home")}, 1},
		{[]health.Status{back, up("home")}, 1},
		{[]health.Status{back, down("home")}, 0},
		{[]health.Status{is("work", "suspect", "", health.Network), is("home", health.Trial, "", health.Quota)}, 1},
		{[]health.Status{is("work", "suspect", "", health.Network), down("home")}, 0},
		{[]health.Status{down("work"), locked("home")}, -1},
		{[]health.Status{is("work", "offline", "", health.None)}, -1},
		{nil, -1},
	} {
		if got := (Chain{Upstreams: []string{"work", "home"}}).Offered(tt.list); got != tt.want {
			t.Errorf("of %+v: %d, want %d", tt.list, got, tt.want)
		}
	}
}

func TestConditions(t *testing.T) {
	place := is("work", health.Cooling, "550 5.7.1 relaying denied", health.Place)
	own := func(v *View) {
		v.Chains = []Chain{
			{Senders: []string{"@work.example"}, Upstreams: []string{"work"}},
			{Senders: []string{"@home.example", "anybody else"}, Upstreams: []string{"home", "spare"}},
		}
	}
	for _, tt := range []struct {
		name string
		view View
		want []string // of each: kind, upstream, and what is in its text
	}{
		{"all is well", view(up("work"), up("home")), nil},
		{"nothing is configured", view(), nil},
		{"second choice", view(down("work"), up("home")), []string{
			`second-choice work Running on choice 2, "home": "work" is down for 1m0s: connection refused. It is used again by itself`,
		}},
		{"third choice", view(down("work"), down("home"), up("spare")), []string{`second-choice work Running on choice 3, "spare": "work" is down`}},
		{"the second is down", view(up("work"), down("home")), nil},
		{"refused for where we are", view(place, up("home")), []string{`second-choice work relaying denied. It refuses mail from this network`}},
		{"nothing works", view(down("work"), down("home")), []string{`all-down work,home No upstream works: mail waits on disk and leaves by itself when one is back. "work" is down for 1m0s`}},
		{"a dead password", view(up("work"), locked("home")), []string{`credentials home "home" refuses our login: 535 5.7.8 no. Correct username`}},
		{"a dead password, and second choice", view(locked("work"), up("home")), []string{`second-choice work choice 2, "home"`, `credentials work `}},
		{"a used-up quota", view(up("work"), is("home", health.Cooling, "452 daily limit", health.Quota)), []string{`quota home 452 daily limit`}},
		{"our own limit", view(is("work", health.Limited, "500 of 500 recipients an hour are used", health.None), up("home")), []string{
			`second-choice work "work" is limited for 1m0s: 500 of 500 recipients an hour are used. That is a limit of your own, not the provider's`,
		}},
		{"our own limits, all", view(is("work", health.Limited, "500 of 500 recipients an hour are used", health.None)), []string{`all-down work The limits in the config are used up: mail waits on disk and leaves by itself as they allow. "work" is limited for 1m0s: 500 of 500`}},
		{"refused by all", with(view(up("work")), func(v *View) { v.Queue.Barred, v.PolicyHold = 3, 24*time.Hour }), []string{
			"refused  3 messages are refused by every upstream that may send them, for their senders or by policy. They wait for another network, password or config, and come back to their senders after 1d online (queue.policy_hold). `mailroam queue show`",
		}},
		{"the first choice refuses a sender", with(view(up("work"), up("home")), func(v *View) {
			v.Refusals = []Refusal{{"ann@a.example", "work", []string{"home"}, noon.Add(2 * time.Hour), "553 5.7.1 not yours"}, {"bob@a.example", "work", []string{"home"}, noon.Add(time.Hour), "553 not bob's"}}
		}), []string{
			`sender-refused work Running on "home" with mail from ann@a.example and bob@a.example: "work" relays nothing for these senders: 553 not bob's. It is asked again after 13:00:00 UTC. Allow`,
		}},
		{"the first choice refuses a sender, and the second is down", with(view(up("work"), down("home"), up("spare")), func(v *View) {
			v.Refusals = []Refusal{{"ann@a.example", "work", []string{"home", "spare"}, noon, "553 no"}, {"bob\u202e@a.example", "work", []string{"home"}, noon, "553 not bob's."}}
		}), []string{
			`sender-refused work Running on "spare" with mail from ann@a.example, and mail from bob\u202e@a.example waits until another upstream works: "work" relays nothing for these senders: 553 no. It is`,
		}},
		{"the first choice refuses a sender, and nobody else works", with(view(up("work"), down("home")), func(v *View) {
			v.Refusals = []Refusal{{"ann@a.example", "work", []string{"home"}, noon, "553 no."}}
		}), []string{`sender-refused work Mail from ann@a.example waits until another upstream works: "work" relays nothing for this sender: 553 no. It is`}},
		{"it is due to be asked again", with(view(up("work"), up("home"), up("spare")), func(v *View) {
			v.Refusals = []Refusal{{"ann@a.example", "home", []string{"spare"}, noon, "553 no"}}
		}), []string{`sender-refused home Running on "spare" with mail from ann@a.example: "home" relays nothing for this sender: 553 no. It is asked again with the next message.`}},
		{"held", with(view(up("work")), func(v *View) { v.Queue.Stuck, v.StuckWhy = 1, "no upstream may send for <x@example.net>" }), []string{
			"held  Held until you decide: 1 message. Of the newest: no upstream may send for <x@example.net>. See",
		}},
		{"in doubt, and held", with(view(up("work")), func(v *View) { v.Queue, v.InDoubt = queue.Stats{InDoubt: 3}, "hold" }), []string{
			"in-doubt  queue.in_doubt is hold, so it waits until you decide: `mailroam queue list --state in-doubt` and `mailroam queue show ID` say what is known; `mailroam queue release ID`",
		}},
		{"in doubt, and not waited for", with(view(up("work")), func(v *View) { v.Queue, v.InDoubt = queue.Stats{InDoubt: 3}, "failover" }), []string{
			"in-doubt  the next upstream is asked at once: there is nothing to do, and the recipient may get two copies",
		}},
		{"in doubt", with(view(up("work")), func(v *View) { v.Queue = queue.Stats{InDoubt: 3} }), []string{"in-doubt  It is asked first, so there is nothing to do"}},
		{"a full disk", with(view(up("work")), func(v *View) { v.Disk = "the disk is full" }), []string{`disk  the disk is full`}},
		// An upstream that is for others is no second choice, and their
		// trouble is not everybody's.
		{"each sender its own", with(view(down("work"), up("home"), up("spare")), own), []string{`all-down work No upstream works for mail from @work.example: it waits`}},
		{"each sender its own, second choice", with(view(up("work"), down("home"), up("spare")), own), []string{
			`second-choice home Running on choice 2, "spare", with mail from @home.example and anybody else: "home" is down`,
		}},
		{"one first choice, two second ones", with(view(down("work"), up("home"), up("spare")), func(v *View) {
			v.Chains = []Chain{{[]string{"@a.example"}, []string{"work", "home"}}, {[]string{"@b.example"}, []string{"work", "spare"}}}
		}), []string{`second-choice work Running on choice 2, "home", with mail from @a.example, and on choice 2, "spare", with mail from @b.example: "work"`}},
		{"two chains, one choice", with(view(down("work"), up("home"), up("spare")), func(v *View) {
			v.Chains = []Chain{{[]string{"@a.example"}, []string{"work", "home"}}, {[]string{"anybody else"}, []string{"work", "home", "spare"}}}
		}), []string{`second-choice work Running on choice 2, "home": "work"`}},
		{"it is the network", with(view(down("work"), locked("home")), func(v *View) {
			v.Outlook.State, v.Queue.InDoubt = "portal", 1
		}), []string{`in-doubt `}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var got []string
			for _, c := range conditions(tt.view, time.Minute) {
				got = append(got, fmt.Sprintf("%s %s %s", c.kind, c.upstream, c.text))
			}
			if len(got) != len(tt.want) {
				t.Fatalf("got %q", got)
			}
			for i, want := range tt.want {
				words := strings.SplitN(want, " ", 3)
				if !strings.HasPrefix(got[i], words[0]+" "+words[1]+" ") || !strings.Contains(got[i], words[len(words)-1]) {
					t.Errorf("got %q, want %q", got[i], want)
				}
			}
		})
	}
}

func TestBarred(t *testing.T) {
	if got := Barred(1, 90*time.Minute); !strings.HasPrefix(got, "1 message is refused by every upstream that may send it, for its sender or by policy. It waits for") ||
		!strings.Contains(got, "comes back to its sender after 1h30m online") {
		t.Error(got)
	}
	for want, d := range map[string]time.Duration{"1d": 24 * time.Hour, "2h": 2 * time.Hour, "30m": 30 * time.Minute, "45s": 45 * time.Second, "0s": 0, "10m30s": 630 * time.Second} {
		if got := span(d); got != want {
			t.Errorf("%v is %q", d, got)
		}
	}
}

func TestListing(t *testing.T) {
	for want, words := range map[string][]string{
		"": nil, "a": {"a"}, "a and b": {"a", "b"}, "a, b, c and d": {"a", "b", "c", "d"}, "a, b, c and 2 more": {"a", "b", "c", "d", "e"},
	} {
		if got := listing(words); got != want {
			t.Errorf("%q is %q", words, got)
		}
	}
}

// step is a view and what the ledger makes of it.
type step struct {
	after      time.Duration // since the first one
	view       View
	offline    bool   // the odometer stands still since the step before
	news, tell string // events, "-" before the end of one
}

func kinds(events []Event) string {
	var words []string
	for _, e := range events {
		word := e.Kind + ":" + e.Upstream
		if e.Ended {
			word = "-" + word
		}
		words = append(words, word)
	}
	return strings.Join(words, " ")
}

func TestLedger(t *testing.T) {
	const m = time.Minute
	portal := func(v View) View { v.Outlook.State = "portal"; return v }
	passed := func(v View, first string, at time.Duration) View { // work was good a minute ago
		v.Upstreams = slices.Clone(v.Upstreams)
		v.Upstreams[0].LastGood = noon.Add(-m)
		v.Passed = map[string]time.Time{first: noon.Add(at)}
		return v
	}
	doubt := func(n int) View { v := view(up("work")); v.Queue.InDoubt = n; return v }
	refused := func(n int) View { v := view(up("work")); v.Queue.Barred = n; return v }
	stuck := func(n int) View { v := view(up("work")); v.Queue.Stuck = n; return v }
	paced := view(is("work", health.Limited, "30 of 30", health.None), up("home"))
	quota := is("work", health.Cooling, "452", health.Quota)
	trial := is("work", health.Trial, "535 5.7.8 no", health.Account)
	trial.Preferred = true
	fresh := is("work", "unknown", "", health.None)
	both, second, none := view(up("work"), up("home")), view(down("work"), up("home")), view(down("work"), down("home"))
	sender := with(both, func(v *View) { v.Refusals = []Refusal{{"ann@a.example", "work", []string{"home"}, noon, "553 no"}} })
	for _, tt := range []struct {
		name  string
		steps []step
	}{
		{"a blip is no news", []step{{view: second}, {after: 9 * time.Second, view: second}, {after: 10 * time.Second, view: both}}},
		{"what lasts is", []step{
			{view: second},
			{after: 10 * time.Second, view: second, news: "second-choice:work", tell: "second-choice:work"},
			{after: 12 * time.Second, view: second},
			{after: 5 * m, view: both, news: "-first-choice:work", tell: "-first-choice:work"},
			{after: 6 * m, view: both},
		}},
		{"a limit of a minute sets the pace, one of an hour is news", []step{
			{view: passed(paced, "work", 0)},
			{after: 61 * time.Second, view: passed(paced, "work", 0)},
			{after: 2 * m, view: paced, news: "second-choice:work", tell: "second-choice:work"},
			{after: 50 * m, view: both, news: "-first-choice:work", tell: "-first-choice:work"},
		}},
		{"refused by all, and held", []step{
			{view: refused(2), news: "refused:", tell: "refused:"},
			{after: m, view: portal(refused(2))},
			{after: 2 * m, view: refused(0), news: "-refused:", tell: "-refused:"},
			{after: 3 * m, view: stuck(1), news: "held:", tell: "held:"},
			{after: 4 * m, view: stuck(0), news: "-held:", tell: "-held:"},
		}},
		{"a sender is refused by the first choice, and by all", []step{
			{view: sender},
			{after: 5 * time.Second, view: both}, // the others as well: that is another matter
			{after: m, view: sender},
			{after: 2 * m, view: sender, news: "sender-refused:work", tell: "sender-refused:work"},
			{after: 3 * m, view: portal(both)},
			{after: 4 * m, view: both, news: "-sender-refused:work", tell: "-sender-refused:work"},
		}},
		{"a blip that mail met is", []step{
			{view: passed(second, "work", -2*m)}, // for a reason of its own
			{after: time.Second, view: passed(second, "spare", 0)},
			{after: 2 * time.Second, view: passed(second, "work", 0), news: "second-choice:work", tell: "second-choice:work"},
			{after: 3 * time.Second, view: both, news: "-first-choice:work", tell: "-first-choice:work"},
		}},
		{"it comes and goes: told once in a while, all in the log", []step{
			{view: second},
			{after: m, view: second, news: "second-choice:work", tell: "second-choice:work"},
			{after: 2 * m, view: both, news: "-first-choice:work", tell: "-first-choice:work"},
			{after: 3 * m, view: second},
			{after: 4 * m, view: second, news: "second-choice:work"},
			{after: 5 * m, view: both, news: "-first-choice:work"}, // nobody was told that it began
			{after: 14 * m, view: second},
			{after: 15 * m, view: second, news: "second-choice:work"},
			{after: 16 * m, view: second, tell: "second-choice:work"}, // it waited
			{after: 17 * m, view: both, news: "-first-choice:work", tell: "-first-choice:work"},
		}},
		{"another upstream is another matter", []step{
			{view: view(locked("work"), locked("home")), news: "credentials:work credentials:home", tell: "credentials:work credentials:home"},
			{after: m, view: view(locked("work"), up("home")), news: "-credentials:home", tell: "-credentials:home"},
			// Now the choice is news too.
			{after: 2 * m, view: view(locked("work"), up("home")), news: "second-choice:work", tell: "second-choice:work"},
		}},
		{"nothing works", []step{
			{view: none},
			{after: 9 * m, view: none},
			{after: 10 * m, view: none, news: "all-down:work,home", tell: "all-down:work,home"},
			{after: 11 * m, view: second, news: "-all-down:work,home", tell: "-all-down:work,home"},
			{after: 12 * m, view: second, news: "second-choice:work", tell: "second-choice:work"},
			{after: 13 * m, view: none}, // from bad to worse is not back on the first choice
			{after: 14 * m, view: both, news: "-first-choice:work", tell: "-first-choice:work"},
		}},
		{"who is on trial has not served yet", []step{
			{view: second},
			{after: m, view: second, news: "second-choice:work", tell: "second-choice:work"},
			{after: 2 * m, view: view(trial, up("home")), news: "credentials:work", tell: "credentials:work"},
			{after: 3 * m, view: view(locked("work"), up("home"))}, // it is the wrong password, too
			{after: 4 * m, view: view(trial, up("home"))},
			{after: 5 * m, view: both, news: "-credentials:work -first-choice:work", tell: "-credentials:work -first-choice:work"},
		}},
		{"nor has who is not known in this network", []step{
			{view: second},
			{after: m, view: second, news: "second-choice:work", tell: "second-choice:work"},
			{after: 2 * m, view: view(fresh, up("home"))},
			{after: 3 * m, view: both, news: "-first-choice:work", tell: "-first-choice:work"},
		}},
		{"while all are on trial none works", []step{
			{view: view(locked("work")), news: "credentials:work", tell: "credentials:work"},
			{after: 10 * m, view: view(locked("work")), news: "all-down:work", tell: "all-down:work"},
			{after: 60 * m, view: view(trial)},
			{after: 61 * m, view: view(locked("work"))},
			{after: 62 * m, view: view(up("work")), news: "-all-down:work -credentials:work", tell: "-all-down:work -credentials:work"},
		}},
		{"only time online counts", []step{
			{view: none},
			{after: m, view: portal(none)},
			{after: 60 * m, view: portal(none), offline: true},
			{after: 61 * m, view: none},
			{after: 68 * m, view: none},
			{after: 70 * m, view: none, news: "all-down:work,home", tell: "all-down:work,home"},
		}},
		{"a portal neither begins nor ends anything", []step{
			{view: second},
			{after: m, view: second, news: "second-choice:work", tell: "second-choice:work"},
			{after: 2 * m, view: portal(none)},
			{after: 3 * m, view: portal(both)},
			{after: 4 * m, view: both, news: "-first-choice:work", tell: "-first-choice:work"},
		}},
		{"what does not answer may still have no quota", []step{
			{view: view(quota), news: "quota:work", tell: "quota:work"},
			{after: m, view: view(down("work"))},
			{after: m, view: view(is("work", "offline", "no route leads there", health.None), up("home"))},
			{after: 2 * m, view: view(quota)},
			{after: 3 * m, view: view(up("work")), news: "-quota:work", tell: "-quota:work"},
		}},
		{"an upstream that was removed", []step{
			{view: view(locked("work"), up("home")), news: "credentials:work", tell: "credentials:work"},
			{after: time.Second, view: view(up("home")), news: "-credentials:work", tell: "-credentials:work"},
		}},
		{"in doubt, then more", []step{
			{view: doubt(1), news: "in-doubt:", tell: "in-doubt:"},
			{after: m, view: doubt(2)},
			{after: 2 * m, view: doubt(0), news: "-in-doubt:", tell: "-in-doubt:"},
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			l := newLedger()
			var odometer, last time.Duration
			for i, s := range tt.steps {
				if !s.offline {
					odometer += s.after - last
				}
				last = s.after
				s.view.Now, s.view.Odometer = noon.Add(s.after), odometer
				news, tell := l.observe(s.view, Settings{Every: 15 * m, Down: 10 * m})
				if kinds(news) != s.news || kinds(tell) != s.tell {
					t.Errorf("step %d: news %q, told %q; want %q, %q", i+1, kinds(news), kinds(tell), s.news, s.tell)
				}
				for _, e := range append(news, tell...) {
					if e.Text == "" || strings.Contains(e.Text, "  ") || e.Since.IsZero() || e.Since.After(s.view.Now) {
						t.Errorf("step %d: %+v", i+1, e)
					}
				}
			}
		})
	}
}

// An end says what is so, and does not take another config for a cure.
func TestEnds(t *testing.T) {
	both := view(up("work"), up("home"))
	for _, tt := range []struct {
		key  key
		view View
		want string
	}{
		{key{SecondChoice, "work"}, both, `Back on the first choice: mail goes by "work" again, after 1m0s.`},
		{key{SecondChoice, "home"}, both, `The config has changed: "home" is nobody's first choice any more.`},
		{key{SecondChoice, "gone"}, both, `"gone" is not among the upstreams of the config any more.`},
		{key{AllDown, "work,home"}, both, "Mail leaves again, after 1m0s: an upstream of work, home works."},
		{key{AllDown, "work,home"}, view(down("work"), down("home"), down("third")), "The config has changed: mail has other upstreams now than work, home."},
		{key{Credentials, "work"}, both, `"work" refuses our login no longer, after 1m0s.`},
		{key{Credentials, "gone"}, both, `"gone" is not among the upstreams of the config any more.`},
		{key{Quota, "home"}, both, `"home" takes mail again, after 1m0s.`},
		{key{kind: InDoubt}, both, "No message is in doubt any more, after 1m0s."},
		{key{kind: Disk}, both, "The disk has room again: mail is taken, after 1m0s."},
	} {
		if got := tt.view.over(tt.key, time.Minute); got != tt.want {
			t.Errorf("%v: %s\nwant %s", tt.key, got, tt.want)
		}
	}
}

// Many alerts are not all told, but the ends of those that were are.
func TestTooMany(t *testing.T) {
	var bad, good []health.Status
	for i := range 30 {
		name := fmt.Sprintf("u%02d", i)
		bad, good = append(bad, locked(name)), append(good, up(name))
	}
	at := func(after time.Duration, list []health.Status) View {
		v := view(list...)
		v.Now = noon.Add(after)
		return v
	}
	l, s := newLedger(), Settings{Every: time.Minute, Down: time.Hour}
	news, tell := l.observe(at(0, bad), s)
	if len(news) != 30 || len(tell) != most+1 || tell[most].Kind != TooMany {
		t.Fatalf("%d are news, told %s", len(news), kinds(tell))
	}
	if _, tell = l.observe(at(time.Minute, bad), s); len(tell) != 0 {
		t.Errorf("a minute later told %s", kinds(tell))
	}
	if news, tell = l.observe(at(2*time.Minute, good), s); len(news) != 30 || len(tell) != most {
		t.Errorf("of the ends %d are news, %d are told", len(news), len(tell))
	}
	for range 5 {
		if _, tell = l.observe(at(10*time.Minute, bad), s); len(tell) != 0 {
			t.Errorf("within the hour told %s", kinds(tell))
		}
	}
	_, tell = l.observe(at(time.Hour, bad), s)
	if len(tell) != most+1 || slices.ContainsFunc(tell, func(e Event) bool { return e.Ended }) {
		t.Errorf("after the hour told %s", kinds(tell))
	}
}

// A clock that is set back must not make alerts wait for the old time.
func TestClockSetBack(t *testing.T) {
	l, s := newLedger(), Settings{Every: 15 * time.Minute, Down: time.Hour}
	v := view(locked("work"))
	l.observe(v, s)
	v = view(up("work"))
	l.observe(v, s)
	v = view(locked("work"))
	v.Now = noon.AddDate(0, 0, -7)
	if _, tell := l.observe(v, s); kinds(tell) != "credentials:work" {
		t.Errorf("told %q", kinds(tell))
	}
}

// After the clock was set back it is told again that there are too many alerts,
// not only when the clock gets where it was.
func TestTooManyAfterTheClockWasSetBack(t *testing.T) {
	l, now := newLedger(), time.Date(2027, 1, 2, 3, 4, 5, 0, time.UTC)
	flood := func(now time.Time) (tell []Event) {
		l.forget(now, time.Hour)
		for range most + 1 {
			tell = l.begin(&entry{}, Event{}, now, tell)
		}
		return tell
	}
	for _, at := range []time.Time{now, now.AddDate(-1, 0, 0)} {
		if tell := flood(at); len(tell) != most+1 || tell[most].Kind != TooMany {
			t.Errorf("at %v %d are told", at, len(tell))
		}
	}
}
