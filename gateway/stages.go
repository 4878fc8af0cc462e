package gateway

import (
	"context"
	"errors"
	"fmt"
)

// stage is one part of the running gateway.
type stage struct {
	name string
	run  func(context.Context) error // blocks until ctx ends or it fails
}

// runStages runs all stages side by side. When ctx ends, or one of them does,
// they are stopped from the last to the first, each awaited before the next is
// told: what takes mail in ends before what sends it out.
func runStages(ctx context.Context, stages []stage) error {
	over, end := context.WithCancel(ctx)
	defer end()
	type running struct {
		stop context.CancelFunc
		done chan error
	}
	rs := make([]running, len(stages))
	for i, s := range stages {
		// Each has a context of its own, so that the order of ending is ours.
		sctx, stop := context.WithCancel(context.WithoutCancel(ctx))
		rs[i] = running{stop, make(chan error, 1)}
		go func() {
			defer end()
			if err := s.run(sctx); err != nil && !errors.Is(err, context.Canceled) {
				rs[i].done <- fmt.Errorf("%s: %w", s.name, err)
				return
			}
			rs[i].done <- nil
		}()
	}
	<-over.Done()
	var errs []error
	for i := len(rs) - 1; i >= 0; i-- {
		rs[i].stop()
		errs = append(errs, <-rs[i].done)
	}
	return errors.Join(errs...)
}
