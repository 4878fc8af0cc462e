package gateway

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"
	"weak"

	"mailroam/gateway/admin"
	"mailroam/gateway/alert"
	"mailroam/gateway/dispatch"
	"mailroam/gateway/msa"
	"mailroam/gateway/relay"
	"mailroam/health"
	"mailroam/health/netmon"
	"mailroam/queue"
	"mailroam/queue/bolt"
)

// Gateway is one whole mailroam, ready to run.
type Gateway struct {
	log      *slog.Logger
	config   *Config // as it started; Reload leaves it alone
	store    *bolt.Store
	session  queue.Session
	watcher  *netmon.Watcher
	place    place
	manager  manager
	health   *health.Monitor
	dispatch *dispatch.Dispatcher
	passed   passed
	logins   *logins
	stuck    stuck
	alerts   *alert.Alerter
	door     *door
	ready    chan struct{}
	started  time.Time
	version  string
	sick     []bolt.Poisoning // why the queue is only looked at; nil when it works

	mu        sync.Mutex // guards what follows
	upstreams map[string]upstream
	chains    []alert.Chain
	hold      time.Duration // queue.policy_hold
	doubt     dispatch.InDoubt
	addrs     []net.Addr
	// dropped are clients that the config has no more: while a delivery still
	// goes through one, it must hear of the network, and no longer.
	dropped []weak.Pointer[relay.Upstream]
}

// New opens the queue of cfg, which from then on belongs to this process, and
// puts the parts together. Run must be called to close it again.
func New(cfg *Config, version string, log *slog.Logger) (*Gateway, error) {
	if err := os.MkdirAll(cfg.DataDir, 0o700); err != nil {
		return nil, fmt.Errorf("creating data_dir: %w", err)
	}
	g := &Gateway{log: log, config: cfg, version: version, ready: make(chan struct{}), started: time.Now()}
	g.door = &door{log: log, space: g.space}
	if err := g.openStore(); err != nil {
		return nil, err
	}
	if err := g.assemble(); err != nil {
		return nil, errors.Join(err, g.store.Close())
	}
	return g, nil
}

// space counts as free what the queue's file has room for inside: it keeps the
// room of mail that has left, so a disk it filled itself never looks empty again.
func (g *Gateway) space() (free, total int64, ok bool) {
	free, total, ok = diskSpace(g.config.DataDir)
	if inside, err := g.store.Free(); err == nil {
		free = inside
	}
	return free, total, ok
}

func (g *Gateway) assemble() error {
	cfg, ctx := g.config, context.Background()
	stats, err := g.store.Stats(ctx)
	if err != nil {
		return err
	}
	if g.sick == nil {
		if g.session, err = g.store.Join(ctx); err != nil {
			return err
		}
	}
	g.watcher = netmon.New(netmon.Options{Log: g.log})
	g.place, g.manager.ask = newPlace(g.watcher), netmon.AskNetworkManager
	g.logins, g.hold, g.doubt = newLogins(), cfg.Queue.PolicyHold, cfg.Queue.InDoubt
	g.upstreams, g.chains = connect(cfg, nil, g.place, g.logins, g.log), chains(cfg.Upstreams)
	g.health = health.New(health.Options{
		Settings: settings(cfg), Targets: targets(cfg, g.upstreams), Network: g.watcher.Snapshot(),
		File: filepath.Join(cfg.DataDir, "health.json"), Log: g.log,
	})
	g.health.AtLeast(stats.Online)
	teach(g.upstreams, nil, g.health)
	g.dispatch = dispatch.New(dispatch.Options{
		Store: g.store, Session: g.session, Health: g.health, Hostname: cfg.Hostname, Log: g.log,
		File: filepath.Join(cfg.DataDir, "senders.json"), Network: func() string { return g.watcher.Snapshot().Network() }, Passed: g.passed.note,
	}, dispatchConfig(cfg, g.upstreams))
	g.alerts = alert.New(alert.Options{Look: g.view, Hostname: cfg.Hostname, Version: g.version, Words: relay.Words, Log: g.log}, cfg.alerts())
	return nil
}

// Run works until ctx ends, then stops taking mail, gives every open delivery
// its end, and closes the queue. It returns nil after an orderly stop, and an
// error that wraps queue.ErrPoisoned when the disk failed.
func (g *Gateway) Run(ctx context.Context) error {
	if g.sick != nil {
		return g.runSick(ctx)
	}
	// Open before all else: whoever sees the port answer may ask how we are.
	control, err := admin.Listen(ctx, admin.SocketPath(g.config.DataDir))
	if err == nil {
		err = runStages(ctx, []stage{
			{"network", func(ctx context.Context) error { return g.watcher.Run(ctx, g.roamed) }},
			{"health", g.health.Run},
			{"secrets", g.watchSecrets},
			{"dispatch", g.dispatch.Run},
			{"alerts", g.alerts.Run},
			{"control socket", func(ctx context.Context) error { return g.control().Serve(ctx, control) }},
			{"listener", func(ctx context.Context) error { return g.listen(ctx, g.accept) }},
			{"store", g.watchStore},
		})
	}
	g.closeIdle()
	err = errors.Join(err, g.leave(), g.store.Close())
	g.log.Info("stop", "up", time.Since(g.started).Round(time.Second))
	return err
}

func (g *Gateway) closeIdle() {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, u := range g.upstreams {
		u.relay.CloseIdle()
	}
}

// leave ends the session. What a pass left leased because the answer to its
// dot never came must stay leased, so that the next start finds it in doubt.
func (g *Gateway) leave() error {
	s, err := g.store.Stats(context.Background())
	if err != nil || s.Leased > 0 {
		return nil
	}
	if err := g.session.Leave(context.Background()); err != nil && !errors.Is(err, queue.ErrPoisoned) {
		return err
	}
	return nil
}

func (g *Gateway) watchStore(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return nil
	case <-g.store.Poisoned():
		return queue.ErrPoisoned
	}
}

// Ready is closed when every listener answers.
func (g *Gateway) Ready() <-chan struct{} { return g.ready }

// Addrs are the listeners' addresses, once Ready.
func (g *Gateway) Addrs() []net.Addr {
	g.mu.Lock()
	defer g.mu.Unlock()
	return slices.Clone(g.addrs)
}

// listen opens every listener and serves them until ctx ends.
func (g *Gateway) listen(ctx context.Context, serve func(context.Context, Listen, net.Listener) error) error {
	if !g.waitForRoom(ctx) {
		return nil
	}
	// Sessions have deadlines of their own, so keep-alives would only cost
	// four system calls for each connection.
	config := net.ListenConfig{KeepAlive: -1}
	var stages []stage
	var open []net.Listener
	for _, c := range g.config.Listen {
		l, err := config.Listen(ctx, "tcp", c.Address)
		if err != nil {
			for _, l := range open {
				l.Close()
			}
			return fmt.Errorf("opening %s: %w", c.Address, err)
		}
		open = append(open, l)
		stages = append(stages, stage{c.Address, func(ctx context.Context) error { return serve(ctx, c, l) }})
	}
	g.mu.Lock()
	for _, l := range open {
		g.addrs = append(g.addrs, l.Addr())
	}
	g.mu.Unlock()
	g.log.Info("start", "version", g.version, "pid", os.Getpid(), "listen", addresses(g.Addrs()), "data_dir", g.config.DataDir)
	close(g.ready)
	return runStages(ctx, stages)
}

// waitForRoom keeps the door shut while the disk is too full to take mail;
// meanwhile mail leaves, which makes room.
func (g *Gateway) waitForRoom(ctx context.Context) bool {
	for g.sick == nil && g.door.admit(0) != nil {
		select {
		case <-ctx.Done():
			return false
		case <-time.After(time.Second):
		}
	}
	return true
}

// accept serves one listener.
func (g *Gateway) accept(ctx context.Context, c Listen, l net.Listener) error {
	return msa.New(g.msaOptions(c)).Serve(ctx, l)
}

func addresses(as []net.Addr) []string {
	var s []string
	for _, a := range as {
		s = append(s, a.String())
	}
	return s
}

func (g *Gateway) msaOptions(l Listen) msa.Options {
	cfg := g.current()
	return msa.Options{
		Hostname: cfg.Hostname, Allow: l.Allow, Private: l.Received == "private",
		MaxMessage: cfg.Queue.MaxMessage, Session: g.session,
		Admit:  g.door.admit,
		Permit: g.dispatch.Permit, File: g.dispatch.File, Take: g.dispatch.Take, Unfile: g.dispatch.Unfile,
		Log: g.log,
	}
}

// current is the config as the last Reload left it.
func (g *Gateway) current() *Config {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.config
}

func (g *Gateway) control() *admin.Server {
	return admin.New(admin.SocketPath(g.current().DataDir), admin.Options{
		Store: g.store, Health: g.health, Log: g.log, Notice: g.dispatch.Notice, Endpoint: g.endpoint, Wake: g.dispatch.Pardon, Retry: g.health.Pardon, PolicyHold: g.policyHold,
		Info: func() admin.Info {
			return admin.Info{PID: os.Getpid(), Version: g.version, Started: g.started, Hostname: g.current().Hostname, Listen: addresses(g.Addrs()), Alert: g.alert()}
		},
		Network: g.network, Chains: g.senders, PasswordKeys: g.passwordKeys, Blocked: g.blocked, Refusals: g.refusals, Route: g.explain,
	})
}

// endpoint is where the status says an upstream is: the endpoint in use, and
// before one worked all of them.
func (g *Gateway) endpoint(name string) string {
	g.mu.Lock()
	defer g.mu.Unlock()
	u, ok := g.upstreams[name]
	if !ok {
		return ""
	}
	if used := u.relay.Endpoint(); used != "" {
		return used
	}
	var all []string
	for _, u := range u.config.URLs {
		all = append(all, net.JoinHostPort(u.Host, u.Port))
	}
	return strings.Join(all, ", ")
}

// Reload takes a new, valid configuration: upstreams, health, alerts and queue
// times change at once. Listeners, names and folders need a restart, and the log
// says so.
func (g *Gateway) Reload(cfg *Config) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, what := range frozen(g.config, cfg) {
		g.log.Warn("alert", "text", what+" changed in the config: this takes effect at the next restart")
	}
	old := g.upstreams
	g.hold, g.doubt = cfg.Queue.PolicyHold, cfg.Queue.InDoubt
	g.upstreams, g.chains = connect(cfg, old, g.place, g.logins, g.log), chains(cfg.Upstreams)
	for name, u := range g.upstreams {
		if o, ok := old[name]; ok && !sameAccount(o.config, u.config) {
			g.health.Forgive(name, u.config.Account())
		}
	}
	g.drop(old)
	g.health.Set(targets(cfg, g.upstreams), settings(cfg))
	teach(g.upstreams, old, g.health)
	g.dispatch.Set(dispatchConfig(cfg, g.upstreams))
	g.alerts.Set(cfg.alerts())
	g.alerts.Changed()
	g.log.Info("start", "text", "the config was read again", "upstreams", len(cfg.Upstreams))
}

// OpenQueue opens the queue of a gateway that does not run, to look at it.
func OpenQueue(cfg *Config) (queue.Store, error) {
	return bolt.Open(bolt.Options{Dir: cfg.DataDir, ReadOnly: true})
}
