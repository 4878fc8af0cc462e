package dispatch

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"mailroam/gateway/relay"
	"mailroam/health"
	"mailroam/queue"
)

// Relay carries messages to one upstream.
type Relay interface {
	Deliver(context.Context, relay.Delivery) relay.Result
}

// Health says which upstream can be used now, and is told how it went.
type Health interface {
	Standing(name string) health.Standing
	Start(name string) (health.Pass, bool)
	Down(name string) <-chan struct{}
	Changed() <-chan struct{}
	Demand(waiting []string)
	Odometer() time.Duration
}

// Options are the parts a Dispatcher works with; it owns none of them.
type Options struct {
	Store    queue.Store
	Session  queue.Session
	Health   Health
	Hostname string // names us in notices
	Log      *slog.Logger
}

// Config is what may change while it runs.
type Config struct {
	Policy
	Keep      time.Duration // how long finished messages stay visible
	Upstreams map[string]Upstream
}

// Upstream is where a route's messages go and how many at a time.
type Upstream struct {
	Relay
	Slots int
}

// Dispatcher moves queued mail to the upstreams.
type Dispatcher struct {
	Options
	passes sync.WaitGroup
	cut    chan struct{} // closed when open passes are waited for no longer

	mu      sync.Mutex // guards what follows; never held over I/O
	config  Config
	slots   slots
	lanes   map[string][]string // every lane mail was filed in, with its upstreams
	senders senders
	waiting []string          // upstreams that mail waits for, as health was told
	filing  int               // open claims that only file anew
	turn    int               // claims so far
	wake    func()            // ends the claim that waits now
	open    func(queue.Claim) // starts a pass; nil while Run does not run
}

// New returns a Dispatcher that works once Run is called.
func New(o Options, c Config) *Dispatcher {
	d := &Dispatcher{Options: o, cut: make(chan struct{}), wake: func() {}, slots: slots{}, senders: senders{}}
	d.Set(c)
	return d
}

// Set takes a new configuration. Mail in lanes it does not know is filed anew;
// open passes end under the old one.
func (d *Dispatcher) Set(c Config) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.config, d.lanes = c, map[string][]string{}
	d.learn(c.Routes.lane(c.Routes.Eligible("")))
	d.wake()
}

// learn makes a lane known, so that it is claimed from. The caller holds d.mu.
func (d *Dispatcher) learn(lane string) {
	if _, known := d.lanes[lane]; known {
		return
	}
	if names := d.config.Routes.parse(lane); names != nil {
		d.lanes[lane] = names
		d.wake()
	}
}

// Permit says why a sender's mail can never leave, so that a client hears it
// at MAIL instead of finding its mail held.
func (d *Dispatcher) Permit(reversePath string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.config.Routes.Eligible(reversePath)) == 0 {
		return fmt.Errorf("no upstream may send for <%s>: add it to the senders of an [[upstream]]", queue.Printable(reversePath, 256))
	}
	return nil
}

// File decides where new mail waits. first names the upstream whose free slot
// can take it at once, "" when it should be claimed like any other.
func (d *Dispatcher) File(n *queue.NewMessage) (first string) {
	now := d.now()
	n.Online = now.Online
	d.mu.Lock()
	defer d.mu.Unlock()
	m := queue.Message{Accepted: n.Accepted, Online: n.Online, ReversePath: n.ReversePath}
	f, ok := d.config.File(&m, nil, n.Accepted, now)
	if !ok { // the configuration changed since MAIL: the empty lane is filed anew, then held
		f = queue.Filing{Due: n.Accepted, Age: n.Accepted}
	}
	n.Filing = f
	d.learn(f.Lane)
	d.want(f.Lane)
	if first = d.first(d.lanes[f.Lane]); first == "" || d.free(first) <= 0 {
		return ""
	}
	return first
}

// Take starts the pass of a message that was born leased. false: no slot is
// free after all, and the claim must be given back.
func (d *Dispatcher) Take(c queue.Claim) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.open == nil || d.free(c.Upstream) <= 0 {
		return false
	}
	d.open(c)
	return true
}

// Run claims and delivers until ctx ends. Passes that have not sent their dot
// are then given back untouched; the others are awaited for a minute.
func (d *Dispatcher) Run(ctx context.Context) error {
	d.mu.Lock()
	d.open = func(c queue.Claim) { // under d.mu
		if c.Upstream == "" {
			d.filing++
		} else {
			d.slots[c.Upstream]++
		}
		d.passes.Go(func() { d.pass(ctx, c) })
	}
	d.mu.Unlock()
	helpers, stop := context.WithCancel(ctx)
	var wg sync.WaitGroup
	wg.Go(func() { d.follow(helpers) })
	wg.Go(func() { d.sweep(helpers) })
	err := d.claim(ctx)
	stop()
	wg.Wait()
	d.drain()
	return err
}

// follow ends a waiting claim whenever an upstream's state changes, and now and
// then in any case: which upstreams mail waits for is counted at each claim.
func (d *Dispatcher) follow(ctx context.Context) {
	recount := time.NewTicker(5 * time.Second)
	defer recount.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-d.Health.Changed():
		case <-recount.C:
		}
		d.mu.Lock()
		d.wake()
		d.mu.Unlock()
	}
}

func (d *Dispatcher) claim(ctx context.Context) error {
	for ctx.Err() == nil {
		wait, cancel := context.WithCancel(ctx)
		req := d.request(ctx, cancel)
		claims, err := d.Session.Claim(wait, req)
		cancel()
		switch {
		case errors.Is(err, queue.ErrPoisoned), errors.Is(err, queue.ErrClosed), errors.Is(err, queue.ErrFenced):
			return err
		case err != nil && ctx.Err() == nil: // a full disk: it may heal
			d.Log.Warn("alert", "text", "mail cannot be taken from the queue: "+err.Error())
			pause(ctx, time.Second)
		}
		d.mu.Lock()
		for _, c := range claims {
			d.open(c)
		}
		d.mu.Unlock()
	}
	return nil
}

// request says what can be taken now, and remembers how to take it back.
func (d *Dispatcher) request(ctx context.Context, wake func()) queue.ClaimRequest {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.wake = wake
	d.turn++
	r := queue.ClaimRequest{
		Slots: map[string]int{}, Except: make(map[string]bool, len(d.lanes)),
		Turn: d.turn, Aged: d.filing < maxFiling, Max: maxFiling - d.filing,
	}
	ready := true
	for lane, names := range d.lanes {
		r.Except[lane] = true
		if first := d.first(names); first != "" && d.free(first) > 0 {
			r.Slots[first] = d.free(first)
			r.Lanes = append(r.Lanes, queue.LaneRequest{Lane: lane, Upstream: first, Newest: d.turn%4 == 3})
		}
		ready = ready && !slices.ContainsFunc(names, d.unwell)
	}
	if r.Max == 0 {
		r.Except = nil
	}
	slices.SortFunc(r.Lanes, func(a, b queue.LaneRequest) int { return strings.Compare(a.Lane, b.Lane) })
	d.recount(ctx, ready)
	return r
}

// recount finds out anew which upstreams mail waits for. The lanes are counted
// only when an upstream is not well.
func (d *Dispatcher) recount(ctx context.Context, ready bool) {
	var waiting []string
	if !ready {
		stats, err := d.Store.Stats(ctx)
		if err != nil {
			return
		}
		for lane, n := range stats.Lanes {
			if n > 0 {
				waiting = append(waiting, slices.DeleteFunc(slices.Clone(d.lanes[lane]), func(u string) bool { return !d.unwell(u) })...)
			}
		}
		slices.Sort(waiting)
		waiting = slices.Compact(waiting)
	}
	d.demand(waiting)
}

// want adds the upstreams of a lane that mail was just filed in. The caller
// holds d.mu.
func (d *Dispatcher) want(lane string) {
	waiting := d.waiting
	for _, n := range d.lanes[lane] {
		if d.unwell(n) && !slices.Contains(waiting, n) {
			waiting = append(slices.Clone(waiting), n)
		}
	}
	slices.Sort(waiting)
	d.demand(waiting)
}

func (d *Dispatcher) unwell(name string) bool { return d.Health.Standing(name).Rank != health.Ready }

func (d *Dispatcher) demand(waiting []string) {
	if !slices.Equal(waiting, d.waiting) {
		d.waiting = waiting
		d.Health.Demand(waiting)
	}
}

// maxFiling bounds the open claims that send nothing.
const maxFiling = 64

// first is the upstream a claim of a lane would name: the best standing, in
// order of preference. Being full does not matter here. The caller holds d.mu.
func (d *Dispatcher) first(names []string) string {
	best, rank := "", health.Unusable
	for _, n := range names {
		if r := d.Health.Standing(n).Rank; r > rank {
			best, rank = n, r
		}
	}
	return best
}

// free counts the messages an upstream can take now. An upstream on trial
// takes one. The caller holds d.mu.
func (d *Dispatcher) free(name string) int {
	n := d.config.Upstreams[name].Slots
	if d.Health.Standing(name).Trial {
		n = min(n, 1)
	}
	return n - d.slots[name]
}

// drain waits for the open passes. Those past their dot have a minute to hear
// the answer; what then is still open stays leased, and so in doubt.
func (d *Dispatcher) drain() {
	d.mu.Lock()
	d.open = nil
	d.mu.Unlock()
	ended := make(chan struct{})
	go func() {
		d.passes.Wait()
		close(ended)
	}()
	limit := time.NewTimer(time.Minute)
	defer limit.Stop()
	select {
	case <-ended:
	case <-limit.C:
		close(d.cut)
		d.Log.Warn("stop", "text", "some answers to a final dot did not come within a minute: these messages are in doubt")
	}
}

// sweep forgets finished mail after its time, and reminds of notices that
// nobody could be told about.
func (d *Dispatcher) sweep(ctx context.Context) {
	for n := 0; pause(ctx, time.Minute); n++ {
		if n%(24*60) == 0 {
			d.remind(ctx)
		}
		d.mu.Lock()
		keep := d.config.Keep
		d.mu.Unlock()
		now := time.Now()
		if _, err := d.Store.Apply(ctx, queue.Filter{States: []queue.State{queue.Done}, Before: now.Add(-keep)}, queue.Op{Verb: queue.OpForget, At: now}); err != nil && ctx.Err() == nil {
			d.Log.Warn("alert", "text", "finished mail cannot be forgotten: "+err.Error())
		}
	}
}

// remind tells once a day how many messages with the null reverse-path are
// held: no notice can tell anybody, and silence would lose them.
func (d *Dispatcher) remind(ctx context.Context) {
	n := 0
	for _, err := range d.Store.List(ctx, queue.Filter{States: []queue.State{queue.Held}, From: "<>"}) {
		if err != nil {
			return
		}
		n++
	}
	if n > 0 {
		d.Log.Warn("alert", "text", fmt.Sprintf("%d notices could not be delivered and are held: read them with `mailroam queue show`, end them with `mailroam queue drop`", n))
	}
}

func (d *Dispatcher) now() Now { return Now{Time: time.Now(), Online: d.Health.Odometer()} }

// pause reports whether the time passed before ctx ended.
func pause(ctx context.Context, t time.Duration) bool {
	timer := time.NewTimer(t)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}

// slots counts the open passes of each upstream.
type slots map[string]int
