package gateway

import (
	"context"
	"fmt"
	"slices"
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
		var got []string
		say := func(format string, args ...any) {
			got = append(got, fmt.Sprintf("%s ", time.Since(start))+fmt.Sprintf(format, args...))
		}
		n := 0
		w := watching{
			ask: func(ctx context.Context) (ProbeReport, error) {
				n++
				r := ProbeReport{Verdict: []string{fmt.Sprint("probe ", n)}}
				select {
				case <-time.After(5 * time.Second):
					return r, nil
				case <-ctx.Done():
					return r, ctx.Err()
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
			"11s 2 major=true [] slept 0s",
			"12s 2 major=false [] slept 0s",
			"16s probe 3",
			"22s 3 major=true [] slept 0s",
		}
		if !slices.Equal(got, want) {
			t.Errorf("got %q, want %q", got, want)
		}
	})
}
