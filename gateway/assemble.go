package gateway

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"reflect"
	"slices"
	"strings"

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
func connect(cfg *Config, old map[string]upstream, p place, l *logins, log *slog.Logger) map[string]upstream {
	us := map[string]upstream{}
	for _, c := range cfg.Upstreams {
		if o, ok := old[c.Name]; ok && sameAccount(o.config, c) && sameBatches(o.config, c) {
			us[c.Name] = upstream{c, o.relay}
			continue
		}
		options := relayOptions(cfg.Hostname, c, log)
		options.Lookup, options.Path, options.Password = p.lookup, p.path, l.noted(c.Name, options.Password)
		client := relay.New(options)
		client.Roam(p.network()) // so that what it learns is kept for this network
		us[c.Name] = upstream{c, client}
	}
	return us
}

// teach tells clients that know nothing yet what their upstreams showed before.
func teach(us, old map[string]upstream, h *health.Monitor) {
	for name, u := range us {
		if u.relay != old[name].relay {
			l := h.Learned(name)
			u.relay.Teach(relay.Learned{Size: l.Size, Recipients: l.Recipients})
		}
	}
}

// sameBatches compares how much goes in one transaction and one session.
func sameBatches(a, b UpstreamConfig) bool {
	return a.Limits.Recipients == b.Limits.Recipients && a.messages() == b.messages()
}

// messages is how many one session may carry, 0 for any number.
func (c UpstreamConfig) messages() int {
	if c.Profile == nil {
		return 0
	}
	return c.Profile.Messages
}

// sameAccount compares what the client depends on to get in. Pools of roots are compared
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
	o := relay.Options{
		Name: c.Name, Hello: hello, Auth: c.Auth, Username: c.Username,
		MaxRecipients: c.Limits.Recipients, MaxMessages: c.messages(), Log: log,
	}
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
		t := health.Target{
			Name: c.Name, Account: c.Account(), Addrs: u.Addrs,
			Limits: health.Limits{PerMinute: c.Limits.PerMinute, PerHour: c.Limits.PerHour, PerDay: c.Limits.PerDay},
			Probe:  func(ctx context.Context) health.Fault { return probe(ctx, u.Probe, c.rules()) },
			// On this machine nobody can step in between.
			Unproven: slices.ContainsFunc(c.URLs, func(u UpstreamURL) bool { return u.insecure() && !u.loopback() }),
		}
		for _, url := range c.URLs {
			if host := strings.TrimSuffix(url.Host, "."); !slices.Contains(t.Hosts, host) {
				t.Hosts = append(t.Hosts, host)
			}
		}
		ts = append(ts, t)
	}
	return ts
}

func settings(cfg *Config) health.Settings {
	h := cfg.Health
	return health.Settings{Interval: h.Interval, Timeout: h.Timeout, Rise: h.Rise, Failback: h.Failback}
}

// probe asks again when the network changed under it: what was broken off says
// nothing about the upstream, and health is about to ask anew anyway.
func probe(ctx context.Context, try func(context.Context) error, rules relay.Rules) health.Fault {
	for {
		err := try(ctx)
		if ctx.Err() != nil || !errors.Is(err, relay.ErrRoamed) {
			return dispatch.ProbeFault(err, rules)
		}
	}
}

func (c UpstreamConfig) rules() relay.Rules {
	return relay.Rules{Operator: c.Rules, Profile: c.Profile}
}

func dispatchConfig(cfg *Config, us map[string]upstream) dispatch.Config {
	c := dispatch.Config{
		Policy: dispatch.Policy{
			Schedule: dispatch.Schedule{Initial: cfg.Queue.RetryInitial, Max: cfg.Queue.RetryMax},
			Expire:   cfg.Queue.Expire, Warn: cfg.Queue.Warn, PolicyHold: cfg.Queue.PolicyHold,
			InDoubt: cfg.Queue.InDoubt, ContentReject: cfg.Queue.ContentReject, SecondOpinion: cfg.Queue.SecondOpinion, SoftBounce: cfg.Queue.SoftBounce,
		},
		Keep:      cfg.Queue.Keep,
		Hedge:     cfg.Health.Hedge,
		Upstreams: map[string]dispatch.Upstream{},
	}
	c.Routes = dispatch.NewRoutes(routes(cfg.Upstreams))
	for _, u := range cfg.Upstreams {
		c.Upstreams[u.Name] = dispatch.Upstream{Relay: us[u.Name].relay, Slots: u.Limits.Connections, Rules: u.rules()}
	}
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
