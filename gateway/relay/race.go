package relay

import (
	"context"
	"net/netip"
	"slices"
	"sync"
	"time"
)

// race tries the ways to an upstream side by side, each up to its last EHLO:
// TCP alone proves little, since a middlebox may take any connection. field
// decides who starts when; the race does it.
type race struct {
	field
	u      *Upstream
	budget budget
	watch  *watch

	runners  map[candidate]*runner
	waiting  int // for lookups
	outcomes chan outcome
	answers  chan lookup
	over     chan struct{} // nobody hears outcomes and answers any more
	faults   []outcome     // and those of lookups
}

// runner is a candidate under way.
type runner struct {
	mu   sync.Mutex // guards pace, which the runner's own goroutine writes
	pace pace
}

func (r *runner) move() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.pace = pace{time.Now(), true}
}

func (r *runner) at() pace {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.pace
}

// outcome is how a candidate ended: c or fault is set.
type outcome struct {
	candidate
	c     *conn
	fault *Error
}

// lookup is how a lookup ended, for the first endpoint of its host.
type lookup struct {
	endpoint Endpoint
	addrs    []netip.Addr
	err      error
}

// race gives the first session that is ready for AUTH. ctx ends it. Whoever
// loses is closed.
func (u *Upstream) race(ctx context.Context, b budget, w *watch) (*conn, *Error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	// When the network changes, those who have a way may go on; to start others
	// then would mix two networks.
	searching, done := u.roster.untilRoamed(ctx)
	defer done()

	here := u.roster.here()
	r := &race{
		u: u, budget: b, watch: w,
		field:   field{endpoints: u.opts.Endpoints, first: here.winner, began: time.Now(), hosts: map[string]*answer{}},
		runners: map[candidate]*runner{}, outcomes: make(chan outcome), answers: make(chan lookup), over: make(chan struct{}),
	}
	defer close(r.over)
	w.enter(finding)
	o := r.run(ctx, searching)
	if o.c == nil {
		return nil, o.fault
	}
	e, by, gap := u.opts.Endpoints[o.endpoint], addrOf(o.c.wire.RemoteAddr()), w.longest()
	u.memory.worked(e, by, r.hosts[e.Host].with(by), time.Now())
	u.roster.learn(here.generation, func(p *place) {
		p.winner, p.gaps[finding] = winner{o.endpoint, familyOf(by)}, gap
	})
	return o.c, nil
}

// run is the race until somebody wins or nobody is left.
func (r *race) run(ctx, searching context.Context) outcome {
	r.lookUp(searching)
	timer := time.NewTimer(0)
	defer timer.Stop()
	ended := searching.Done()
	for {
		if searching.Err() != nil || r.budget.over() {
			r.waiting = 0 // even if they heed no context
		} else if wake := r.startAll(ctx); !wake.IsZero() {
			timer.Reset(time.Until(wake))
		}
		if len(r.runners) == 0 && r.waiting == 0 {
			return outcome{fault: r.verdict(searching)}
		}
		select {
		case o := <-r.outcomes:
			if o.c != nil {
				return o
			}
			delete(r.runners, o.candidate)
			o.fault.moved = slices.ContainsFunc(r.hosts[r.endpoints[o.endpoint].Host].old, isPublic)
			r.faults = append(r.faults, o)
		case l := <-r.answers:
			r.answered(l)
		case <-timer.C:
		case <-ended:
			ended = nil
		}
	}
}

// lookUp asks for the addresses of all hosts that have to be looked up.
func (r *race) lookUp(ctx context.Context) {
	for _, e := range r.endpoints {
		if r.hosts[e.Host] != nil {
			continue
		}
		given, needed := r.u.given(e.Host)
		r.hosts[e.Host] = &answer{waiting: needed, addrs: given}
		if !needed {
			continue
		}
		r.hosts[e.Host].old = r.u.memory.recall(e.Host, r.began)
		r.waiting++
		go func() {
			ctx, cancel := context.WithDeadline(ctx, r.budget.by(r.budget.connect))
			defer cancel()
			addrs, err := r.u.resolve(ctx, e.Host)
			select {
			case r.answers <- lookup{e, addrs, err}:
			case <-r.over:
			}
		}()
	}
}

func (r *race) answered(l lookup) {
	h := r.hosts[l.endpoint.Host]
	h.waiting, h.addrs = false, l.addrs
	r.waiting--
	if l.err != nil {
		r.faults = append(r.faults, outcome{fault: &Error{Stage: Resolve, Err: l.err, Endpoint: l.endpoint.address()}})
		return
	}
	r.watch.lookedUp()
}

// startAll starts those whose time has come and says when to look again.
func (r *race) startAll(ctx context.Context) (wake time.Time) {
	for {
		running := map[candidate]pace{}
		for c, run := range r.runners {
			running[c] = run.at()
		}
		switch c, at, ok := r.next(running); {
		case !ok:
			return time.Time{}
		case at.After(time.Now()):
			return at
		default:
			r.start(ctx, c)
		}
	}
}

func (r *race) start(ctx context.Context, c candidate) {
	run := &runner{pace: pace{moved: time.Now()}}
	r.runners[c] = run
	r.tried = append(r.tried, c)
	moved := func() {
		run.move()
		r.watch.touch()
	}
	go func() {
		won, fault := r.u.open(ctx, r.endpoints[c.endpoint], c.addr, moved, r.budget)
		select {
		case r.outcomes <- outcome{c, won, fault}:
		case <-r.over:
			if won != nil {
				won.quit() // ready, but second
			}
		}
	}()
}

// worst is the fault that tells most, nil when there is none. One of an address
// that was only remembered proves nothing, and must not hide that the lookup
// failed; unless the lookup gave that address too.
func (r *race) worst() (worst *Error) {
	for _, o := range r.faults {
		if o.old && !slices.Contains(r.hosts[r.endpoints[o.endpoint].Host].addrs, o.addr) {
			continue
		}
		if worst == nil || o.fault.tellsMore(worst) {
			worst = o.fault
		}
	}
	return worst
}

// tellsMore compares faults of one race. What was said by a peer that had proven
// who it is counts most; next that somebody else answers, which a black hole at
// another port must not hide; then the fault of who got furthest. An address that
// no route leads to was never asked: that a machine without IPv6 has none for half
// of the addresses is not why the other half is silent.
func (e *Error) tellsMore(than *Error) bool {
	if a, b := e.weight(), than.weight(); a != b {
		return a > b
	}
	if e.Stage == than.Stage {
		return noWay(than.Err) && !noWay(e.Err)
	}
	return e.Stage > than.Stage
}

func (e *Error) weight() int {
	_, scope := classify(e.Stage, e.Reply, e.Err, "")
	switch {
	case e.proven:
		return 2
	case scope == ScopeIdentity:
		return 1
	default:
		return 0
	}
}

// verdict is the fault of the whole race. One that the network's change broke
// off says nothing about anybody.
func (r *race) verdict(searching context.Context) *Error {
	fault := &Error{Stage: Resolve, Err: errNoEndpoint}
	cause := context.Cause(searching)
	switch worst := r.worst(); {
	case worst != nil:
		fault = worst
	case cause != nil:
		fault = &Error{Stage: Connect, Err: cause}
		if at := r.lookingUp(); at != "" {
			fault.Stage, fault.Endpoint = Resolve, at
		}
	case r.lookingUp() != "": // there is no time left
		fault = &Error{Stage: Resolve, Err: errTooLong, Endpoint: r.lookingUp()}
	}
	if cause == ErrRoamed {
		fault = &Error{Stage: fault.Stage, Err: ErrRoamed, Endpoint: fault.Endpoint}
	}
	return fault
}

// lookingUp is the first endpoint whose host is not found yet, "" for none.
func (r *race) lookingUp() string {
	for _, e := range r.endpoints {
		if r.hosts[e.Host].waiting {
			return e.address()
		}
	}
	return ""
}

// with gives the addresses of which by is one.
func (a *answer) with(by netip.Addr) []netip.Addr {
	if slices.Contains(a.addrs, by) {
		return a.addrs
	}
	return a.old
}
