package gateway

import (
	"context"
	"time"

	"mailroam/health/netmon"
)

// NetworkChange is a change of the network, as it is told to people.
type NetworkChange struct {
	At time.Time `json:"at"`
	// Generation counts the networks since the watch began: a major change
	// makes a new one.
	Generation int           `json:"generation"`
	Major      bool          `json:"major"`
	Offline    bool          `json:"offline"` // it leads nowhere
	Slept      time.Duration `json:"-"`
	SleptS     float64       `json:"slept_s"` // seconds that the machine was suspended before
	Why        []string      `json:"why"`
}

// Watch tells of each change of the network, and of a fresh probe at the
// beginning and after each major one, until ctx ends; then it gives nil. Both
// are called from one goroutine. A probe that a major change overtakes is not
// told.
func Watch(ctx context.Context, cfg *Config, o ProbeOptions, changed func(NetworkChange), probed func(ProbeReport)) error {
	if _, err := cfg.named(o.Names); err != nil {
		return err
	}
	w := watching{
		ask:     func(ctx context.Context) (ProbeReport, error) { return Probe(ctx, cfg, o) },
		changed: changed, probed: probed, reports: make(chan told),
	}
	deltas := make(chan netmon.Delta)
	ended := make(chan error, 1)
	go func() {
		ended <- netmon.New(netmon.Options{}).Run(ctx, func(d netmon.Delta) {
			select {
			case deltas <- d:
			case <-ctx.Done():
			}
		})
	}()
	w.run(ctx, deltas)
	return <-ended
}

// watching is one run of Watch.
type watching struct {
	ask        func(context.Context) (ProbeReport, error)
	changed    func(NetworkChange)
	probed     func(ProbeReport)
	generation int
	running    int // probes
	reports    chan told
}

// told is a report, or none, of a network that may be another one by now.
type told struct {
	generation int
	report     ProbeReport
	err        error
}

func (w *watching) run(ctx context.Context, deltas <-chan netmon.Delta) {
	stop := w.probe(ctx)
	for {
		select {
		case <-ctx.Done():
			stop()
			for ; w.running > 0; w.running-- {
				<-w.reports
			}
			return
		case d := <-deltas:
			if d.Major {
				w.generation++
				stop()
				stop = w.probe(ctx)
			}
			w.changed(changeOf(d, w.generation, time.Now()))
		case r := <-w.reports:
			w.running--
			if r.err == nil && r.generation == w.generation {
				w.probed(r.report)
			}
		}
	}
}

// probe starts one for the network as it is now.
func (w *watching) probe(ctx context.Context) (stop func()) {
	ctx, stop = context.WithCancel(ctx)
	generation := w.generation
	w.running++
	go func() {
		r, err := w.ask(ctx)
		w.reports <- told{generation, r, err}
	}()
	return stop
}

func changeOf(d netmon.Delta, generation int, now time.Time) NetworkChange {
	c := NetworkChange{
		At: now.UTC(), Generation: generation, Major: d.Major, Offline: d.Offline,
		Slept: d.Slept, SleptS: d.Slept.Seconds(), Why: d.Why,
	}
	if c.Why == nil {
		c.Why = []string{}
	}
	return c
}
