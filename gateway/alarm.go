package gateway

import (
	"context"
	"maps"
	"path/filepath"
	"sync"
	"time"

	"mailroam/gateway/alert"
	"mailroam/gateway/dispatch"
)

// passed remembers when mail last left by another upstream than its first
// choice, by the name of that choice. It is safe for concurrent use.
type passed struct {
	mu sync.Mutex
	at map[string]time.Time
}

func (p *passed) note(first string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.at == nil {
		p.at = map[string]time.Time{}
	}
	p.at[first] = time.Now().Round(0)
}

func (p *passed) over() map[string]time.Time {
	p.mu.Lock()
	defer p.mu.Unlock()
	return maps.Clone(p.at)
}

// view is what alerts are made of.
func (g *Gateway) view(ctx context.Context) (alert.View, error) {
	stats, err := g.store.Stats(ctx)
	if err != nil {
		return alert.View{}, err
	}
	return alert.View{
		StuckWhy: g.stuck.look(ctx, g.store, stats.Stuck, time.Now()), PolicyHold: g.policyHold(), InDoubt: string(g.inDoubt()), PasswordKeys: g.passwordKeys(),
		// Without the monotonic clock, which stands still while the machine
		// sleeps.
		Now: time.Now().Round(0), Odometer: g.health.Odometer(), Outlook: g.health.Outlook(), Upstreams: g.health.Status(),
		Queue: stats, Disk: g.alert(), Passed: g.passed.over(), Chains: g.senders(), Refusals: g.refusals(),
	}, nil
}

// refusals lists the senders whose first choice refuses them.
func (g *Gateway) refusals() (list []alert.Refusal) {
	for _, p := range g.dispatch.PassedOver() {
		list = append(list, alert.Refusal(p))
	}
	return list
}

// senders lists whose mail may take which upstreams now.
func (g *Gateway) senders() []alert.Chain {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.chains
}

func (c *Config) alerts() alert.Settings {
	s := alert.Settings{Command: c.Alert.Command, Dir: filepath.Dir(c.Path), Every: c.Alert.Every, Down: c.Alert.Down}
	if !c.Alert.Webhook.IsZero() {
		s.Webhook = c.Alert.Webhook.Read
	}
	return s
}

func (g *Gateway) policyHold() time.Duration {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.hold
}

func (g *Gateway) inDoubt() dispatch.InDoubt {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.doubt
}

// passwordKeys says by which key of the config each upstream gets its password.
func (g *Gateway) passwordKeys() map[string]string {
	g.mu.Lock()
	defer g.mu.Unlock()
	keys := map[string]string{}
	for name, u := range g.upstreams {
		keys[name] = string(u.config.Secret.source)
	}
	return keys
}
