package gateway

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"mailroam/health/netmon"
)

// TestWatch: each change is told at once, and a probe only if no newer network
// has overtaken it.
func TestWatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		var mu sync.Mutex
		var got []string
		say := func(format string, args ...any) {
			mu.Lock()
			defer mu.Unlock()
			got = append(got, fmt.Sprintf("%s ", time.Since(start))+fmt.Sprintf(format, args...))
		}
		var n atomic.Int64
		w := watching{
			ask: func(ctx context.Context) (ProbeReport, error) {
				r := ProbeReport{Verdict: []string{fmt.Sprint("probe ", n.Add(1))}}
				select {
				case <-time.After(5 * time.Second):
					return r, nil
				case <-ctx.Done():
					say("%s is stopped", r.Verdict[0])
					return r, nil // as if it had been done at that moment
				}
			},
			changed: func(c NetworkChange) { say("%d major=%v %v slept %vs", c.Generation, c.Major, c.Why, c.SleptS) },
			probed:  func(r ProbeReport) { say("%s", r.Verdict[0]) },
			reports: make(chan told),
		}
		ctx, cancel := context.WithCancel(t.Context())
		deltas, over := make(chan netmon.Delta), make(chan struct{})
		go func() {
			defer close(over)
			w.run(ctx, deltas)
		}()
		time.Sleep(10 * time.Second)
		deltas <- netmon.Delta{Why: []string{"a bridge is up"}}
		deltas <- netmon.Delta{Major: true, Why: []string{"another network"}, Slept: time.Minute}
		time.Sleep(time.Second)
		deltas <- netmon.Delta{Major: true, Offline: true}
		time.Sleep(time.Second)
		deltas <- netmon.Delta{}
		time.Sleep(10 * time.Second)
		deltas <- netmon.Delta{Major: true}
		time.Sleep(time.Second)
		cancel()
		<-over
		want := []string{
			"5s probe 1",
			"10s 0 major=false [a bridge is up] slept 0s",
			"10s 1 major=true [another network] slept 60s",
			"11s probe 2 is stopped",
			"11s 2 major=true [] slept 0s",
			"12s 2 major=false [] slept 0s",
			"16s probe 3",
			"22s 3 major=true [] slept 0s",
			"23s probe 4 is stopped",
		}
		slices.Sort(got) // what happens at one moment has no order
		slices.Sort(want)
		if !slices.Equal(got, want) {
			t.Errorf("got %q, want %q", got, want)
		}
	})
}
