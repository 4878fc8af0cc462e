package health

import (
	"testing"
	"time"

	"mailroam/health/netmon"
)

// back is an upstream that was down for a while and has paid its passes.
func back(t *testing.T, f Failback, test func(b *bubble)) {
	inBubble(t, Options{Targets: two, Network: home, Settings: Settings{Failback: f}}, func(b *bubble) {
		b.a.cut()
		b.deliver("a", *refused)
		b.wait(10 * time.Second)
		b.a.mend()
		b.until("a", Returning, 2*time.Second)
		b.want("a", "up", Returning) // the passes are owed in any case
		b.want("b", "up", Ready)
		b.wait(2 * time.Second)
		test(b)
	})
}

func TestFailbackWhenUp(t *testing.T) {
	back(t, Failback{}, func(b *bubble) { b.want("a", "up", Ready) })
}

func TestFailbackAfter(t *testing.T) {
	back(t, Failback{After: 10 * time.Minute}, func(b *bubble) {
		b.want("a", "up", Returning)
		if s := b.Status()[0]; s.Preferred {
			t.Errorf("shown as %+v", s)
		}
		b.a.forget()
		b.wait(5 * time.Minute)
		if n := b.a.count(); n > 5 {
			t.Errorf("%d probes in 5 min of one that owes none", n)
		}
		b.want("a", "up", Returning)
		p, _ := b.Start("a", 1)
		p.Quiet("silent") // an interruption
		b.wait(0)
		b.wait(9*time.Minute + 59*time.Second)
		b.want("a", "up", Returning)
		drained(b.Changed())
		b.wait(lookAgain + time.Second)
		b.want("a", "up", Ready)
		select {
		case <-b.Changed():
		default:
			t.Error("nobody is told")
		}
		p.Quiet("silent") // it has not been down since
		b.wait(0)
		b.want("a", "up", Ready)
	})
	back(t, Failback{After: 10 * time.Minute}, func(b *bubble) {
		b.Network(another)
		b.wait(0)
		b.want("a", "up", Ready)
	})
}

func TestFailbackOnNetworkChange(t *testing.T) {
	back(t, Failback{NetworkChange: true}, func(b *bubble) {
		b.want("a", "up", Returning)
		b.wait(5 * time.Hour)
		b.want("a", "up", Returning)
		b.Network(bridge)
		b.wait(time.Minute)
		b.want("a", "up", Returning) // no other network
		b.Network(another)
		b.wait(0)
		b.want("a", "up", Ready)
	})
	back(t, Failback{NetworkChange: true}, func(b *bubble) {
		b.Set([]Target{two[0].named("a", b.a.probe), two[1].named("b", b.b.probe)}, Settings{})
		b.want("a", "up", Ready)
	})
}

// What was down at the end was down, but in another network that was its
// affair.
func TestFailbackAfterARestart(t *testing.T) {
	elsewhere := home
	elsewhere.Resolver = "nameserver 10.0.0.53"
	for _, c := range []struct {
		in   netmon.Snapshot
		want Rank
	}{
		{home, Returning},
		{netmon.Snapshot{}, Returning}, // nobody knows
		{elsewhere, Ready},
	} {
		opts := Options{Targets: two, Network: home, File: t.TempDir() + "/health.json"}
		inBubble(t, opts, func(b *bubble) {
			b.a.cut()
			b.deliver("a", *refused)
			b.deliver("b", Fault{Kind: Quota, Reason: "452"})
		})
		opts.Network, opts.Failback.NetworkChange = c.in, true
		inBubble(t, opts, func(b *bubble) {
			b.wait(time.Minute)
			b.want("a", "up", c.want)
			b.want("b", "cooling", Unusable)
		})
	}
}

func (t Target) named(name string, p Prober) Target {
	t.Name, t.Probe = name, p
	return t
}

// What was only doubted has not fallen.
func TestFailbackOfSuspect(t *testing.T) {
	inBubble(t, Options{Targets: two, Network: home, Settings: Settings{Failback: Failback{NetworkChange: true}}}, func(b *bubble) {
		b.a.set(func() { b.a.takes = time.Second })
		p, _ := b.Start("a", 1)
		p.Quiet("silent")
		b.want("a", "suspect", LastResort)
		b.wait(time.Second)
		b.want("a", "up", Ready)
	})
}

// An outage that was the network's is not the upstream's.
func TestFailbackAfterAnInference(t *testing.T) {
	inBubble(t, Options{Targets: two, Network: home, Settings: Settings{Failback: Failback{NetworkChange: true}}}, func(b *bubble) {
		b.fails(refused)
		b.deliver("a", *refused)
		b.deliver("b", *refused)
		b.wait(time.Hour)
		b.outlook(Unreachable)
		b.fails(passes)
		b.until("a", Ready, 16*time.Second)
		b.until("b", Ready, time.Second)
	})
}
