package health

import (
	"cmp"
	"io"
	"log/slog"
	"math"
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
	// one are one witness when the network is judged, and one without hosts
	// is no witness beside others.
	Hosts []string
	// Addrs are the IP addresses it was last found at; nil, or none: unknown.
	// It is called while the Monitor is locked: it must neither block nor call
	// the Monitor.
	Addrs func() []netip.Addr
	// Unproven: whoever answers is believed, so its answer proves nothing about
	// the network, and under a suspected portal nothing is sent to it.
	Unproven bool
	Limits   Limits
}

// Limits are what the operator allows an upstream: recipients in any minute,
// hour and day; 0: any number.
type Limits struct{ PerMinute, PerHour, PerDay int }

// Learned are limits that an upstream showed: octets of a message, recipients of
// a transaction, connections at a time; 0: none is known.
type Learned struct {
	Size        int64 `json:"size,omitempty"`
	Recipients  int   `json:"recipients,omitempty"`
	Connections int   `json:"connections,omitempty"`
}

// Settings are what may change while a Monitor runs. What is zero takes its
// default.
type Settings struct {
	Interval time.Duration // of the probes of an upstream that is up and idle; default 60 s
	Timeout  time.Duration // of one probe; default 5 s
	Rise     int           // passes until an upstream that was down is preferred again; default 2
	Failback Failback
}

func (s Settings) orDefault() Settings {
	s.Interval = cmp.Or(s.Interval, time.Minute)
	s.Timeout = cmp.Or(s.Timeout, 5*time.Second)
	s.Rise = cmp.Or(s.Rise, 2)
	return s
}

// Options are what a Monitor needs. Only Targets must be set.
type Options struct {
	Settings
	Targets []Target
	// Network is the network as it is now. While its Interfaces are nil, and
	// not merely empty, nobody watches the network, and all is taken to be
	// routed; the first call of Monitor.Network ends that.
	Network netmon.Snapshot
	File    string // keeps the state; "" for none
	Log     *slog.Logger
}

// Rank is how good an upstream is at the moment: the best one is used.
type Rank int

// The ranks, worst first.
const (
	Unusable   Rank = iota
	LastResort      // suspect: the last probe failed, or a delivery met silence
	Returning       // up, but it was down and owes passes, or the wait of Failback
	Ready           // up, or not known yet
)

// Standing is what a dispatcher chooses by.
type Standing struct {
	Rank Rank
	// Trial: at most one delivery may be under way. While it is, the rank is
	// Unusable.
	Trial bool
	// AtOnce is how many deliveries there may be at a time, 0 for as many as there
	// are connections: few after an outage, or where more were refused. More wait,
	// as for a connection.
	AtOnce int
	// Room is for how many recipients its budget is left, 0 for any number. Where
	// none is, the rank is Unusable.
	Room int
	// Spare is how many of those are left before the last fifth of a limit.
	Spare int
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
	gone      map[string]*upstream // that the config had until a while ago
	order     []string
	network   netmon.Snapshot
	watched   bool // network is known
	outlook   Outlook
	proved    time.Time // when an upstream last showed itself in this network
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
	probing *inFlight // nil: no probe is under way
	trials  int       // how many there were
	trial   int       // the number of the one under way; 0: none is
	waits   bool      // mail waits for it
	waited  time.Time // when mail last did
	served  time.Time // when it last took mail

	budget   budget
	learned  lesson
	underWay int       // deliveries
	left     time.Time // when the config had it no more

	local       bool // it is on this machine
	routed      bool // a route leads there
	routedSince time.Time
	latest      *Fault // what the last probe or delivery in this network showed; nil: none yet

	// What was last told: to the log, to Changed and to Down.
	told     Standing
	toldWord string
	toldKind Kind
	down     chan struct{}
}

// New reads opts.File. A file that cannot be read is reported and begun
// afresh.
func New(opts Options) *Monitor {
	opts.Settings = opts.orDefault()
	if opts.Log == nil {
		opts.Log = slog.New(slog.NewTextHandler(io.Discard, nil))
	}
	m := &Monitor{
		opts: opts, changed: make(chan struct{}, 1), wake: make(chan struct{}, 1),
		upstreams: map[string]*upstream{}, gone: map[string]*upstream{}, clock: time.Now(),
		network: opts.Network, watched: opts.Network.Interfaces != nil,
	}
	now := wall()
	m.outlook = Outlook{State: Online, Since: now, Generation: 1}
	saved := m.load(now)
	m.mu.Lock()
	defer m.unlock()
	m.odometer.total = saved.Odometer
	for _, t := range opts.Targets {
		m.add(t, saved.Upstreams[t.Name], now)
	}
	m.partedBefore(saved)
	if m.judge(now) {
		m.logOutlook(nil)
	}
	return m
}

// wall is now without the monotonic clock, which stands still while the
// machine sleeps: deadlines must not.
func wall() time.Time { return time.Now().Round(0) }

// add begins to watch a target where a former run left off. The caller holds
// mu.
func (m *Monitor) add(t Target, was savedUpstream, now time.Time) {
	u := &upstream{Target: t, tracker: was.tracker, learned: was.Learned, down: make(chan struct{})}
	u.budget = budget{limits: t.Limits, spent: was.Spent}
	if was.Account != t.Account {
		u.tracker, u.learned = u.forgive(now), lesson{}
	}
	if u.Breaker.Kind == Place { // we may be in another one
		u.Breaker = u.Breaker.elsewhere(now)
	}
	if u.fell = u.Reach == down; !u.fell { // it may have been long ago that it was up
		u.tracker = u.move(unknown, Fault{}, now)
		u.Owed = 0
	}
	u.pace = downPace(now, time.Time{})
	u.local, u.routed, u.routedSince = isLocal(t), !m.watched || routed(t, m.network), now
	u.told, u.toldWord, u.toldKind = m.standing(u, now), u.word(now), u.Breaker.Kind
	u.told.Room = 0
	if m.blocked(u, now) {
		close(u.down)
	}
	m.upstreams[t.Name] = u
	m.order = append(m.order, t.Name)
}

// rank is how good u is, apart from a trial that is under way.
func (m *Monitor) rank(u *upstream, now time.Time) Rank {
	r := u.rank(now)
	switch {
	case m.barred(u), u.budget.limited(now):
		return Unusable
	case r == Ready && m.opts.Failback.holds(u.tracker, now):
		return Returning
	}
	return r
}

// barred says that the network keeps mail from u, whatever u is like.
func (m *Monitor) barred(u *upstream) bool {
	return !u.routed || m.outlook.inferred() && u.Reach == suspect || u.Unproven && m.outlook.State == Portal
}

func (m *Monitor) standing(u *upstream, now time.Time) Standing {
	s := Standing{Rank: m.rank(u, now), Trial: !u.Breaker.closed(), AtOnce: u.atOnce(now)}
	room := u.budget.free(now)
	if s.Trial && u.trial != 0 || room == 0 {
		s.Rank = Unusable
	}
	if room < math.MaxInt {
		s.Room, s.Spare = room, u.budget.spare(now)
	}
	return s
}

// blocked says that deliveries being set up should not go on. A trial under
// way should: it is what the breaker waits for.
func (m *Monitor) blocked(u *upstream, now time.Time) bool {
	return m.barred(u) || u.Reach == down || u.Breaker.open(now) && u.trial == 0
}

// Standing says how good an upstream is now. One that is not watched is
// Unusable.
func (m *Monitor) Standing(name string) Standing {
	m.mu.Lock()
	defer m.mu.Unlock()
	if u := m.upstreams[name]; u != nil {
		return m.standing(u, wall())
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

// Forgive forgets account faults: the config or a secret was changed, and
// account is its mark now. The next delivery is a trial.
func (m *Monitor) Forgive(name, account string) {
	now := wall()
	m.mu.Lock()
	defer m.unlock()
	if u := m.upstreams[name]; u != nil {
		m.renew(u, account, now)
	}
}

// renew forgets what was said about another account. The caller holds mu.
func (m *Monitor) renew(u *upstream, account string, now time.Time) {
	u.Account, u.learned = account, lesson{}
	m.apply(u, u.forgive(now), now)
}

// Pardon lets upstreams that refused us be tried at once: a person acts, and may
// have mended what was wrong. See pardon for how often.
func (m *Monitor) Pardon() {
	now := wall()
	m.mu.Lock()
	defer m.unlock()
	for _, name := range m.order {
		u := m.upstreams[name]
		next := u.tracker
		next.Breaker = next.Breaker.pardon(now)
		m.apply(u, next, now)
	}
	m.poke()
}

// Set changes the upstreams and how they are probed. All are probed at once:
// what is new about them may be what was wrong. Those whose names stay keep
// their state; of others what lasts a day is kept for a day (gone.go).
func (m *Monitor) Set(targets []Target, s Settings) {
	now := wall()
	m.mu.Lock()
	defer m.unlock()
	m.opts.Settings = s.orDefault()
	old := m.upstreams
	m.upstreams, m.order = map[string]*upstream{}, nil
	for _, t := range targets {
		u := old[t.Name]
		if u == nil {
			u = m.comeBack(t.Name, now)
		}
		if u == nil {
			m.add(t, savedUpstream{Account: t.Account}, now)
			continue
		}
		if u.Account != t.Account {
			m.renew(u, t.Account, now)
		}
		u.Target = t
		u.budget.set(t.Limits)
		u.Owed = min(u.Owed, m.opts.Rise)
		if u.Reach == up {
			u.pace = upPace(now, u.pace.last, m.opts.Interval)
		}
		u.stopProbe() // it asks by the old config
		u.pace.last = time.Time{}
		m.upstreams[t.Name], m.order = u, append(m.order, t.Name)
		m.route(u, now)
	}
	for name, u := range old {
		if m.upstreams[name] != u {
			m.part(u, now)
		}
	}
	if m.judge(now) {
		m.logOutlook(nil)
	}
	m.dirty = true
	m.notify()
	m.poke()
}
