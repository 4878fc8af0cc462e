package gateway

import (
	"context"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"mailroam/health/netmon"
)

// NetworkManager is asked at most every few seconds, and not waited for.
func TestManagerIsAskedSparingly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		asked := 0
		m := &manager{ask: func(ctx context.Context) netmon.Connectivity {
			if asked++; asked == 2 {
				<-ctx.Done()
				return netmon.ConnUnknown
			}
			return netmon.ConnPortal
		}}
		for i, want := range []struct {
			said  netmon.Connectivity
			asked int
		}{{netmon.ConnPortal, 1}, {netmon.ConnPortal, 1}, {netmon.ConnUnknown, 2}, {netmon.ConnUnknown, 2}, {netmon.ConnPortal, 3}} {
			began := time.Now()
			if said := m.connectivity(began); said != want.said || asked != want.asked {
				t.Errorf("%d: it says %q and was asked %d times, want %+v", i, said, asked, want)
			}
			if took := time.Since(began); took > managerLimit {
				t.Errorf("%d: it took %v", i, took)
			}
			time.Sleep(3 * time.Second)
		}
	})
}

// A delivery that goes on through an upstream which the config has no more hears
// of the network as the others do.
func TestDroppedUpstreamsRoam(t *testing.T) {
	took := make(chan string, 10)
	dir, a := t.TempDir(), practice(t, took, "a")
	g, _ := running(t, parsed(t, dir, "a", a, "b", a))
	old := g.upstreams
	g.Reload(parsed(t, dir, "b", a))
	heard := g.connected()
	if len(heard) != 2 || !slices.Contains(heard, old["a"].relay) || !slices.Contains(heard, old["b"].relay) {
		t.Errorf("%d hear of the network", len(heard))
	}
}
