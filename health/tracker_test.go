package health

import (
	"testing"
	"time"
)

// what a row of the table does to an upstream.
var (
	pass       = observation{probe: true}
	fails      = observation{probe: true, fault: Fault{Kind: Network, Reason: "refused"}}
	greeted421 = observation{probe: true, fault: Fault{Kind: Session, Reason: "421"}}
	served     = observation{}
	cut        = observation{fault: Fault{Kind: Network, Reason: "cut"}}
	unproven   = observation{fault: Fault{Kind: Identity, Reason: "wrong name"}}
	portal     = observation{fault: Fault{Kind: Session, Reason: "a foreign greeting", Sign: Imposture}}
	busy       = observation{fault: Fault{Kind: Session, Reason: "421 busy"}}
	full       = observation{fault: Fault{Kind: Quota, Reason: "452 quota"}}
)

func old(o observation) observation { o.generation = -1; return o }

func TestReach(t *testing.T) {
	const rise = 3
	for _, c := range []struct {
		name string
		from reach
		owed int
		see  []observation
		want reach
		rank Rank
	}{
		{"first pass", unknown, 0, []observation{pass}, up, Ready},
		{"first failure", unknown, 0, []observation{fails}, suspect, LastResort},
		{"second failure", unknown, 0, []observation{fails, fails}, down, Unusable},
		{"up fails once", up, 0, []observation{fails}, suspect, LastResort},
		{"suspect passes", up, 0, []observation{fails, pass}, up, Ready},
		{"opposite results reset the streak", up, 0, []observation{fails, pass, fails}, suspect, LastResort},
		{"suspect serves", suspect, 0, []observation{served}, up, Ready},
		{"unknown serves", unknown, 0, []observation{served}, up, Ready},
		{"any failing probe counts", up, 0, []observation{greeted421, greeted421}, down, Unusable},
		{"one pass from down", down, rise, []observation{pass}, up, Returning},
		{"rise passes from down", down, rise, []observation{pass, pass, pass}, up, Ready},
		{"deliveries count as passes", down, rise, []observation{pass, {generation: 1}, {generation: 1}}, up, Ready},
		{"a failure resets the passes", up, 1, []observation{fails, pass}, up, Returning},
		{"and all are owed again", up, 1, []observation{fails, pass, pass}, up, Returning},
		{"and paid", up, 1, []observation{fails, pass, pass, pass}, up, Ready},
		{"a delivery's network fault", up, 0, []observation{cut}, down, Unusable},
		{"a delivery's identity fault", unknown, 0, []observation{unproven}, down, Unusable},
		{"a delivery that met somebody else", up, 0, []observation{portal}, down, Unusable},
		{"a probe clears it", up, 0, []observation{cut, pass}, up, Returning},
		{"a delivery that goes on does not", up, 0, []observation{cut, served}, down, Unusable},
		{"refused mail is no matter of reach", up, 0, []observation{busy}, up, Unusable},
		{"late news of the old trouble", up, 0, []observation{cut, pass, cut}, up, Returning},
		{"late news of an old probe", up, 0, []observation{old(fails)}, up, Ready},
		{"late good news", unknown, 0, []observation{old(served)}, unknown, Ready},
		{"a connection broken in the old trouble", up, 0, []observation{old(busy)}, up, Ready},
		{"but an old quota counts", up, 0, []observation{old(full)}, up, Unusable},
	} {
		t.Run(c.name, func(t *testing.T) {
			now := time.Unix(1e9, 0)
			tr := tracker{Reach: c.from, Owed: c.owed, Since: now}
			for _, o := range c.see {
				now = now.Add(time.Second)
				if o.probe && o.generation == 0 {
					o.generation = tr.generation // a new probe
				}
				tr = tr.observe(o, now, rise)
			}
			if tr.Reach != c.want || tr.rank(now) != c.rank {
				t.Errorf("%s of rank %d, want %s of %d: %+v", tr.Reach, tr.rank(now), c.want, c.rank, tr)
			}
		})
	}
}

func TestReachTellsWhySince(t *testing.T) {
	at := func(s int64) time.Time { return time.Unix(1e9+s, 0) }
	tr := tracker{Reach: up, Since: at(0)}
	tr = tr.observe(fails, at(1), 2)
	tr = tr.observe(fails, at(2), 2)
	tr = tr.observe(observation{probe: true, fault: Fault{Kind: Network, Reason: "no route"}}, at(3), 2)
	if tr.Since != at(2) || tr.Why != "no route" {
		t.Errorf("down since %v for %q: want when it went down, and the latest reason", tr.Since, tr.Why)
	}
	tr = tr.observe(pass, at(4), 2)
	if tr.Since != at(4) || tr.Why != "" || tr.LastGood != at(4) {
		t.Errorf("up since %v for %q, good at %v", tr.Since, tr.Why, tr.LastGood)
	}
}

func TestForgive(t *testing.T) {
	now := time.Unix(1e9, 0)
	tr := tracker{Reach: up}
	for range 3 {
		tr = tr.observe(observation{trial: !tr.Breaker.closed(), fault: Fault{Kind: Account}}, now, 2)
	}
	tr = tr.forgive(now)
	if tr.Breaker.closed() || tr.Breaker.open(now) {
		t.Errorf("after a new password one delivery may try: %+v", tr.Breaker)
	}
	if b := tr.Breaker.charge(now); b.Until != now.Add(time.Minute) {
		t.Errorf("the waits begin anew, not %v", b.Until.Sub(now))
	}
	tr = tracker{Reach: up}.observe(full, now, 2).forgive(now)
	if !tr.Breaker.open(now) {
		t.Error("a quota is not about the password")
	}
}

func TestShift(t *testing.T) {
	now := time.Unix(1e9, 0)
	tr := tracker{Reach: up, Since: now, LastGood: now}.observe(full, now, 2).shift(-time.Hour)
	if tr.Breaker.Until != now.Add(15*time.Minute-time.Hour) || tr.Since != now.Add(-time.Hour) {
		t.Errorf("%+v", tr)
	}
	if tr := (tracker{}).shift(time.Hour); !tr.LastGood.IsZero() {
		t.Error("never became some time")
	}
}
