package netmon

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"sync"
	"time"
)

// Options are what a Watcher needs; all have defaults.
type Options struct {
	Poll     time.Duration // between looks without an event, default 10 s
	Resolver string        // the resolver file, default /etc/resolv.conf
	Log      *slog.Logger  // default: nobody is told of trouble with the watching
}

const (
	// settle lets a burst of events pass: a network comes with a link, some
	// addresses and some routes.
	settle = 50 * time.Millisecond
	// spacing is between looks while a burst goes on.
	spacing = 100 * time.Millisecond
	// Name servers come some time after the routes, and no event says so.
	resolverEvery, resolverFor = 100 * time.Millisecond, 15 * time.Second
	// clockEvery bounds how long a wake from sleep goes unnoticed.
	clockEvery = 5 * time.Second
)

// event says that the network may have changed.
type event struct {
	lost string // an interface that lost its link, an IPv4 address or its default route; "" for none
}

// system is what a Watcher asks of the operating system.
type system struct {
	look look
	// follow subscribes to events until stop is called. It closes the channel
	// when it cannot go on or events may have been lost. nil: there are none.
	follow func() (events <-chan event, stop func(), err error)
	clock  func() reading
}

// Watcher keeps the newest Snapshot and tells of changes.
type Watcher struct {
	opts Options
	sys  system

	mu     sync.Mutex
	newest Snapshot
	slept  time.Duration // since what was last told
}

// New takes the first snapshot.
func New(opts Options) *Watcher { return newWatcher(opts, newSystem()) }

func newWatcher(opts Options, sys system) *Watcher {
	if opts.Poll <= 0 {
		opts.Poll = 10 * time.Second
	}
	if opts.Resolver == "" {
		opts.Resolver = "/etc/resolv.conf"
	}
	if opts.Log == nil {
		opts.Log = slog.New(slog.DiscardHandler)
	}
	w := &Watcher{opts: opts, sys: sys}
	if ifs, routes, err := sys.look(); err == nil {
		w.newest = newSnapshot(ifs, routes, w.readResolver(""))
	}
	return w
}

// Snapshot is the newest one. Its slices are not to be changed.
func (w *Watcher) Snapshot() Snapshot {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.newest
}

// Run watches until ctx ends and then returns nil. tell is called for each
// change, from one goroutine, in order. It may take its time: what happens
// meanwhile is told as one change. The first change told is the one from the
// snapshot that New took. Run returns when tell has; it is called once.
func (w *Watcher) Run(ctx context.Context, tell func(Delta)) error {
	news := make(chan struct{}, 1)
	told := w.Snapshot()
	var teller sync.WaitGroup
	teller.Go(func() { w.tell(ctx, told, news, tell) })
	newLoop(w, news).run(ctx)
	teller.Wait()
	return nil
}

// tell is level-triggered: it tells the difference between what was told last
// and what is.
func (w *Watcher) tell(ctx context.Context, told Snapshot, news <-chan struct{}, tell func(Delta)) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-news:
		}
		w.mu.Lock()
		newest, slept := w.newest, w.slept
		w.slept = 0
		w.mu.Unlock()
		d := NewDelta(told, newest, slept)
		told = newest
		if len(d.Why) > 0 && ctx.Err() == nil {
			tell(d)
		}
	}
}

// readResolver reads the whole file each time: it is small, and asking whether
// it changed costs as much, and may miss a change within one tick of its
// timestamps.
func (w *Watcher) readResolver(before string) string {
	file, err := os.ReadFile(w.opts.Resolver)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return before
	}
	return settings(string(file))
}
