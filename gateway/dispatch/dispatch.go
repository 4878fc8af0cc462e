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
	Warm(ctx context.Context, anew bool) error
	Offers() relay.Offers
	Learned() relay.Learned
}

// Health says which upstream can be used now, and is told how it went.
type Health interface {
	Standing(name string) health.Standing
	Start(name string, rcpts int) (health.Pass, bool)
	Learn(name string, l health.Learned)
	Down(name string) <-chan struct{}
	Changed() <-chan struct{}
	Demand(waiting []string)
	Odometer() time.Duration
	Status() []health.Status
}

// Options are the parts a Dispatcher works with; it owns none of them.
type Options struct {
	Store    queue.Store
	Session  queue.Session
	Health   Health
	Hostname string // names us in notices
	// File keeps who was refused where as a sender, over restarts; "" for none.
	File string
	// Network names the one we are in; nil: it is not known.
	Network func() string
	// Passed is told the first choice of mail that left by another upstream, nil
	// for nobody. It must be quick.
	Passed func(first string)
	Log    *slog.Logger
}

// Config is what may change while it runs.
type Config struct {
	Policy
	Keep      time.Duration // how long finished messages stay visible
	Hedge     time.Duration // an upstream without a sign of life for so long has another got ready beside it; 0: never
	Upstreams map[string]Upstream
}

// Upstream is where a route's messages go and how many at a time.
type Upstream struct {
	Relay
	Slots int
	Rules relay.Rules
}

// Dispatcher moves queued mail to the upstreams.
type Dispatcher struct {
	Options
	passes sync.WaitGroup // with what they leave behind: quiet legs, hedges
	cut    chan struct{}  // closed when open passes are waited for no longer
	moved  chan struct{}  // mail refused for where we were is to be filed anew

	mu      sync.Mutex // guards what follows; never held over I/O
	config  Config
	slots   slots               // taken: open passes, legs they left behind, hedges, fresh mail that was promised one, and asked
	asked   slots               // of them, what the claim under way may bring
	begun   slots               // of them, deliveries that ask the upstream now
	hedges  map[string]bool     // upstreams being got ready beside a quiet one
	wished  map[string]bool     // upstreams of which a hedge would like a slot
	backlog bool                // the last claim brought all it was allowed to
	lanes   map[string][]string // every lane mail was filed in, with its upstreams
	senders senders
	storms  storms            // of notices
	era     int               // changes so far, of the network and of the configuration, after which a refusal is another matter
	placed  bool              // mail that such a change sets free may be in the queue
	waiting []string          // upstreams that mail waits for, as health was told
	filing  int               // open claims that only file anew
	served  map[string]string // by upstream: the lane that had the last turn
	turns   map[string]int    // by lane: claims that brought something
	lately  storms            // of mail, by author
	wake    func()            // ends the claim that waits now
	open    func(queue.Claim) // starts a pass; nil while Run does not run
}

// New returns a Dispatcher that works once Run is called.
func New(o Options, c Config) *Dispatcher {
	d := &Dispatcher{
		Options: o, cut: make(chan struct{}), moved: make(chan struct{}, 1), wake: func() {},
		slots: slots{}, begun: slots{}, hedges: map[string]bool{}, wished: map[string]bool{}, storms: storms{}, lately: storms{},
		placed: true, // by a former run, maybe elsewhere
	}
	d.Set(c)
	d.recall(time.Now())
	return d
}

// Set takes a new configuration. Mail in lanes it does not know is filed anew,
// and mail that all have refused is asked for again; open passes end under the
// old one.
func (d *Dispatcher) Set(c Config) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.config, d.lanes, d.senders = c, map[string][]string{}, senders{}
	d.served, d.turns = map[string]string{}, map[string]int{}
	for k := range 2 * crowds {
		d.learn(c.lanes(c.Routes.Eligible(&queue.Message{}), k))
	}
	d.era++
	d.wake()
	d.move()
}

// knowing is c with what is known of its upstreams now.
func (c Config) knowing() Config {
	c.Routes = c.Routes.Knowing(func(name string) (o relay.Offers) {
		if u, ok := c.Upstreams[name]; ok {
			o = u.Offers()
		}
		return o
	})
	return c
}

// Pardon forgets who was refused where as a sender: a person who acts on the
// queue may have mended it, and must not wait for a day.
func (d *Dispatcher) Pardon() {
	d.mu.Lock()
	defer d.mu.Unlock()
	clear(d.senders)
}

// learn makes a lane known, so that it is claimed from. The caller holds d.mu.
func (d *Dispatcher) learn(lane string) {
	if _, known := d.lanes[lane]; known {
		return
	}
	if names, ok := d.config.parse(lane); ok {
		d.lanes[lane] = names
		d.wake()
	}
}

// filed learns a lane in which mail begins to wait, and tells health for whom.
// The caller holds d.mu.
func (d *Dispatcher) filed(lane string) {
	d.learn(lane)
	d.want(lane)
}

// Permit says why a sender's mail can never leave, to anybody or to a recipient,
// so that a client hears it at MAIL or RCPT instead of finding its mail held.
// What it does not know yet, authors and size, could only be against it too.
func (d *Dispatcher) Permit(reversePath, recipient string) error {
	m := queue.Message{ReversePath: reversePath}
	switch {
	case recipient == "":
	case !strings.Contains(recipient, "@"): // postmaster, who is never refused (RFC 5321 4.5.1)
		return nil
	default:
		m.Recipients = []queue.Recipient{{Address: recipient, State: queue.Pending}}
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if why := d.config.Routes.NoRoute(&m); why != "" {
		return errors.New(why)
	}
	return nil
}

// File decides where new mail waits. first names the upstream of which a slot
// was set aside for it, "" when it should be claimed like any other. Take or
// Unfile must follow.
func (d *Dispatcher) File(n *queue.NewMessage) (first string) {
	now := d.now()
	n.Online = now.Online
	d.mu.Lock()
	defer d.mu.Unlock()
	m := n.New(0)
	d.sort(&m, now.Time)
	f, ok := d.config.knowing().File(&m, nil, n.Accepted, now)
	if !ok { // the configuration changed since MAIL: the empty lane is filed anew, then held
		f = queue.Filing{Due: n.Accepted, Age: n.Accepted}
	}
	n.Filing = f
	d.filed(f.Lane)
	if first = d.first(d.lanes[f.Lane]); d.open == nil || first == "" || d.free(first) <= 0 || isBulk(f.Lane) && d.forBulk(first, d.lanes[f.Lane]) <= 0 {
		return ""
	}
	d.slots[first]++
	return first
}

// Take starts the pass of a message that was born leased, in the slot that File
// set aside. false: nothing is sent any more, and the claim must be given back.
func (d *Dispatcher) Take(c queue.Claim) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.open == nil {
		d.release(c.Upstream)
		return false
	}
	d.open(c)
	return true
}

// Unfile gives back the slot that File set aside for mail that was not stored.
func (d *Dispatcher) Unfile(first string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.release(first)
}

// Run claims and delivers until ctx ends. Passes that have not sent their dot
// are then given back untouched; the others are awaited for a minute.
func (d *Dispatcher) Run(ctx context.Context) error {
	d.mu.Lock()
	d.open = func(c queue.Claim) { d.passes.Go(func() { d.pass(ctx, c) }) }
	d.mu.Unlock()
	helpers, stop := context.WithCancel(ctx)
	var wg sync.WaitGroup
	wg.Go(func() { d.follow(helpers) })
	wg.Go(func() { d.sweep(helpers) })
	wg.Go(func() { d.roam(helpers) })
	wg.Go(func() { d.remember(helpers) })
	err := d.claim(ctx)
	stop()
	wg.Wait()
	d.drain()
	return err
}

// follow ends a waiting claim whenever an upstream's state changes, and counts
// now and then for which upstreams mail waits.
func (d *Dispatcher) follow(ctx context.Context) {
	again := time.NewTicker(5 * time.Second)
	defer again.Stop()
	var locked []string
	for {
		d.recount(ctx)
		locked = d.unlock(ctx, locked)
		select {
		case <-ctx.Done():
			return
		case <-again.C:
		case <-d.Health.Changed():
			d.mu.Lock()
			d.wake()
			d.mu.Unlock()
		}
	}
}

func (d *Dispatcher) claim(ctx context.Context) error {
	told := false
	for ctx.Err() == nil {
		wait, cancel := context.WithCancel(ctx)
		r, again := d.request(cancel)
		timer := time.AfterFunc(again, cancel)
		claims, err := d.Session.Claim(wait, r)
		timer.Stop()
		cancel()
		d.got(claims)
		switch {
		case errors.Is(err, queue.ErrPoisoned), errors.Is(err, queue.ErrClosed), errors.Is(err, queue.ErrFenced):
			return err
		case err != nil && ctx.Err() == nil: // a full disk: it may heal
			if !told {
				d.Log.Warn("alert", "text", "mail cannot be taken from the queue; it is tried again: "+err.Error())
			}
			told = true
			pause(ctx, time.Second)
		case len(claims) > 0:
			told = false
		}
	}
	return nil
}

// request says what can be taken now, and remembers how to take it back; again
// is when more may be without anything that would end the claim. The slots it
// asks for are taken from then on.
func (d *Dispatcher) request(wake func()) (r queue.ClaimRequest, again time.Duration) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.wake = wake
	d.asked = slots{}
	r = queue.ClaimRequest{Except: make(map[string]bool, len(d.lanes)), Aged: d.filing < maxFiling, Max: maxFiling - d.filing}
	again = time.Hour
	type choice struct {
		first string
		keeps bool // from bulk
	}
	choices := map[string]choice{} // by list of upstreams, which many lanes share
	for lane, names := range d.lanes {
		r.Except[lane] = true
		_, list, _ := strings.Cut(lane, "/")
		of, seen := choices[list]
		first := of.first
		if !seen {
			first = d.first(names)
			bulk := d.forBulk(first, names)
			of = choice{first, bulk <= 0}
			choices[list] = of
			if of.keeps {
				again = min(again, paced)
			}
			if _, asked := d.asked[first]; !asked {
				n, wait := d.share(first)
				again = min(again, wait)
				if !of.keeps {
					n = min(n, bulk)
				}
				if n > 0 {
					d.asked[first] = n
					d.slots[first] += n
				}
			}
		}
		if d.asked[first] > 0 && !(of.keeps && isBulk(lane)) {
			r.Lanes = append(r.Lanes, queue.LaneRequest{Lane: lane, Upstream: first, Newest: d.turns[lane]%4 == 3})
		}
	}
	if r.Max <= 0 {
		r.Except = nil
	}
	r.Slots = d.asked
	d.inTurn(r.Lanes)
	return r, again
}

// got starts the passes of what a claim brought, in the slots it asked for.
func (d *Dispatcher) got(claims []queue.Claim) {
	d.mu.Lock()
	defer d.mu.Unlock()
	brought := slots{}
	for _, c := range claims {
		if c.Upstream == "" {
			d.filing++
		} else {
			d.slots[c.Upstream]++
			brought[c.Upstream]++
		}
		d.open(c)
	}
	d.had(claims)
	if len(d.asked) > 0 {
		d.backlog = false
	}
	for u, n := range d.asked {
		d.slots[u] -= n
		d.backlog = d.backlog || n > 1 && brought[u] == n // the one of a trial shows nothing
	}
	d.asked = nil
}

// recount finds out anew which upstreams mail waits for. The lanes are counted
// only when an upstream is not well.
func (d *Dispatcher) recount(ctx context.Context) {
	d.mu.Lock()
	ready := !slices.ContainsFunc(d.config.Routes.list, func(r Route) bool { return d.unwell(r.Name) })
	d.mu.Unlock()
	var stats queue.Stats
	if !ready {
		var err error
		if stats, err = d.Store.Stats(ctx); err != nil {
			return
		}
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	var waiting []string
	for lane, n := range stats.Lanes {
		if n > 0 {
			waiting = append(waiting, d.lanes[lane]...)
		}
	}
	slices.Sort(waiting)
	waiting = slices.Compact(waiting) // many lanes have the same
	d.demand(slices.DeleteFunc(waiting, func(u string) bool { return !d.unwell(u) }))
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
	d.catchUp(ctx, 0)
	last := time.Now()
	for n := 0; pause(ctx, time.Minute); n++ {
		if back := setBack(last, time.Now()); back > time.Second {
			d.catchUp(ctx, back)
		}
		last = time.Now()
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
