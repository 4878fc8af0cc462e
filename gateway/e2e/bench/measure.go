//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"
)

// floor is the loader straight into the sink: what no relay can beat here.
const floor = "no relay"

// bench is one run of the program.
type bench struct {
	options
	binary, dir string
	withPostfix bool
	began       time.Time
	facts       []fact
	table       *table
	sink        *sink
	runs        int // measurements so far, which number the recipients
}

// throughput is a named load of the throughput part.
type throughput struct {
	name string
	load load
}

func (b *bench) throughputs() []throughput {
	const kib, mib = 1 << 10, 1 << 20
	scale := func(n int) int {
		if b.quick {
			return max(n/4, 32)
		}
		return n
	}
	var all []throughput
	for _, keep := range []bool{false, true} {
		how := "connection each"
		if keep {
			how = "kept open"
		}
		for _, sessions := range []int{1, 16, 64} {
			n := scale(2000)
			if sessions == 1 {
				n = scale(600)
			}
			all = append(all, throughput{
				fmt.Sprintf("4 KiB, %s, %s", plural(sessions), how),
				load{messages: n, sessions: sessions, size: 4 * kib, keep: keep, deadline: 60 * time.Second},
			})
		}
	}
	for _, sessions := range []int{1, 16} {
		all = append(all, throughput{
			fmt.Sprintf("5 MiB, %s, connection each", plural(sessions)),
			load{messages: scale(48), sessions: sessions, size: 5 * mib, deadline: 60 * time.Second},
		})
	}
	return all
}

func plural(sessions int) string {
	if sessions == 1 {
		return "1 session"
	}
	return fmt.Sprintf("%d sessions", sessions)
}

// measure fills the table.
func (b *bench) measure(ctx context.Context) (err error) {
	if b.sink, err = newSink(); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.sink.down()) }()
	for round := range b.rounds {
		b.say("round %d of %d", round+1, b.rounds)
		if err := b.round(ctx, round); err != nil {
			return err
		}
	}
	if b.wants("syncs") {
		return b.syncs(ctx)
	}
	return nil
}

func (b *bench) say(format string, args ...any) {
	fmt.Fprintf(os.Stderr, "%4.0f s  %s\n", time.Since(b.began).Seconds(), fmt.Sprintf(format, args...))
}

func (b *bench) wants(name string) bool { return strings.Contains(name, b.only) }

// start runs both relays on empty queues. They are idle while they are not
// measured.
func (b *bench) start(ctx context.Context, dir string, wrap ...string) (relays []*relay, err error) {
	if err := os.Mkdir(dir, 0o755); err != nil {
		return nil, err
	}
	m, err := startMailroam(ctx, b.binary, filepath.Join(dir, "mailroam"), b.sink.addr, wrapped(wrap, dir, "mailroam")...)
	if err != nil {
		return nil, err
	}
	relays = append(relays, m)
	if b.withPostfix {
		p, err := startPostfix(ctx, filepath.Join(dir, "postfix"), b.sink.addr, wrapped(wrap, dir, "postfix")...)
		if err != nil {
			return nil, errors.Join(err, m.close())
		}
		relays = append(relays, p)
	}
	return relays, nil
}

func closeAll(relays []*relay) error {
	var errs []error
	for _, r := range relays {
		errs = append(errs, r.close())
	}
	return errors.Join(errs...)
}

// round measures every line once at every relay, on empty queues.
func (b *bench) round(ctx context.Context, round int) (err error) {
	dir := filepath.Join(b.dir, fmt.Sprint("round", round))
	relays, err := b.start(ctx, dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, closeAll(relays), os.RemoveAll(dir)) }()
	inTurn := slices.Clone(relays)
	if round%2 == 1 {
		slices.Reverse(inTurn)
	}
	for _, r := range inTurn { // processes, connections, files: not what is measured
		if _, err := b.pass(ctx, r, load{messages: 100, sessions: 16, size: 4 << 10, deadline: 30 * time.Second}); err != nil {
			return fmt.Errorf("%s, warming up: %w", r.name, err)
		}
	}
	if b.wants("latency") {
		for _, r := range inTurn {
			if err := b.latency(ctx, r); err != nil {
				return err
			}
		}
	}
	for _, t := range b.throughputs() {
		if !b.wants(t.name) {
			continue
		}
		for _, r := range inTurn {
			if err := b.throughput(ctx, r, t); err != nil {
				return err
			}
		}
		if err := b.floor(ctx, t); err != nil {
			return err
		}
	}
	if b.wants("memory") {
		for _, r := range inTurn {
			if err := b.memory(ctx, r); err != nil {
				return err
			}
		}
	}
	// The longest part, and the one that varies least: three rounds are enough.
	if b.wants("fill and drain") && round < 3 {
		for _, r := range inTurn {
			if err := b.fillAndDrain(ctx, r); err != nil {
				return err
			}
		}
	}
	return nil
}

// passed is a load that went all the way.
type passed struct {
	*sent
	arrived []time.Duration
	cpu     time.Duration // of the relay
}

// last is when the last message arrived.
func (p *passed) last() time.Duration { return slices.Max(p.arrived) }

// pass submits a load to a relay and waits until all of it is at the sink.
func (b *bench) pass(ctx context.Context, r *relay, l load) (*passed, error) {
	b.runs++
	began := time.Now()
	a := b.sink.expect(b.runs, l.messages, began)
	before := cpu(r.pid)
	s, err := l.submit(ctx, r.addr, b.runs, began)
	if err != nil {
		return nil, err
	}
	if err := a.wait(ctx, l.deadline); err != nil {
		return nil, err
	}
	// The queue still has to forget the last ones: that belongs to them.
	time.Sleep(300 * time.Millisecond)
	return &passed{sent: s, arrived: a.times(), cpu: cpu(r.pid) - before}, nil
}

// wait blocks until every message has arrived once.
func (a *arrivals) wait(ctx context.Context, within time.Duration) error {
	timer := time.NewTimer(within)
	defer timer.Stop()
	select {
	case <-a.all:
	case <-timer.C:
		return fmt.Errorf("%d of %d messages have not arrived within %s", a.left.Load(), len(a.at), within)
	case <-ctx.Done():
		return ctx.Err()
	}
	if n := a.twice.Load(); n > 0 {
		return fmt.Errorf("%d messages arrived twice", n)
	}
	return nil
}

func (a *arrivals) times() []time.Duration {
	all := make([]time.Duration, len(a.at))
	for i := range a.at {
		all[i] = time.Duration(a.at[i].Load())
	}
	return all
}

func rate(n int, took time.Duration) float64 { return float64(n) / took.Seconds() }

func ms(d time.Duration) float64 { return d.Seconds() * 1000 }

func (b *bench) throughput(ctx context.Context, r *relay, t throughput) error {
	p, err := b.pass(ctx, r, t.load)
	if err != nil {
		return fmt.Errorf("%s, %s: %w", r.name, t.name, err)
	}
	n := t.load.messages
	b.table.add(t.name+": accepted", "1/s", r.name, rate(n, p.sent.last()))
	b.table.add(t.name+": delivered", "1/s", r.name, rate(n, p.last()))
	b.table.add(t.name+": CPU", "ms/message", r.name, ms(p.cpu)/float64(n))
	return nil
}

// floor is the same load without a relay; its CPU is that of loader and sink,
// which share the machine with the relay.
func (b *bench) floor(ctx context.Context, t throughput) error {
	p, err := b.pass(ctx, &relay{addr: b.sink.addr, pid: os.Getpid()}, t.load)
	if err != nil {
		return fmt.Errorf("loader to sink, %s: %w", t.name, err)
	}
	n := t.load.messages
	b.table.add(t.name+": accepted", "1/s", floor, rate(n, p.sent.last()))
	b.table.add(t.name+": delivered", "1/s", floor, rate(n, p.last()))
	b.table.add(t.name+": CPU", "ms/message", floor, ms(p.cpu)/float64(n))
	return nil
}

// latency sends one message at a time.
func (b *bench) latency(ctx context.Context, r *relay) error {
	n := 200
	if b.quick {
		n = 100
	}
	p, err := b.pass(ctx, r, load{messages: n, sessions: 1, size: 4 << 10, deadline: 60 * time.Second})
	if err != nil {
		return fmt.Errorf("%s, latency: %w", r.name, err)
	}
	var accepted, arrived []float64
	for i := range n {
		accepted = append(accepted, ms(p.accepted[i]-p.connect[i]))
		arrived = append(arrived, ms(p.arrived[i]-p.connect[i]))
	}
	for _, at := range []int{50, 99} {
		b.table.add(fmt.Sprintf("latency, connect to 250, p%d", at), "ms", r.name, percentile(accepted, at))
		b.table.add(fmt.Sprintf("latency, connect to the sink's dot, p%d", at), "ms", r.name, percentile(arrived, at))
	}
	return nil
}

// memory looks every 100 ms while mail passes, in a pass of its own as looking
// takes time.
func (b *bench) memory(ctx context.Context, r *relay) error {
	done := make(chan struct{})
	var peak usage
	var processes int
	var sampling sync.WaitGroup
	sampling.Go(func() {
		tick := time.NewTicker(100 * time.Millisecond)
		defer tick.Stop()
		for {
			now := memory(r.pid)
			peak = usage{rss: max(peak.rss, now.rss), pss: max(peak.pss, now.pss), anon: max(peak.anon, now.anon)}
			processes = max(processes, len(tree(r.pid)))
			select {
			case <-done:
				return
			case <-tick.C:
			}
		}
	})
	_, err := b.pass(ctx, r, load{messages: 1000, sessions: 16, size: 4 << 10, deadline: 60 * time.Second})
	close(done)
	sampling.Wait()
	if err != nil {
		return fmt.Errorf("%s, memory: %w", r.name, err)
	}
	b.table.add("memory at 16 sessions, sum of RSS", "MiB", r.name, peak.rss)
	b.table.add("memory at 16 sessions, PSS", "MiB", r.name, peak.pss)
	b.table.add("memory at 16 sessions, PSS without files", "MiB", r.name, peak.anon)
	b.table.add("memory at 16 sessions, processes", "", r.name, float64(processes))
	return nil
}

// fillAndDrain accepts mail while the upstream refuses connections, then lets
// it come back. Postfix gets the flush that it needs to notice; the gateway
// has to notice by itself.
func (b *bench) fillAndDrain(ctx context.Context, r *relay) error {
	l := load{messages: 20_000, sessions: 16, size: 4 << 10, deadline: 150 * time.Second}
	if b.quick {
		l.messages = 2000
	}
	if err := b.sink.down(); err != nil {
		return err
	}
	b.runs++
	began := time.Now()
	a := b.sink.expect(b.runs, l.messages, began)
	before := cpu(r.pid)
	s, err := l.submit(ctx, r.addr, b.runs, began)
	if err != nil {
		return errors.Join(fmt.Errorf("%s, fill: %w", r.name, err), b.sink.up())
	}
	n, tenth := l.messages, l.messages/10
	slices.Sort(s.accepted)
	first := rate(tenth, s.accepted[tenth-1])
	last := rate(tenth, s.accepted[n-1]-s.accepted[n-tenth-1])
	name := fmt.Sprintf("fill of %d, upstream down", n)
	b.table.add(name+": accepted", "1/s", r.name, rate(n, s.last()))
	b.table.add(name+": first tenth", "1/s", r.name, first)
	b.table.add(name+": last tenth", "1/s", r.name, last)
	b.table.add(name+": last tenth over first", "", r.name, last/first)
	b.table.add(name+": CPU", "ms/message", r.name, ms(cpu(r.pid)-before)/float64(n))
	full := memory(r.pid)
	b.table.add(name+": PSS then", "MiB", r.name, full.pss)
	b.table.add(name+": PSS then, without files", "MiB", r.name, full.anon)

	if err := b.sink.up(); err != nil {
		return err
	}
	up := time.Since(began)
	if r.flush != nil {
		if err := r.flush(ctx); err != nil {
			return err
		}
	}
	before = cpu(r.pid)
	if err := a.wait(ctx, 150*time.Second); err != nil {
		if r.flush == nil || ctx.Err() != nil {
			return fmt.Errorf("%s, drain: %w", r.name, err)
		}
		// A peer that keeps some mail for its next queue run shows what it does:
		// no reason to lose the other lines.
		b.say("%s, drain: %v: left out", r.name, err)
		return nil
	}
	at := a.times()
	slices.Sort(at)
	name = fmt.Sprintf("drain of %d", n)
	b.table.add(name+": first arrival after the upstream is back", "s", r.name, (at[0] - up).Seconds())
	b.table.add(name+": rate from first to last", "1/s", r.name, rate(n, at[n-1]-at[0]))
	time.Sleep(300 * time.Millisecond)
	b.table.add(name+": CPU", "ms/message", r.name, ms(cpu(r.pid)-before)/float64(n))
	return nil
}
