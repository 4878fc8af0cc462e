package dispatch

import (
	"context"
	"fmt"
	"net"
	"sync"
	"testing"
	"time"

	"mailroam/gateway/relay"
	"mailroam/gateway/sink"
	"mailroam/queue"
)

// TestHedgeOverTheWire: with relay as it is and upstreams that speak SMTP, over
// a network that drops packets on the way to the first. Whatever it is that
// falls silent, the mail is at the second after the hedge, all of it once, and
// what comes next need not find out again, even where a probe sees nothing of
// the trouble.
func TestHedgeOverTheWire(t *testing.T) {
	for name, tt := range map[string]struct {
		faults string // of the first upstream
		silent bool   // it takes no new connection
		before int    // messages before the silence, which leave sessions to use again
		probes bool   // a probe sees nothing of it
		within time.Duration
	}{
		"connect":               {silent: true, within: 2100 * time.Millisecond},
		"greeting":              {faults: "greeting=hang", within: 2100 * time.Millisecond},
		"mail":                  {faults: "mail=hang", probes: true, within: 2100 * time.Millisecond},
		"mail on kept sessions": {faults: "mail#6-99=hang", before: 5, probes: true, within: 2100 * time.Millisecond},
		"control":               {probes: true, within: 50 * time.Millisecond},
	} {
		t.Run(name, func(t *testing.T) {
			overTheWire(t, tt.faults, func(w *world, wire *sink.Network, sinks map[string]*sink.Server) {
				var ids []queue.ID
				send := func(n int) {
					for range n {
						ids = append(ids, w.submit("ann@example.com", fmt.Sprintf("r%d@example.net", len(ids))))
					}
				}
				send(tt.before)
				w.pass(time.Second)
				if n := len(sinks["a"].Messages()); n != tt.before {
					t.Fatalf("%d of %d went before", n, tt.before)
				}
				wire.Silence("a.example:25", tt.silent)
				w.peers["a"].goesDark(!tt.probes)
				send(26)
				w.pass(tt.within)
				send(100)
				w.pass(200 * time.Millisecond)
				for _, id := range ids {
					w.wantState(id, queue.Done)
				}
				copies := map[string]int{}
				for _, s := range sinks {
					for _, m := range s.Messages() {
						copies[m.To[0]]++
					}
				}
				for r, n := range copies {
					if n != 1 {
						t.Errorf("%d copies for %s", n, r)
					}
				}
				if len(copies) != len(ids) {
					t.Errorf("%d of %d messages arrived", len(copies), len(ids))
				}
			})
		})
	}
}

// TestSlowMailIsLearnt: an upstream that needs longer for MAIL than a hedge
// waits loses one message to the other, and is used again from then on.
func TestSlowMailIsLearnt(t *testing.T) {
	overTheWire(t, "mail=delay 3s", func(w *world, _ *sink.Network, sinks map[string]*sink.Server) {
		for n, want := range []string{"b", "a", "a"} {
			before := len(sinks[want].Messages())
			id := w.submit("ann@example.com", fmt.Sprintf("r%d@example.net", n))
			w.pass(20 * time.Second)
			w.wantState(id, queue.Done)
			if len(sinks[want].Messages()) != before+1 {
				t.Errorf("message %d did not go to %s", n+1, want)
			}
		}
	})
}

// overTheWire runs test in a world whose upstreams are relay's clients of two
// sinks, of which the first misbehaves.
func overTheWire(t *testing.T, faults string, test func(*world, *sink.Network, map[string]*sink.Server)) {
	live(t, both, func(w *world) {
		wire := sink.NewNetwork()
		sinks := map[string]*sink.Server{}
		ctx, cancel := context.WithCancel(context.Background())
		var serving sync.WaitGroup
		w.edit = func(c *Config) {
			c.Hedge = hedgeAfter
			for _, n := range both {
				so := sink.Options{Keep: true, Listen: wire.Listen}
				if n == "a" && faults != "" {
					f, err := sink.ParseFault(faults)
					if err != nil {
						t.Fatal(err)
					}
					so.Faults = []sink.Fault{f}
				}
				l, err := wire.Listen("tcp", net.JoinHostPort(n+".example", "25"))
				if err != nil {
					t.Fatal(err)
				}
				s := sink.New(so)
				sinks[n] = s
				serving.Go(func() { _ = s.Serve(ctx, l) })
				c.Upstreams[n] = Upstream{Slots: 16, Relay: relay.New(relay.Options{
					Name: n, Hello: "client.example", Dial: wire.Dial,
					Endpoints: []relay.Endpoint{{Mode: relay.Insecure, Host: n + ".example", Port: "25"}},
				})}
			}
		}
		w.restart(both)
		w.pass(time.Second)
		test(w, wire, sinks)
		wire.Silence("a.example:25", false)
		w.end()
		for _, u := range w.d.config.Upstreams {
			u.Relay.(*relay.Upstream).CloseIdle()
		}
		for _, s := range sinks {
			s.Cut()
		}
		cancel()
		serving.Wait()
	})
}
