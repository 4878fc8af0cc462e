package main

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"mailroam/gateway"
	"mailroam/gateway/admin"
	"mailroam/gateway/sink"
)

// stage is everything a demo needs, on loopback and in one temporary folder.
type stage struct {
	app       *app
	dir       string
	config    string
	log       *os.File
	gateway   *gateway.Gateway
	client    *admin.Client
	upstreams []*actor
	began     time.Time
	watching  atomic.Bool // arrivals are told as they happen

	mu sync.Mutex // one line at a time
}

// actor is a practice upstream.
type actor struct {
	name     string
	dir      string
	listener net.Listener
	sink     *sink.Server
	away     bool
}

func (u *actor) toggle() error {
	if u.away {
		u.away = false
		return u.sink.Restore()
	}
	u.away = true
	u.sink.Cut()
	return nil
}

func (u *actor) standing() string {
	if u.away {
		return fmt.Sprintf("upstream %q is cut off", u.name)
	}
	return fmt.Sprintf("upstream %q is back", u.name)
}

// newStage builds it all; only what listens is running.
func (a *app) newStage() (*stage, error) {
	s := &stage{app: a, began: time.Now()}
	if err := s.build(); err != nil {
		s.remove()
		return nil, err
	}
	return s, nil
}

func (s *stage) build() (err error) {
	elsewhere := "name another folder: TMPDIR=FOLDER " + s.app.program + " demo"
	if s.dir, err = os.MkdirTemp("", "mailroam-demo-"); err != nil {
		return &failure{code: exCantCreate, what: err, next: elsewhere}
	}
	for _, name := range []string{"first", "second"} {
		u, err := s.newActor(name)
		if err != nil {
			return err
		}
		s.upstreams = append(s.upstreams, u)
	}
	if s.log, err = os.Create(filepath.Join(s.dir, "mailroam.log")); err != nil {
		return err
	}
	cfg, err := s.writeConfig()
	if problems, ok := errors.AsType[gateway.Problems](err); ok { // of what we write only the folder is not ours
		return &failure{code: exCantCreate, what: fmt.Errorf("%s %s", problems[0].Key, problems[0].What), next: elsewhere}
	}
	if err != nil {
		return err
	}
	s.client = admin.NewClient(admin.SocketPath(cfg.DataDir))
	s.gateway, err = gateway.New(cfg, buildVersion(), newLogger(s.log, cfg.Log))
	return err
}

func (s *stage) newActor(name string) (*actor, error) {
	u := &actor{name: name, dir: filepath.Join(s.dir, name)}
	var err error
	if u.listener, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
		return nil, err
	}
	u.sink = sink.New(sink.Options{
		Name: name + ".example.net", Dir: u.dir, Keep: true, Log: slog.New(slog.DiscardHandler),
		OnMessage: func(m sink.Message) {
			if s.watching.Load() {
				s.say(fmt.Sprintf("%q got %s from <%s> for %s", name, octets(m.Size), safe(m.From), safe(strings.Join(m.To, ", "))))
			}
		},
	})
	return u, nil
}

// writeConfig writes a config file as a person would, so that the other
// commands can be pointed at this gateway.
func (s *stage) writeConfig() (*gateway.Config, error) {
	var b strings.Builder
	// Any free port: the usual one is for a gateway in earnest, or another demo.
	fmt.Fprintf(&b, "data_dir = %q\n\n[[listen]]\naddress = \"127.0.0.1:0\"\n", filepath.Join(s.dir, "data"))
	for _, u := range s.upstreams {
		fmt.Fprintf(&b, "\n[[upstream]]\nname = %q\nurls = [\"smtp+insecure://%s\"]\n", u.name, u.listener.Addr())
	}
	s.config = filepath.Join(s.dir, "config.toml")
	if err := os.WriteFile(s.config, []byte(b.String()), 0o600); err != nil {
		return nil, err
	}
	return gateway.Load(s.config)
}

// address is where the gateway takes mail, once it does.
func (s *stage) address() string { return s.gateway.Addrs()[0].String() }

// command is a command line for this stage's gateway.
func (s *stage) command(args ...string) string {
	a := app{program: s.app.program, config: s.config}
	return a.command(args...)
}

func (s *stage) remove() {
	for _, u := range s.upstreams {
		_ = u.listener.Close()
	}
	if s.log != nil {
		_ = s.log.Close()
	}
	_ = os.RemoveAll(s.dir)
}

// say prints one line of the timeline.
func (s *stage) say(text string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	a := s.app
	fmt.Fprintf(a.out, "%s  %s\n", a.colour.in(dim, fmt.Sprintf("%6.2fs", time.Since(s.began).Seconds())), text)
}
