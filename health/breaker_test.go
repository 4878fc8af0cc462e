package health

import (
	"encoding/json"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

func TestCoolDownGrows(t *testing.T) {
	s, m, h := time.Second, time.Minute, time.Hour
	for kind, want := range map[Kind][]time.Duration{
		Session: {5 * s, 10 * s, 20 * s, 40 * s, 80 * s, 160 * s, 5 * m, 5 * m},
		Quota:   {15 * m, 30 * m, h, 2 * h, 4 * h, 4 * h},
		Policy:  {15 * m, 30 * m, h, 2 * h, 4 * h, 4 * h},
		Account: {m, h, 2 * h, 4 * h, 8 * h, 16 * h, 24 * h, 24 * h},
	} {
		now := time.Unix(1e9, 0)
		b := breaker{}.fail(Fault{Kind: kind}, false, now)
		var got []time.Duration
		for range want {
			got = append(got, b.Until.Sub(now))
			now = b.Until
			if b.open(now) || b.closed() {
				t.Fatalf("%s: no trial when the wait is over", kind)
			}
			if kind == Account {
				b = b.charge(now)
			}
			b = b.fail(Fault{Kind: kind}, true, now)
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s waits %v, want %v", kind, got, want)
		}
	}
	if coolDown(Session, 0, 1<<30) != 5*m {
		t.Error("the wait of a long run is not bounded")
	}
}

// Providers lock accounts: two logins in the first hour, six in a day.
func TestFewLogins(t *testing.T) {
	begin := time.Unix(1e9, 0)
	b, now := breaker{}.fail(Fault{Kind: Account}, false, begin), begin
	logins := []time.Duration{0}
	for len(logins) < 12 {
		now = b.Until
		logins = append(logins, now.Sub(begin))
		b = b.charge(now).fail(Fault{Kind: Account}, true, now)
	}
	for window, most := range map[time.Duration]int{time.Hour: 2, 24 * time.Hour: 6} {
		n := 0
		for _, at := range logins {
			if at < window {
				n++
			}
		}
		if n > most {
			t.Errorf("%d logins within %v: %v", n, window, logins)
		}
	}
}

func TestBreaker(t *testing.T) {
	now := time.Unix(1e9, 0)
	in := func(d time.Duration) time.Time { return now.Add(d) }
	session := breaker{Kind: Session, Since: in(-time.Hour), Until: in(3 * time.Second), Failures: 4, Reason: "old"}
	account := breaker{Kind: Account, Since: in(-time.Hour), Until: in(-time.Second), Failures: 3, Reason: "old"}
	for _, c := range []struct {
		name  string
		b     breaker
		fault Fault
		trial bool
		want  breaker
	}{
		{
			"told until",
			breaker{},
			Fault{Kind: Quota, Until: in(time.Hour)},
			false,
			breaker{Kind: Quota, Since: now, Until: in(time.Hour), Failures: 1},
		},
		{
			"told too late to matter",
			breaker{},
			Fault{Kind: Quota, Until: in(-time.Hour)},
			false,
			breaker{Kind: Quota, Since: now, Until: in(15 * time.Minute), Failures: 1},
		},
		{
			"told an age",
			breaker{},
			Fault{Kind: Quota, Until: in(1e6 * time.Hour)},
			false,
			breaker{Kind: Quota, Since: now, Until: in(24 * time.Hour), Failures: 1},
		},
		{"many at once count as one", session, Fault{Kind: Session, Reason: "new"}, false, session},
		{
			"the gravest is kept", session,
			Fault{Kind: Account, Reason: "535"},
			false,
			breaker{Kind: Account, Since: now, Until: in(time.Minute), Failures: 1, Reason: "535"},
		},
		{"the lighter is not", account, Fault{Kind: Session, Reason: "421"}, false, account},
		{
			"a trial fails otherwise", session,
			Fault{Kind: Quota, Reason: "452"},
			true,
			breaker{Kind: Quota, Since: now, Until: in(15 * time.Minute), Failures: 1, Reason: "452"},
		},
		{
			"a charged login fails", account.charge(now),
			Fault{Kind: Account, Reason: "535"},
			true,
			breaker{Kind: Account, Since: account.Since, Until: in(4 * time.Hour), Failures: 4, Reason: "535"},
		},
		{
			"a login is cut off", account.charge(now),
			Fault{Kind: Session, Reason: "421"},
			true,
			breaker{Kind: Account, Since: account.Since, Until: in(4 * time.Hour), Failures: 4, Reason: "421"},
		},
		{
			"a login went well, the quota is used up", account.charge(now),
			Fault{Kind: Quota, Reason: "452"},
			true,
			breaker{Kind: Quota, Since: now, Until: in(15 * time.Minute), Failures: 1, Reason: "452"},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := c.b.fail(c.fault, c.trial, now)
			got.At, got.Logins = time.Time{}, logins{} // of which below
			if got != c.want {
				t.Errorf("got  %+v\nwant %+v", got, c.want)
			}
		})
	}
	if got := account.charge(now).refund(now); got.Failures != account.Failures || got.open(now) {
		t.Errorf("a login that was not made is counted: %+v", got)
	}
}

// A provider's rule can ask for a wait of its own, and a reply for a date.
func TestToldWaits(t *testing.T) {
	const s, m, h = time.Second, time.Minute, time.Hour
	for _, c := range []struct {
		fault Fault
		want  []time.Duration // one after the other, all refused
	}{
		{Fault{Kind: Quota, Wait: h}, []time.Duration{h, 2 * h, 4 * h, 8 * h, 16 * h, 24 * h, 24 * h}}, // Gmail's daily limit
		{Fault{Kind: Quota, Wait: 5 * m}, []time.Duration{5 * m, 10 * m, 20 * m, 40 * m, h, h}},        // a login that is put off
		{Fault{Kind: Quota, Wait: 5 * s}, []time.Duration{5 * s, 10 * s, 20 * s}},
		{Fault{Kind: Place, Wait: 4 * h}, []time.Duration{4 * h, 8 * h, 16 * h, 24 * h}},
		{Fault{Kind: Session, Wait: m}, []time.Duration{m, 2 * m, 4 * m, 5 * m, 5 * m}},
		{Fault{Kind: Session, Wait: 30 * s, Again: 5 * m}, []time.Duration{30 * s, 5 * m, 5 * m}}, // a body that stalls
		{Fault{Kind: Session, Wait: 30 * m}, []time.Duration{30 * m, 30 * m}},                     // an operator's
		{Fault{Kind: Connections, Wait: 30 * s}, []time.Duration{30 * s, m, 2 * m, 4 * m, 5 * m}},
		{Fault{Kind: Account, Wait: time.Second}, []time.Duration{time.Minute, h, 2 * h}},
		{Fault{Kind: Account, Wait: 3 * h}, []time.Duration{3 * h, 6 * h}},
		{Fault{Kind: Connections}, []time.Duration{30 * time.Second, time.Minute}},
	} {
		now := time.Unix(1e9, 0)
		b := breaker{}
		for i, want := range c.want {
			trial := i > 0
			if trial && b.suspectsLogin() {
				b = b.charge(now)
			}
			b = b.fail(c.fault, trial, now)
			if got := b.Until.Sub(now); got != want {
				t.Errorf("%+v: wait %d is %v, want %v", c.fault, i, got, want)
			}
			now = b.Until
		}
	}
	now := time.Unix(1e9, 0)
	b := breaker{}.fail(Fault{Kind: Account, Until: now.Add(5 * h)}, false, now)
	if b.Until != now.Add(5*h) {
		t.Errorf("blocked for five hours, and tried in %v", b.Until.Sub(now))
	}
}

// Whatever happens to the upstream between its logins, and however often a person
// asks: a secret that was refused is tried twice in any hour and six times in any
// day, also when the gateway starts anew between any two of them.
func TestFewLoginsWhateverComes(t *testing.T) {
	for seed := range uint64(50) {
		random := rand.New(rand.NewPCG(seed, 0))
		now := time.Unix(1e9, 0)
		tr := tracker{Reach: up}
		var at []time.Time
		for range 3000 {
			now = now.Add(time.Duration(random.IntN(600)) * time.Second)
			if random.IntN(3) == 0 {
				tr.Breaker = tr.Breaker.pardon(now)
			}
			if random.IntN(20) == 0 {
				tr = tr.roam(now)
			}
			if random.IntN(10) == 0 {
				text, err := json.Marshal(tr)
				if err != nil {
					t.Fatal(err)
				}
				tr = tracker{}
				if err := json.Unmarshal(text, &tr); err != nil {
					t.Fatal(err)
				}
			}
			if tr.Breaker.open(now) {
				continue
			}
			trial := !tr.Breaker.closed()
			if tr.Breaker.suspectsLogin() {
				tr.Breaker = tr.Breaker.charge(now)
			}
			kind := Account
			switch random.IntN(6) {
			case 0: // it never came to the login
				tr.Breaker = tr.Breaker.refund(now)
				continue
			case 1: // too many logins
				kind = Quota
			case 2: // cut in the login
				kind = Session
			}
			if at = append(at, now); len(at) == 1 {
				kind = Account // from here on the secret is known to be bad
			}
			tr = tr.observe(observation{trial: trial, generation: tr.generation, fault: Fault{Kind: kind}}, now, 2)
		}
		if len(at) < 6 {
			t.Fatalf("%d logins in all: this shows nothing", len(at))
		}
		for i := range at {
			if i >= 2 && at[i].Sub(at[i-2]) < time.Hour || i >= 6 && at[i].Sub(at[i-6]) < 24*time.Hour {
				t.Fatalf("seed %d: too many logins by %v", seed, at[:i+1])
			}
		}
	}
}

func TestPardon(t *testing.T) {
	begin := time.Unix(1e9, 0)
	in := func(d time.Duration) time.Time { return begin.Add(d) }
	b := breaker{}.fail(Fault{Kind: Quota}, false, begin)
	if got := b.pardon(in(10 * time.Second)).Until; got != in(time.Minute) {
		t.Errorf("asked again at %v", got)
	}
	again := b.pardon(in(5*time.Minute)).fail(Fault{Kind: Quota}, true, in(5*time.Minute))
	if got := again.Until; got != in(20*time.Minute) {
		t.Errorf("a person's try makes the wait longer: until %v", got)
	}
	b = breaker{}.fail(Fault{Kind: Account}, false, begin)
	b = b.charge(in(time.Minute)).fail(Fault{Kind: Account}, true, in(time.Minute))
	if got := b.pardon(in(2 * time.Minute)); got != b && got.Until != in(time.Hour) {
		t.Errorf("a third login within the hour, at %v", got.Until)
	}
	if got := (breaker{}).pardon(begin); got != (breaker{}) {
		t.Errorf("%+v", got)
	}
}
