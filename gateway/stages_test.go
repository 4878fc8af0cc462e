package gateway

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
)

// TestStagesStopInReverse holds the order that loses no mail: what takes mail
// in has ended before what sends it out is told to.
func TestStagesStopInReverse(t *testing.T) {
	boom := errors.New("boom")
	for _, tt := range []struct {
		name  string
		fails string
		want  error
	}{{"asked to stop", "", nil}, {"the first fails", "store", boom}, {"the last fails", "listener", boom}} {
		t.Run(tt.name, func(t *testing.T) {
			var mu sync.Mutex
			var ended []string
			fail := make(chan struct{})
			all := sync.WaitGroup{}
			all.Add(3)
			var stages []stage
			for _, name := range []string{"store", "dispatch", "listener"} {
				stages = append(stages, stage{name, func(ctx context.Context) error {
					all.Done()
					if name == tt.fails {
						<-fail
						return boom
					}
					<-ctx.Done()
					mu.Lock()
					defer mu.Unlock()
					ended = append(ended, name)
					return nil
				}})
			}
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			done := make(chan error)
			go func() { done <- runStages(ctx, stages) }()
			all.Wait()
			if tt.fails == "" {
				cancel()
			}
			close(fail)
			if err := <-done; !errors.Is(err, tt.want) {
				t.Errorf("error %v, want %v", err, tt.want)
			}
			want := slices.DeleteFunc([]string{"listener", "dispatch", "store"}, func(n string) bool { return n == tt.fails })
			if !slices.Equal(ended, want) {
				t.Errorf("ended in the order %v, want %v", ended, want)
			}
		})
	}
}
