package netmon

import (
	"context"
	"time"
)

// loop decides when to look. One goroutine runs it, and nobody else sees it.
type loop struct {
	*Watcher
	news chan<- struct{} // holds one: there is something new

	events <-chan event // nil: not subscribed
	stop   func()

	lost   map[string]bool // by the events since the last look
	lives  map[string]int  // per interface, also of those that are gone: they may come back
	looked time.Time
	clock  reading // at the last look

	soon    <-chan time.Time // a look is due
	recheck <-chan time.Time // the resolver file is to be read
	until   time.Time        // when rechecking ends

	mute struct{ look, follow bool } // trouble that was logged
}

func newLoop(w *Watcher, news chan<- struct{}) *loop {
	return &loop{
		Watcher: w, news: news, stop: func() {},
		lost: map[string]bool{}, lives: map[string]int{}, clock: w.sys.clock(),
	}
}

func (l *loop) run(ctx context.Context) {
	poll, tick := time.NewTicker(l.opts.Poll), time.NewTicker(clockEvery)
	defer poll.Stop()
	defer tick.Stop()
	defer func() { l.stop() }()

	l.look()
	for {
		select {
		case <-ctx.Done():
			return
		case e, ok := <-l.events:
			if !ok {
				l.stop()
				l.events, l.stop = nil, func() {}
			}
			if e.lost != "" {
				l.lost[e.lost] = true
			}
			if l.soon == nil {
				l.soon = time.After(max(settle, time.Until(l.looked.Add(spacing))))
			}
		case <-l.soon:
			l.look()
		case <-poll.C:
			l.look()
		case <-tick.C:
			if slept(l.clock, l.sys.clock()) > 0 {
				l.look()
			}
		case <-l.recheck:
			l.reread()
		}
	}
}

// look takes a snapshot. It subscribes first if need be, so that no change can
// fall between the two.
func (l *loop) look() {
	l.soon, l.looked = nil, time.Now()
	if l.events == nil && l.sys.follow != nil {
		l.follow()
	}
	before := l.Snapshot()
	now := l.sys.clock()
	slept := slept(l.clock, now)
	l.clock = now

	ifs, routes, err := l.sys.look()
	if err != nil {
		if !l.mute.look {
			l.opts.Log.Warn("network", "error", "cannot look at interfaces and routes, so the last known ones are taken for true", "cause", err)
		}
		l.mute.look = true
		l.publish(before, slept)
		return
	}
	l.mute.look = false
	after := newSnapshot(ifs, routes, l.readResolver(before.Resolver))
	for _, name := range losses(before, after) {
		l.lost[name] = true
	}
	for name := range l.lost {
		// What was not there lost nothing that anybody knows of; a machine that
		// runs containers has new names every minute.
		if _, ok := before.find(name); ok {
			l.lives[name]++
		}
	}
	clear(l.lost)
	for i := range after.Interfaces {
		after.Interfaces[i].Lives = l.lives[after.Interfaces[i].Name]
	}
	l.publish(after, slept)
}

func (l *loop) follow() {
	events, stop, err := l.sys.follow()
	if err != nil {
		if !l.mute.follow {
			l.opts.Log.Warn("network", "error", "cannot follow the kernel's events, so changes are seen late", "every", l.opts.Poll, "cause", err)
		}
		l.mute.follow = true
		return
	}
	l.events, l.stop, l.mute.follow = events, stop, false
}

// reread looks at the resolver file alone, unless a look is due: what comes
// together is told together.
func (l *loop) reread() {
	l.recheck = nil
	if time.Now().Before(l.until) {
		l.recheck = time.After(resolverEvery)
	}
	if l.soon != nil {
		return
	}
	s := l.Snapshot()
	s.Resolver = l.readResolver(s.Resolver)
	l.publish(s, 0)
}

// publish makes a snapshot the newest, and keeps an eye on the resolver file
// after each change.
func (l *loop) publish(s Snapshot, slept time.Duration) {
	l.mu.Lock()
	same := l.newest.equal(s)
	l.newest = s
	l.slept += slept
	l.mu.Unlock()
	if same && slept == 0 {
		return
	}
	l.until = time.Now().Add(resolverFor)
	if l.recheck == nil {
		l.recheck = time.After(resolverEvery)
	}
	select {
	case l.news <- struct{}{}:
	default: // is poked already
	}
}
