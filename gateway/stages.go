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
// told: what takes mail in ends before what sends it out. The error is that of
// the stage that failed first; later ones would only repeat it.
func runStages(ctx context.Context, stages []stage) error {
	over, end := context.WithCancelCause(ctx)
	defer end(nil)
	type running struct {
		stop context.CancelFunc
		done chan struct{}
	}
	rs := make([]running, len(stages))
	for i, s := range stages {
		// Each has a context of its own, so that the order of ending is ours.
		sctx, stop := context.WithCancel(context.WithoutCancel(ctx))
		rs[i] = running{stop, make(chan struct{})}
		go func() {
			defer close(rs[i].done)
			err := s.run(sctx)
			if err != nil && !errors.Is(err, context.Canceled) {
				err = fmt.Errorf("%s: %w", s.name, err)
			}
			end(err)
		}()
	}
	<-over.Done()
	for i := len(rs) - 1; i >= 0; i-- {
		rs[i].stop()
		<-rs[i].done
	}
	if err := context.Cause(over); !errors.Is(err, context.Canceled) {
		return err
	}
	return nil
}
