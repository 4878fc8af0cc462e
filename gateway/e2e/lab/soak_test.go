//go:build linux

package lab

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// TestSoak: somebody restless, and mail all the time. Nothing may be lost, a
// second copy may only come of a message that the log calls in doubt, and what
// the gateway uses of the machine may not grow.
func TestSoak(t *testing.T) {
	l := need(t)
	t.Cleanup(func() { must(t, l.quiet()) })
	must(t, l.quiet())
	l.in(t, l.home)
	g := l.start(t, l.first(), l.second())
	g.waitUp("a", "b")
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	walk := rand.New(rand.NewPCG(seed, 0))

	// Steady load, and a walk between networks, until the time is over.
	var tokens []string
	mailed := make(chan []string)
	over := make(chan struct{})
	go func() {
		var all []string
		defer func() { mailed <- all }()
		for tick := time.Tick(250 * time.Millisecond); ; {
			select {
			case <-over:
				return
			case <-tick:
				part, err := g.hand(1+len(all)%3, 500<<(len(all)%8))
				all = append(all, part...)
				if err != nil {
					t.Errorf("handing in mail: %v", err)
				}
			}
		}
	}()
	line := l.line(t, fmt.Sprintf("soak, %v of random networks", *soak), 0, 0)
	var uses []use
	began, settled, steps := time.Now(), time.Now(), 0
	for time.Since(began) < *soak {
		l.step(t, walk)
		steps++
		time.Sleep(time.Second + time.Duration(walk.Int64N(int64(6*time.Second))))
		if time.Since(settled) > *soak/6 {
			settled = time.Now()
			uses = append(uses, g.use(t))
		}
	}
	close(over)
	tokens = <-mailed

	must(t, l.quiet())
	home := l.in(t, l.home)
	// What is in doubt waits for minutes, unless somebody asks for it.
	if _, ok := g.until(time.Minute, func(s status) bool { return s.Queue.Queued+s.Queue.Leased+s.Queue.Held <= s.Queue.InDoubt }); !ok {
		t.Errorf("a minute at home did not drain the queue: %+v", g.status().Queue)
	}
	drained := time.Since(home)
	g.retry()
	left := l.mail.wait(tokens, time.Minute)
	if _, ok := g.until(time.Minute, func(s status) bool { return s.Queue.Queued+s.Queue.Leased+s.Queue.Held == 0 }); !ok {
		t.Errorf("the queue is not empty: %+v", g.status().Queue)
	}
	l.settled(t)
	uses = append(uses, g.use(t))
	twice, unexplained := 0, 0
	doubted := g.doubts()
	for _, token := range tokens {
		if n := len(l.mail.arrivals(token)); n > 1 {
			twice++
			if !doubted[g.id(token)] {
				unexplained++
				t.Errorf("message %s arrived %d times and was never in doubt", token, n)
			}
		}
	}
	first, last := uses[0], uses[len(uses)-1]
	// What drained the queue keeps its sessions for half a minute.
	for deadline := time.Now().Add(time.Minute); last.grewFrom(first) && time.Now().Before(deadline); time.Sleep(time.Second) {
		last = g.use(t)
	}
	if last.grewFrom(first) {
		t.Errorf("the gateway grew: %v, and a minute later %v", uses, last)
	}
	line.add(outcome{tokens: tokens, wait: time.Millisecond, note: fmt.Sprintf(
		"%d messages, %d networks, drained %s after the end, %d of %d in doubt arrived twice; %v, then %v",
		len(tokens), steps, short(drained), twice-unexplained, len(doubted), first, last,
	)})
	line.first, line.last, line.allowed = nil, nil, twice-unexplained
	line.end(t)
	if left > 0 {
		t.Errorf("%d of %d messages had not arrived at the end", left, len(tokens))
	}
}

// quiet ends all troubles.
func (l *lab) quiet() error {
	l.guest.dns.be(right)
	for _, f := range []func() error{
		l.home.calm, l.twin.calm, l.hotel.calm, l.guest.calm, l.a.appear, l.b.appear,
		func() error { return l.cafe.trouble(blocksSubmission) },
		func() error { return l.broken6.trouble(noIPv6) },
	} {
		if err := f(); err != nil {
			return err
		}
	}
	return nil
}

// step changes the world in one way.
func (l *lab) step(t *testing.T, walk *rand.Rand) {
	t.Helper()
	must(t, l.quiet())
	in := func(w *network) func() { return func() { l.in(t, w) } }
	captured := func(rules string) func() {
		return func() {
			must(t, l.hotel.trouble(rules))
			l.in(t, l.hotel)
		}
	}
	named := func(m mood) func() {
		return func() {
			l.guest.dns.be(m)
			l.in(t, l.guest)
		}
	}
	steps := []func(){
		in(l.home), in(l.home), in(l.twin), in(l.cafe), in(l.broken6), in(l.guest), in(l.hotel),
		func() { l.out(t) },
		func() { l.in(t, l.home); must(t, l.home.trouble(deadRouter)) },
		func() { l.in(t, l.home); must(t, l.home.forget()) },
		func() { l.in(t, l.twin); must(t, l.a.vanish(blackHole)) },
		func() { l.in(t, l.cafe); must(t, l.a.vanish(refusing)) },
		captured(portal(trapImplicit, trapStartTLS)), captured(portal(trapClear, trapClear)), captured(stripping()),
		named(dead), named(lying), named(dawdling), named(denying),
	}
	steps[walk.IntN(len(steps))]()
}

// use is what a process has of the machine. Goroutines are not to be seen from
// outside; each one that is stuck holds a connection or memory.
type use struct{ files, threads, resident int }

func (u use) String() string {
	return fmt.Sprintf("%d files, %d threads, %d MiB", u.files, u.threads, u.resident>>20)
}

func (u use) grewFrom(before use) bool {
	return u.files > before.files+20 || u.threads > before.threads+10 || u.resident > 2*before.resident+64<<20
}

// use looks at the gateway.
func (g *gateway) use(t *testing.T) (u use) {
	t.Helper()
	dir := fmt.Sprintf("/proc/%d", g.PID())
	files, err := os.ReadDir(filepath.Join(dir, "fd"))
	must(t, err)
	u.files = len(files)
	status, err := os.ReadFile(filepath.Join(dir, "status"))
	must(t, err)
	for line := range strings.Lines(string(status)) {
		name, value, _ := strings.Cut(line, ":")
		n, _ := strconv.Atoi(strings.TrimSuffix(strings.TrimSpace(value), " kB"))
		switch name {
		case "Threads":
			u.threads = n
		case "VmRSS":
			u.resident = n << 10
		}
	}
	return u
}

var doubt = regexp.MustCompile(`(?m)^.*in-doubt.*\bid=(\w+)|^.*\bid=(\w+).*in-doubt`)

// doubts are the IDs of the messages that the log calls in doubt.
func (g *gateway) doubts() map[string]bool {
	ids := map[string]bool{}
	for _, m := range doubt.FindAllStringSubmatch(g.Log(), -1) {
		ids[slices.Max(m[1:])] = true
	}
	return ids
}

// id is the one that the gateway gave to a message.
func (g *gateway) id(token string) string {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.ids[token]
}
