package dispatch

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"mailroam/gateway/relay"
	"mailroam/health"
	"mailroam/health/netmon"
	"mailroam/queue"
)

// goes takes the machine to another network; the zero Snapshot is none.
func (w *world) goes(to netmon.Snapshot) {
	for _, p := range w.peers {
		p.set(!to.Leads())
	}
	w.health.Network(netmon.Delta{Major: true, Offline: !to.Leads(), New: to, Why: []string{"the test moved"}})
	w.d.Roamed()
}

var home = netmon.Snapshot{
	Interfaces: []netmon.Interface{{Name: "wlan0", Addrs: []netip.Prefix{netip.MustParsePrefix("192.0.2.10/24")}}},
	Routes:     []netmon.Route{{To: netip.MustParsePrefix("0.0.0.0/0"), Via: netip.MustParseAddr("192.0.2.1"), Dev: "wlan0"}},
}

// TestOfflineCostsNothing: three days without a network expire nothing, count
// nothing and leave no penalty, though mail expires after one day online. All
// of it leaves within a second of the network's return.
func TestOfflineCostsNothing(t *testing.T) {
	live(t, both, func(w *world) {
		w.edit = func(c *Config) { c.Expire, c.Hedge = 24*time.Hour, hedgeAfter }
		w.restart(both)
		w.goes(home)
		w.pass(10 * time.Second)

		w.peers["a"].plays(func(n int, d relay.Delivery) *relay.Result {
			if n == 1 {
				return lost(d)
			}
			return says(relay.Mail, 451, "4.7.1", "greylisted")(n, d)
		})
		w.peers["b"].plays(says(relay.Mail, 451, "4.7.1", "greylisted"))
		doubt := w.submit("ann@example.com", "bob@example.net")
		w.pass(31 * time.Second) // the lost session cools down
		ids := []queue.ID{w.submit("ann@example.com", "bob@example.net"), doubt}
		w.pass(time.Second)
		before := map[queue.ID]*queue.Message{}
		for _, id := range ids {
			before[id] = ptr(w.wantState(id, queue.Queued))
		}
		if len(before[ids[0]].Attempts) != 2 || before[doubt].InDoubt() != "a" {
			t.Fatalf("%+v", before)
		}
		asked := func() (n int) {
			for _, p := range w.peers {
				a, _ := p.count()
				n += a + p.warmedUp()
			}
			return n
		}
		had, odometer := asked(), w.health.Odometer()

		w.goes(netmon.Snapshot{})
		for range 12 {
			id := w.submit("ann@example.com", "bob@example.net")
			ids, before[id] = append(ids, id), ptr(w.get(id))
			w.pass(6 * time.Hour)
		}
		if o := w.health.Outlook(); o.State != health.Offline {
			t.Errorf("the outlook is %+v", o)
		}
		for _, id := range ids {
			m, was := w.wantState(id, queue.Queued), before[id]
			if m.Tries != was.Tries || len(m.Attempts) != len(was.Attempts) || m.InDoubt() != was.InDoubt() {
				t.Errorf("%d tries became %d, in doubt at %q; timeline %+v", was.Tries, m.Tries, m.InDoubt(), m.Attempts)
			}
		}
		if n, on := asked()-had, w.health.Odometer()-odometer; n != 0 || on > 10*time.Second {
			t.Errorf("offline, %d deliveries were tried and %v were counted as online", n, on)
		}

		w.peers["a"].plays(nil)
		w.goes(home)
		w.pass(time.Second)
		for _, id := range ids {
			w.wantState(id, queue.Done)
		}
		w.wantTook(map[string]int{"a": len(ids)})
		if s := w.health.Standing("a"); s.Rank != health.Ready || s.Trial {
			t.Errorf("a penalty is left: %+v", s)
		}
	})
}

// TestOfflineForAMonth: the clock alone ends what nobody can want any more, by
// asking a person.
func TestOfflineForAMonth(t *testing.T) {
	live(t, both, func(w *world) {
		w.goes(netmon.Snapshot{})
		id := w.submitAt(time.Now().Add(time.Hour-30*24*time.Hour), "ann@example.com", "bob@example.net")
		w.pass(time.Hour - time.Minute)
		w.wantState(id, queue.Queued)
		w.pass(2 * time.Minute)
		if m := w.wantState(id, queue.Held); !strings.Contains(m.Held.Reason, "30 days") || len(m.Attempts) != 0 {
			t.Errorf("%+v", m.Held)
		}
	})
}

// TestSignsOfDeliveries: what a delivery finds in an upstream's place
// tells of the network as a probe's finding does.
func TestSignsOfDeliveries(t *testing.T) {
	m := message()
	j := testPolicy().Judge(Try{Message: &m, Upstream: "a", Rcpts: []int{0}, At: t0, Result: relay.Result{Rcpts: []relay.RcptResult{
		{Stage: relay.StartTLS, Reply: relay.Reply{Code: 502, Text: "not here"}},
	}}}, Now{Time: t0})
	if j.Fault.Kind != health.Identity || j.Fault.Sign != health.Imposture {
		t.Errorf("%+v", j.Fault)
	}
	j = testPolicy().Judge(Try{Message: &m, Upstream: "a", Rcpts: []int{0}, At: t0, Result: relay.Result{Rcpts: []relay.RcptResult{
		fault(relay.Connect, "connection refused"),
	}}}, Now{Time: t0})
	if j.Fault.Sign != health.NoSign {
		t.Errorf("%+v", j.Fault)
	}
}
