package dispatch

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"os"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"mailroam/gateway/relay"
	"mailroam/health"
	"mailroam/queue"
	"mailroam/queue/queuetest"
)

// peer is an upstream made of a script.
type peer struct {
	name string

	mu     sync.Mutex
	down   bool
	dark   bool                                               // packets vanish: nothing is heard, by a probe as by a delivery
	script func(n int, d relay.Delivery) *relay.Result        // nil result: the normal course
	whole  func(context.Context, relay.Delivery) relay.Result // in place of everything, when set
	warm   func(context.Context) error                        // the same for Warm
	asked  int
	warmed int
	open   int
	most   int // deliveries at a time
	took   []string
	froms  []string
	bodies []string
	seen   func([]relay.Recipient) // is told of each delivery, when set
}

// plays changes the script while the world runs.
func (p *peer) plays(script func(int, relay.Delivery) *relay.Result) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.script = script
}

func (p *peer) set(down bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.down = down
}

// goesDark drops all packets from now on, and nobody is told.
func (p *peer) goesDark(dark bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.dark = dark
}

func (p *peer) isDark() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.dark
}

func (p *peer) warmedUp() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.warmed
}

func (p *peer) count() (asked, took int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.asked, len(p.took)
}

func (p *peer) probe(ctx context.Context) health.Fault {
	if p.isDark() {
		<-ctx.Done()
		return health.Fault{Kind: health.Network, Reason: "i/o timeout"}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.down {
		return health.Fault{Kind: health.Network, Reason: "connection refused"}
	}
	return health.Fault{}
}

func (p *peer) Deliver(ctx context.Context, d relay.Delivery) relay.Result {
	p.mu.Lock()
	p.asked++
	n, down, script := p.asked, p.down, p.script
	p.open++
	p.most = max(p.most, p.open)
	p.mu.Unlock()
	defer func() {
		p.mu.Lock()
		p.open--
		p.mu.Unlock()
	}()
	if p.whole != nil {
		return p.whole(ctx, d)
	}
	if p.isDark() {
		err := waits(ctx, d, 18*time.Second)
		return all(d, relay.RcptResult{Stage: relay.Connect, Err: cmp.Or(err, os.ErrDeadlineExceeded)})
	}
	if down {
		return all(d, relay.RcptResult{Stage: relay.Connect, Err: errors.New("connection refused")})
	}
	if script != nil {
		if r := script(n, d); r != nil {
			return *r
		}
	}
	return p.take(ctx, d)
}

// Warm is ready at once, or refuses.
func (p *peer) Offers() relay.Offers   { return relay.Offers{} }
func (p *peer) Learned() relay.Learned { return relay.Learned{} }

func (p *peer) Warm(ctx context.Context, _ bool) error {
	p.mu.Lock()
	p.warmed++
	warm, down, dark := p.warm, p.down, p.dark
	p.mu.Unlock()
	switch {
	case warm != nil:
		return warm(ctx)
	case dark:
		<-ctx.Done()
		return &relay.Error{Stage: relay.Connect, Err: ctx.Err()}
	case down:
		return &relay.Error{Stage: relay.Connect, Err: errors.New("connection refused")}
	}
	return nil
}

// waits is how relay waits before the reply to MAIL.
func waits(ctx context.Context, d relay.Delivery, how time.Duration) error {
	end := time.NewTimer(how)
	defer end.Stop()
	var quiet <-chan time.Time
	if d.Quiet > 0 {
		ticker := time.NewTicker(d.Quiet)
		defer ticker.Stop()
		quiet = ticker.C
	}
	for {
		select {
		case <-end.C:
			return nil
		case <-quiet:
			d.OnQuiet(relay.Connect)
		case <-d.GiveUp:
			return relay.ErrGivenUp
		case <-ctx.Done():
			return fmt.Errorf("%w: %w", relay.ErrStopped, context.Cause(ctx))
		}
	}
}

// overtaken is what comes of a delivery that may not begin.
func overtaken(d relay.Delivery) relay.Result {
	return all(d, relay.RcptResult{Stage: relay.Mail, Err: relay.ErrPassedOver})
}

// take is the normal course: every recipient is accepted.
func (p *peer) take(ctx context.Context, d relay.Delivery) relay.Result {
	if !d.Begin() {
		return overtaken(d)
	}
	body, err := d.Body(ctx)
	if err != nil {
		return stopped(d, err)
	}
	defer body.Close()
	text, err := io.ReadAll(body)
	if err != nil {
		return stopped(d, err)
	}
	accepted := make([]int, len(d.Recipients))
	for i := range accepted {
		accepted[i] = i
	}
	if err := d.BeforeDot(ctx, accepted, nil); err != nil {
		return stopped(d, err)
	}
	if err := ctx.Err(); err != nil {
		return stopped(d, err)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, r := range d.Recipients {
		p.took = append(p.took, r.Address)
	}
	if p.seen != nil {
		p.seen(d.Recipients)
	}
	p.froms = append(p.froms, d.ReversePath)
	p.bodies = append(p.bodies, string(text))
	return all(d, relay.RcptResult{Stage: relay.Dot, Reply: relay.Reply{Code: 250, Enhanced: "2.0.0", Text: "ok"}})
}

func all(d relay.Delivery, r relay.RcptResult) relay.Result {
	return relay.Result{Rcpts: slices.Repeat([]relay.RcptResult{r}, len(d.Recipients)), Served: r.Stage >= relay.Mail}
}

func stopped(d relay.Delivery, err error) relay.Result {
	r := all(d, relay.RcptResult{Stage: relay.Body, Err: fmt.Errorf("%w: %w", relay.ErrStopped, err)})
	r.Stopped = err
	return r
}

// says answers every recipient alike.
func says(stage relay.Stage, code int, enhanced, text string) func(int, relay.Delivery) *relay.Result {
	return func(_ int, d relay.Delivery) *relay.Result {
		r := all(d, relay.RcptResult{Stage: stage, Reply: relay.Reply{Code: code, Enhanced: enhanced, Text: text}})
		return &r
	}
}

// world is a dispatcher with everything round it, in a synctest bubble.
type world struct {
	t       *testing.T
	store   queue.Store
	session queue.Session
	health  *health.Monitor
	d       *Dispatcher
	peers   map[string]*peer
	wrap    func(queue.Session) queue.Session
	edit    func(*Config)
	log     io.Writer
	limits  health.Limits // of the first upstream
	file    string        // of refused senders
	network func() string // names where we are
	online  time.Duration // odometer of the last run
	end     func()
}

// closedList fails the test at a log line that is none of the events people
// and programs may rely on.
type closedList struct {
	slog.Handler
	t *testing.T
}

func (h closedList) Handle(ctx context.Context, r slog.Record) error {
	switch r.Message {
	case "accepted", "rejected", "attempt", "delivered", "deferred", "failed", "expired", "in-doubt", "notified", "held",
		"upstream", "network", "settle-retry", "alert", "start", "stop":
	default:
		h.t.Errorf("the log says %q", r.Message)
	}
	return h.Handler.Handle(ctx, r)
}

func (h closedList) WithAttrs(as []slog.Attr) slog.Handler {
	return closedList{h.Handler.WithAttrs(as), h.t}
}

// live runs a test inside a bubble with the named upstreams, in order.
func live(t *testing.T, names []string, test func(w *world)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := &world{t: t, store: queuetest.NewMemory(), peers: map[string]*peer{}}
		for _, n := range names {
			w.peers[n] = &peer{name: n}
		}
		w.start(names)
		defer func() { w.end() }()
		test(w)
	})
}

func (w *world) start(names []string) {
	var err error
	if w.session, err = w.store.Join(context.Background()); err != nil {
		w.t.Fatal(err)
	}
	if w.wrap != nil {
		w.session = w.wrap(w.session)
	}
	if w.log == nil {
		w.log = w.t.Output()
	}
	log := slog.New(closedList{slog.NewTextHandler(w.log, nil), w.t})
	var targets []health.Target
	for _, n := range names {
		targets = append(targets, health.Target{Name: n, Probe: w.peers[n].probe})
	}
	targets[0].Limits = w.limits
	w.health = health.New(health.Options{Targets: targets, Log: log})
	w.d = New(Options{Store: w.store, Session: w.session, Health: w.health, Hostname: "gw.example.org", File: w.file, Network: w.network, Log: log}, w.config(names))
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { _ = w.health.Run(ctx) })
	dctx, dcancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = w.d.Run(dctx)
	}()
	w.health.AtLeast(w.online)
	odometer := w.health.Odometer
	w.end = func() {
		w.online = max(w.online, odometer())
		dcancel()
		<-done
		cancel()
		wg.Wait()
	}
	synctest.Wait()
}

func (w *world) config(names []string) Config {
	c := Config{
		Policy: Policy{Schedule: Schedule{30 * time.Second, 30 * time.Minute}, Expire: 5 * 24 * time.Hour, PolicyHold: 24 * time.Hour},
		Keep:   7 * 24 * time.Hour, Upstreams: map[string]Upstream{},
	}
	var routes []Route
	for _, n := range names {
		routes = append(routes, Route{Name: n})
		c.Upstreams[n] = Upstream{Relay: w.peers[n], Slots: 16}
	}
	c.Routes = NewRoutes(routes)
	if w.edit != nil {
		w.edit(&c)
	}
	return c
}

// restart starts again with what it had, after a change of edit or wrap.
func (w *world) restart(names []string) {
	w.end()
	w.start(names)
}

// do has a person do something to all mail.
func (w *world) do(v queue.Verb) {
	w.t.Helper()
	states := []queue.State{queue.Queued, queue.Leased, queue.Held}
	if _, err := w.store.Apply(context.Background(), queue.Filter{States: states}, queue.Op{Verb: v, Reason: "by the test", By: "operator", At: time.Now(), Notice: w.d.Notice}); err != nil {
		w.t.Error(err)
	}
}

// lost is an upstream that took the dot and was not heard of again.
func lost(d relay.Delivery) *relay.Result {
	r := all(d, relay.RcptResult{Stage: relay.Dot, Err: errors.New("connection reset"), InDoubt: true})
	return &r
}

func (w *world) submit(from string, rcpts ...string) queue.ID {
	w.t.Helper()
	return w.submitAt(time.Now(), from, rcpts...)
}

// submitAt does what the front door does.
func (w *world) submitAt(at time.Time, from string, rcpts ...string) queue.ID {
	w.t.Helper()
	id := queue.NewID()
	draft, err := w.session.NewDraft(context.Background(), id)
	if err != nil {
		w.t.Fatal(err)
	}
	fmt.Fprintf(draft, "Subject: %s\r\n\r\nhello\r\n", id)
	n := queue.NewMessage{ID: id, Accepted: at.UTC(), ReversePath: from, Recipients: queue.To(rcpts...)}
	first := w.d.File(&n)
	c, err := draft.Commit(context.Background(), first, n)
	if err != nil {
		w.t.Fatal(err)
	}
	if first != "" && !w.d.Take(c) {
		if err := w.session.Requeue(context.Background(), c); err != nil {
			w.t.Fatal(err)
		}
	}
	return id
}

func (w *world) get(id queue.ID) queue.Message {
	w.t.Helper()
	m, err := w.store.Get(context.Background(), id)
	if err != nil {
		w.t.Fatal(err)
	}
	return m
}

func (w *world) wantState(id queue.ID, want queue.State) queue.Message {
	w.t.Helper()
	m := w.get(id)
	if m.State != want {
		w.t.Errorf("%s is %s, want %s; timeline %+v", id, m.State, want, m.Attempts)
	}
	return m
}

// pass lets fake time pass and everything settle.
func (w *world) pass(d time.Duration) {
	w.meet()
	time.Sleep(d)
	synctest.Wait()
	w.meet()
}

// meet tells the race detector what the standing still of time does not: what a
// peer's script notes and what the test reads are never touched at once.
func (w *world) meet() {
	for _, p := range w.peers {
		_ = p.isDark() // for its mutex
	}
}

// wantTook compares how many recipients each upstream was given.
func (w *world) wantTook(want map[string]int) {
	w.t.Helper()
	got := map[string]int{}
	for n, p := range w.peers {
		if _, took := p.count(); took > 0 {
			got[n] = took
		}
	}
	if !maps.Equal(got, want) {
		w.t.Errorf("upstreams took %v, want %v", got, want)
	}
}
