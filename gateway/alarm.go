package gateway

import (
	"context"
	"path/filepath"
	"slices"
	"sync/atomic"
	"time"

	"mailroam/gateway/alert"
	"mailroam/gateway/relay"
)

// noted is a client that remembers when its upstream last took a message.
type noted struct {
	*relay.Upstream
	took *atomic.Int64 // Unix time in nanoseconds; 0: never
}

// Deliver implements dispatch.Relay.
func (n noted) Deliver(ctx context.Context, d relay.Delivery) relay.Result {
	r := n.Upstream.Deliver(ctx, d)
	if slices.ContainsFunc(r.Rcpts, relay.RcptResult.Accepted) {
		n.took.Store(time.Now().UnixNano())
	}
	return r
}

// view is what alerts are made of.
func (g *Gateway) view(ctx context.Context) (alert.View, error) {
	stats, err := g.store.Stats(ctx)
	if err != nil {
		return alert.View{}, err
	}
	v := alert.View{
		// Without the monotonic clock, which stands still while the machine
		// sleeps.
		Now: time.Now().Round(0), Odometer: g.health.Odometer(), Outlook: g.health.Outlook(), Upstreams: g.health.Status(),
		Queue: stats, Disk: g.alert(), Delivered: map[string]time.Time{},
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	v.Chains = g.chains
	for name, u := range g.upstreams {
		if at := u.took.Load(); at != 0 {
			v.Delivered[name] = time.Unix(0, at)
		}
	}
	return v, nil
}

func (c *Config) alerts() alert.Settings {
	s := alert.Settings{Command: c.Alert.Command, Dir: filepath.Dir(c.Path), Every: c.Alert.Every, Down: c.Alert.Down}
	if !c.Alert.Webhook.IsZero() {
		s.Webhook = c.Alert.Webhook.Read
	}
	return s
}
