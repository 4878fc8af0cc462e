package health

import (
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
	if coolDown(Session, 1<<30) != 5*m {
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
			if got := c.b.fail(c.fault, c.trial, now); got != c.want {
				t.Errorf("got  %+v\nwant %+v", got, c.want)
			}
		})
	}
	if got := account.charge(now).refund(now); got.Failures != account.Failures || got.open(now) {
		t.Errorf("a login that was not made is counted: %+v", got)
	}
}
