package gateway

import (
	"context"
	"errors"
	"testing"

	"mailroam/gateway/relay"
	"mailroam/health"
)

// A probe that a change of the network broke off is made again; one that ended
// by itself, or whose time is over, is not.
func TestProbeAgainAfterRoaming(t *testing.T) {
	cut := &relay.Error{Stage: relay.Connect, Err: relay.ErrRoamed}
	refused := &relay.Error{Stage: relay.Connect, Err: errors.New("connection refused")}
	over, end := context.WithCancel(t.Context())
	end()
	for name, tt := range map[string]struct {
		ctx     context.Context
		answers []error
		want    health.Kind
		tries   int
	}{
		"it passes after two changes": {t.Context(), []error{cut, cut, nil}, health.None, 3},
		"it fails after a change":     {t.Context(), []error{cut, refused}, health.Network, 2},
		"it fails":                    {t.Context(), []error{refused}, health.Network, 1},
		"its time is over":            {over, []error{cut}, health.Network, 1},
	} {
		t.Run(name, func(t *testing.T) {
			tries := 0
			f := probe(tt.ctx, func(context.Context) error {
				tries++
				return tt.answers[tries-1]
			}, relay.Rules{})
			if f.Kind != tt.want || tries != tt.tries {
				t.Errorf("%v after %d tries, want %q after %d", f, tries, tt.want, tt.tries)
			}
		})
	}
}
