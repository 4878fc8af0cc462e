package gateway

import (
	"context"
	"fmt"
	"log/slog"
	"reflect"
	"slices"

	"mailroam/gateway/dispatch"
	"mailroam/gateway/relay"
	"mailroam/health"
)

// upstream is a configured upstream with the client that speaks to it.
type upstream struct {
	config UpstreamConfig
	relay  *relay.Upstream
}

// connect makes the clients of a configuration. One whose settings did not
// change is kept, and so are its open connections.
func connect(cfg *Config, old map[string]upstream, log *slog.Logger) map[string]upstream {
	us := map[string]upstream{}
	for _, c := range cfg.Upstreams {
		if o, ok := old[c.Name]; ok && sameAccount(o.config, c) {
			us[c.Name] = upstream{c, o.relay}
			continue
		}
		us[c.Name] = upstream{c, relay.New(relayOptions(cfg.Hostname, c, log))}
	}
	return us
}

// sameAccount compares what the client depends on. Pools of roots are compared
// by content: a renewed ca file is a change.
func sameAccount(a, b UpstreamConfig) bool {
	same := func(x, y UpstreamURL) bool {
		roots := x.Roots == y.Roots || x.Roots != nil && y.Roots != nil && x.Roots.Equal(y.Roots)
		x.Roots, y.Roots = nil, nil
		return roots && x == y
	}
	return slices.EqualFunc(a.URLs, b.URLs, same) && a.Auth == b.Auth && a.Username == b.Username && reflect.DeepEqual(a.Secret, b.Secret)
}

func relayOptions(hello string, c UpstreamConfig, log *slog.Logger) relay.Options {
	o := relay.Options{Name: c.Name, Hello: hello, Auth: c.Auth, Username: c.Username, Log: log}
	if c.Username != "" {
		o.Password = c.Secret.Read
	}
	modes := map[string]relay.Mode{"smtps": relay.Implicit, "smtp": relay.RequireStartTLS, "smtp+insecure": relay.Insecure}
	for _, u := range c.URLs {
		o.Endpoints = append(o.Endpoints, relay.Endpoint{Mode: modes[u.Scheme], Host: u.Host, Port: u.Port, ServerName: u.ServerName, Roots: u.Roots})
	}
	return o
}

// targets adapts the clients' probes to what health understands.
func targets(cfg *Config, us map[string]upstream) []health.Target {
	var ts []health.Target
	for _, c := range cfg.Upstreams {
		u := us[c.Name].relay
		ts = append(ts, health.Target{Name: c.Name, Account: c.Account(), Probe: func(ctx context.Context) health.Fault {
			return dispatch.ProbeFault(u.Probe(ctx))
		}})
	}
	return ts
}

func settings(cfg *Config) health.Settings {
	h := cfg.Health
	return health.Settings{Interval: h.Interval, Timeout: h.Timeout, Rise: h.Rise, Failback: h.Failback}
}

func dispatchConfig(cfg *Config, us map[string]upstream) dispatch.Config {
	c := dispatch.Config{
		Policy: dispatch.Policy{
			Schedule: dispatch.Schedule{Initial: cfg.Queue.RetryInitial, Max: cfg.Queue.RetryMax},
			Expire:   cfg.Queue.Expire,
		},
		Keep:      cfg.Queue.Keep,
		Upstreams: map[string]dispatch.Upstream{},
	}
	var routes []dispatch.Route
	for _, u := range cfg.Upstreams {
		routes = append(routes, dispatch.Route{Name: u.Name, Senders: u.Senders, DefaultFrom: u.DefaultFrom})
		c.Upstreams[u.Name] = dispatch.Upstream{Relay: us[u.Name].relay, Slots: u.Connections}
	}
	c.Routes = dispatch.NewRoutes(routes)
	return c
}

// frozen names what differs between two configurations and cannot change while
// the gateway runs.
func frozen(old, cfg *Config) []string {
	var names []string
	for _, f := range []struct {
		name     string
		old, new any
	}{
		{"hostname", old.Hostname, cfg.Hostname},
		{"data_dir", old.DataDir, cfg.DataDir},
		{"listen", fmt.Sprint(old.Listen), fmt.Sprint(cfg.Listen)},
		{"queue.max_message", old.Queue.MaxMessage, cfg.Queue.MaxMessage},
		{"log", old.Log, cfg.Log},
	} {
		if f.old != f.new {
			names = append(names, f.name)
		}
	}
	return names
}
