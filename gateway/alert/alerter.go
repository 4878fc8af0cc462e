package alert

import (
	"context"
	"encoding/json"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
)

// Options are what an Alerter needs. Look must be set.
type Options struct {
	// Look gives what is so now; an error means that it cannot be told.
	Look     func(context.Context) (View, error)
	Hostname string // names this gateway to the webhook
	Version  string
	// Transport carries the webhook; nil is HTTP with the system's roots.
	Transport http.RoundTripper
	// Words says in plain words why the webhook cannot be reached; nil is the
	// error's own.
	Words func(error) string
	Log   *slog.Logger
}

// Settings are what may change while it runs.
type Settings struct {
	Command []string // nil for none
	Dir     string   // the folder the command runs in
	// Webhook gets the URL, which is a secret, when it is needed; nil for none.
	Webhook func(context.Context) (string, error)
	Every   time.Duration // between two alerts about the same thing, at least
	Down    time.Duration // how long it is no news that nothing works
}

// Alerter looks at the gateway and tells. Its methods are safe for concurrent
// use and do not block, but Run.
type Alerter struct {
	opts   Options
	client *http.Client
	limit  time.Duration // of the command
	look   chan struct{} // yields when there may be something new
	again  chan struct{} // yields when what failed may work now
	calls  *outbox       // for the command
	posts  *outbox       // for the webhook

	mu       sync.Mutex
	settings Settings
}

// New makes an Alerter that works once Run is called.
func New(o Options, s Settings) *Alerter {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Words == nil {
		o.Words = error.Error
	}
	return &Alerter{
		opts: o, client: newClient(o.Transport), limit: commandLimit, settings: s,
		look: make(chan struct{}, 1), again: make(chan struct{}, 1), calls: newOutbox(), posts: newOutbox(),
	}
}

// Set takes new settings.
func (a *Alerter) Set(s Settings) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.settings = s
}

func (a *Alerter) current() Settings {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.settings
}

// Changed is called when something may be news, or when the network changed, so
// that what could not be told may be told now.
func (a *Alerter) Changed() {
	signal(a.look)
	signal(a.again)
}

// lookEvery is how late an alert may be that nobody announced.
const lookEvery = 2 * time.Second

// Run looks and tells until ctx ends, and ends the command that runs then. What
// could not be told by then is forgotten. It returns nil.
func (a *Alerter) Run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { a.watch(ctx); return nil })
	g.Go(func() error { a.call(ctx); return nil })
	g.Go(func() error { a.post(ctx); return nil })
	return g.Wait()
}

func (a *Alerter) watch(ctx context.Context) {
	l := newLedger()
	online := true
	ticker := time.NewTicker(lookEvery)
	defer ticker.Stop()
	for {
		if v, err := a.opts.Look(ctx); err == nil {
			if v.online() && !online {
				signal(a.again)
			}
			online = v.online()
			a.publish(l.observe(v, a.current()))
		}
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		case <-a.look:
		}
	}
}

func (a *Alerter) publish(news, tell []Event) {
	for _, e := range news {
		a.log(e)
	}
	s, now := a.current(), time.Now()
	for _, e := range tell {
		if s.Command != nil {
			a.calls.put(e, now)
		}
		if s.Webhook != nil {
			a.posts.put(e, now)
		}
	}
}

// log writes the one line of an event. The disk's is in the log already: who
// shuts the door says so.
func (a *Alerter) log(e Event) {
	if e.Kind == Disk {
		return
	}
	level := slog.LevelWarn
	if e.Ended {
		level = slog.LevelInfo
	}
	attrs := []any{"event", e.Kind}
	if e.Upstream != "" {
		attrs = append(attrs, "upstream", e.Upstream)
	}
	a.opts.Log.Log(context.Background(), level, "alert", append(attrs, "since", e.Since.Truncate(time.Second), "text", e.Text)...)
}

// payload is what command and webhook are given.
func (a *Alerter) payload(e Event) []byte {
	text, _ := json.Marshal(struct {
		Event
		Hostname string `json:"hostname"`
		Version  string `json:"version"`
	}{e, a.opts.Hostname, a.opts.Version}) // there is nothing in it that could fail
	return text
}
