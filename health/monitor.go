package health

import (
	"cmp"
	"io"
	"log/slog"
	"net/netip"
	"sync"
	"time"

	"mailroam/health/netmon"
)

// Target is an upstream to watch.
type Target struct {
	Name  string
	Probe Prober
	// Account changes when what the upstream is told at login does. It is
	// kept with the state, so that account faults are forgotten when the
	// secret was changed while we did not run. "" is like any other value.
	Account string
	// Hosts are the names or addresses it is reached at. Upstreams that share
	// one are one witness when the network is judged.
	Hosts []string
	// Addrs are the IP addresses it was last found at; nil, or none: unknown.
	Addrs func() []netip.Addr
	// Unproven: whoever answers is believed, so its answer proves nothing about
	// the network, and under a suspected portal nothing is sent to it.
	Unproven bool
}

// Failback is when mail returns to an upstream that was down.
type Failback struct {
	NetworkChange bool          // not before the network changes
	After         time.Duration // not before it has been up for so long; 0: as soon as it is up
}

// Options are what a Monitor needs. Only Targets must be set.
type Options struct {
	Targets           []Target
	Interval, Timeout time.Duration // default 60 s and 5 s
	Rise              int           // default 2
	Failback          Failback
	Network           netmon.Snapshot // the network as it is now
	File              string          // keeps the state; "" for none
	// Online says whether this machine has a network. nil: when it has an
	// address that is not loopback, or an upstream answered in the last
	// minute.
	Online func() bool
	Log    *slog.Logger
}

// pace sets how to probe; what is zero takes its default.
func (o *Options) pace(interval, timeout time.Duration, rise int) {
	o.Interval = cmp.Or(interval, time.Minute)
	o.Timeout = cmp.Or(timeout, 5*time.Second)
	o.Rise = cmp.Or(rise, 2)
}

// Rank is how good an upstream is at the moment: the best one is used.
type Rank int

// The ranks, worst first.
const (
	Unusable   Rank = iota
	LastResort      // suspect: the last probe failed
	Returning       // up, but it was down and still owes passes
	Ready           // up, or not known yet
)

// Standing is what a dispatcher chooses by.
type Standing struct {
	Rank Rank
	// Trial: at most one delivery may be under way. While it is, the rank is
	// Unusable.
	Trial bool
}

// Monitor watches upstreams. Its methods are safe for concurrent use, and all
// but Run return without waiting for the network.
type Monitor struct {
	opts    Options
	changed chan struct{}
	wake    chan struct{} // for the loop: a deadline may have come nearer
	saving  sync.Mutex    // held while the file is written, never inside mu

	mu        sync.Mutex // guards all below, and every upstream
	upstreams map[string]*upstream
	order     []string
	answered  time.Time // when an upstream last answered TCP
	odometer  odometer
	dirty     bool      // the file is behind
	logs      []func()  // to be written when mu is released
	clock     time.Time // the last look at it
}

// upstream is a target with what is known of it.
type upstream struct {
	Target
	tracker
	pace    pace
	probing bool
	trial   bool      // a trial is under way
	waits   bool      // mail waits for it
	waited  time.Time // when mail last did
	served  time.Time // when it last took mail

	// What was last told: to the log, to Changed and to Down.
	told     Standing
	toldWord string
	toldKind Kind
	down     chan struct{}
}

// New reads opts.File. A file that cannot be read is reported and begun
// afresh.
func New(opts Options) *Monitor {
	opts.pace(opts.Interval, opts.Timeout, opts.Rise)
	if opts.Log == nil {
		opts.Log = slog.New(slog.NewTextHandler(io.Discard, nil))
	}
	m := &Monitor{
		opts: opts, changed: make(chan struct{}, 1), wake: make(chan struct{}, 1),
		upstreams: map[string]*upstream{}, clock: time.Now(),
	}
	now := wall()
	saved := m.load(now)
	m.mu.Lock()
	defer m.unlock()
	m.odometer.total = saved.Odometer
	for _, t := range opts.Targets {
		m.add(t, saved.Upstreams[t.Name], now)
	}
	return m
}

// wall is now without the monotonic clock, which stands still while the
// machine sleeps: deadlines must not.
func wall() time.Time { return time.Now().Round(0) }

// add begins to watch a target where a former run left off. The caller holds
// mu.
func (m *Monitor) add(t Target, was savedUpstream, now time.Time) {
	u := &upstream{Target: t, tracker: was.tracker, down: make(chan struct{})}
	if was.Account != t.Account {
		u.tracker = u.forgive(now)
	}
	if u.Reach != down { // it may have been long ago that it was up
		u.tracker = u.move(unknown, Fault{}, now)
		u.Owed = 0
	}
	u.pace = downPace(now, time.Time{})
	u.told, u.toldWord, u.toldKind = u.standing(now), u.word(now), u.Breaker.Kind
	if u.blocked(now) {
		close(u.down)
	}
	m.upstreams[t.Name] = u
	m.order = append(m.order, t.Name)
}

func (u *upstream) standing(now time.Time) Standing {
	s := Standing{Rank: u.rank(now), Trial: !u.Breaker.closed()}
	if s.Trial && u.trial {
		s.Rank = Unusable
	}
	return s
}

// blocked says that deliveries being set up should not go on. A trial under
// way should: it is what the breaker waits for.
func (u *upstream) blocked(now time.Time) bool {
	return u.Reach == down || u.Breaker.open(now) && !u.trial
}

// Standing says how good an upstream is now. One that is not watched is
// Unusable.
func (m *Monitor) Standing(name string) Standing {
	m.mu.Lock()
	defer m.mu.Unlock()
	if u := m.upstreams[name]; u != nil {
		return u.standing(wall())
	}
	return Standing{}
}

// Down is closed when the upstream can no longer be used, or a probe of it
// fails. Ask for it after Start: once the upstream is usable again the channel
// is a fresh one. It is nil for an upstream that is not watched.
func (m *Monitor) Down(name string) <-chan struct{} {
	m.mu.Lock()
	defer m.mu.Unlock()
	if u := m.upstreams[name]; u != nil {
		return u.down
	}
	return nil
}

// Changed yields when a standing may have changed since it was last read. It
// has one slot: many changes may come as one.
func (m *Monitor) Changed() <-chan struct{} { return m.changed }

// Forgive forgets account faults: the config or a secret was changed. The next
// delivery is a trial.
func (m *Monitor) Forgive(name string) {
	now := wall()
	m.mu.Lock()
	defer m.unlock()
	if u := m.upstreams[name]; u != nil {
		m.apply(u, u.forgive(now), now)
	}
}

// Set changes the upstreams and how they are probed. Those whose names stay
// keep their state; what is under way at others no longer counts.
func (m *Monitor) Set(targets []Target, interval, timeout time.Duration, rise int) {
	now := wall()
	m.mu.Lock()
	defer m.unlock()
	m.opts.pace(interval, timeout, rise)
	old := m.upstreams
	m.upstreams, m.order = map[string]*upstream{}, nil
	for _, t := range targets {
		u := old[t.Name]
		if u == nil {
			m.add(t, savedUpstream{Account: t.Account}, now)
			continue
		}
		if u.Account != t.Account {
			m.apply(u, u.forgive(now), now)
		}
		u.Target = t
		u.Owed = min(u.Owed, m.opts.Rise)
		if u.Reach == up {
			u.pace = upPace(now, u.pace.last, m.opts.Interval)
		}
		m.upstreams[t.Name], m.order = u, append(m.order, t.Name)
	}
	m.dirty = true
	m.notify()
	m.poke()
}
