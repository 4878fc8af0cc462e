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
	"sync"
	"time"

	"mailroam/gateway/admin"
	"mailroam/gateway/dispatch"
	"mailroam/gateway/msa"
	"mailroam/health"
	"mailroam/queue"
	"mailroam/queue/bolt"
)

// Gateway is one whole mailroam, ready to run.
type Gateway struct {
	log      *slog.Logger
	store    *bolt.Store
	session  queue.Session
	health   *health.Monitor
	dispatch *dispatch.Dispatcher
	ready    chan struct{}
	started  time.Time
	version  string

	mu        sync.Mutex // guards what Reload replaces
	config    *Config
	upstreams map[string]upstream
	addrs     []net.Addr
}

// New opens the queue of cfg, which from then on belongs to this process, and
// puts the parts together. Run must be called to close it again.
func New(cfg *Config, version string, log *slog.Logger) (*Gateway, error) {
	if err := os.MkdirAll(cfg.DataDir, 0o700); err != nil {
		return nil, fmt.Errorf("creating data_dir: %w", err)
	}
	store, err := bolt.Open(bolt.Options{Dir: cfg.DataDir, Log: log})
	if err != nil {
		return nil, err
	}
	g := &Gateway{log: log, store: store, config: cfg, version: version, ready: make(chan struct{}), started: time.Now()}
	if g.session, err = store.Join(context.Background()); err != nil {
		return nil, errors.Join(err, store.Close())
	}
	stats, err := store.Stats(context.Background())
	if err != nil {
		return nil, errors.Join(err, store.Close())
	}
	g.upstreams = connect(cfg, nil, log)
	g.health = health.New(health.Options{
		Targets: targets(cfg, g.upstreams), Interval: cfg.Health.Interval, Timeout: cfg.Health.Timeout, Rise: cfg.Health.Rise,
		File: filepath.Join(cfg.DataDir, "health.json"), Log: log,
	})
	g.health.AtLeast(stats.Online)
	g.dispatch = dispatch.New(dispatch.Options{
		Store: store, Session: g.session, Health: g.health, Hostname: cfg.Hostname, Log: log,
	}, dispatchConfig(cfg, g.upstreams))
	return g, nil
}

// Run works until ctx ends, then stops taking mail, gives every open delivery
// its end, and closes the queue. It returns nil after an orderly stop, and an
// error that wraps queue.ErrPoisoned when the disk failed.
func (g *Gateway) Run(ctx context.Context) error {
	stages := []stage{
		{"health", g.health.Run},
		{"dispatch", g.dispatch.Run},
		{"control socket", g.control().Run},
		{"listener", g.listen},
		{"store", g.watchStore},
	}
	err := runStages(ctx, stages)
	for _, u := range g.upstreams {
		u.relay.CloseIdle()
	}
	err = errors.Join(err, g.leave(), g.store.Close())
	g.log.Info("stop", "took", time.Since(g.started).Round(time.Second))
	return err
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
func (g *Gateway) listen(ctx context.Context) error {
	var listeners []net.Listener
	defer func() {
		for _, l := range listeners {
			l.Close()
		}
	}()
	for _, l := range g.config.Listen {
		ln, err := net.Listen("tcp", l.Address)
		if err != nil {
			return fmt.Errorf("opening %s: %w", l.Address, err)
		}
		listeners = append(listeners, ln)
	}
	g.mu.Lock()
	for _, l := range listeners {
		g.addrs = append(g.addrs, l.Addr())
	}
	g.mu.Unlock()
	g.log.Info("start", "version", g.version, "pid", os.Getpid(), "listen", addresses(g.addrs), "data_dir", g.config.DataDir)
	close(g.ready)

	serve := make([]stage, len(listeners))
	for i, l := range listeners {
		srv := msa.New(g.msaOptions(g.config.Listen[i]))
		serve[i] = stage{l.Addr().String(), func(ctx context.Context) error { return srv.Serve(ctx, l) }}
	}
	return runStages(ctx, serve)
}

func addresses(as []net.Addr) []string {
	var s []string
	for _, a := range as {
		s = append(s, a.String())
	}
	return s
}

func (g *Gateway) msaOptions(l Listen) msa.Options {
	return msa.Options{
		Hostname: g.config.Hostname, Allow: l.Allow, Private: l.Received == "private",
		MaxMessage: g.config.Queue.MaxMessage, Session: g.session,
		Admit:  func(size int64) error { return room(g.config.DataDir, size) },
		Permit: g.dispatch.Permit, File: g.dispatch.File, Take: g.dispatch.Take,
		Log: g.log,
	}
}

func (g *Gateway) control() *admin.Server {
	return admin.New(filepath.Join(g.config.DataDir, "control.sock"), admin.Options{
		Store: g.store, Health: g.health, Log: g.log, Notice: g.dispatch.Notice,
		Info: func() admin.Info {
			return admin.Info{PID: os.Getpid(), Version: g.version, Started: g.started, Hostname: g.config.Hostname, Listen: addresses(g.Addrs())}
		},
		Network: func() any {
			return network{Online: g.health.Online(), OnlineFor: g.health.Odometer().Round(time.Second).String()}
		},
	})
}

// network is the network's part of the status.
type network struct {
	Online    bool   `json:"online"`
	OnlineFor string `json:"online_for"` // in all, since the queue began
}

// Reload takes a new, valid configuration: upstreams, health and queue times
// change at once. Listeners, names and folders need a restart, and the log
// says so.
func (g *Gateway) Reload(cfg *Config) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, what := range frozen(g.config, cfg) {
		g.log.Warn("alert", "text", what+" changed in the config: this takes effect at the next restart")
	}
	old := g.upstreams
	g.upstreams = connect(cfg, old, g.log)
	for name, u := range g.upstreams {
		if o, ok := old[name]; ok && o.relay != u.relay {
			g.health.Forgive(name)
		}
	}
	g.health.Set(targets(cfg, g.upstreams), cfg.Health.Interval, cfg.Health.Timeout, cfg.Health.Rise)
	g.dispatch.Set(dispatchConfig(cfg, g.upstreams))
	next := *g.config // what cannot change stays as it is
	next.Upstreams, next.Health, next.Queue = cfg.Upstreams, cfg.Health, cfg.Queue
	g.config = &next
	g.log.Info("start", "text", "the config was read again", "upstreams", len(cfg.Upstreams))
}

// OpenQueue opens the queue of a gateway that does not run, to look at it.
func OpenQueue(cfg *Config) (queue.Store, error) {
	return bolt.Open(bolt.Options{Dir: cfg.DataDir, ReadOnly: true})
}
