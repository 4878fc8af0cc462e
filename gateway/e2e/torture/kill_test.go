// Package torture kills the real binary at bad moments and compares what its
// clients were told with what its upstreams saw.
package torture

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"mailroam/gateway/e2e/peers"
	"mailroam/gateway/sink"
)

// ledger is both sides of the truth.
type ledger struct {
	mu    sync.Mutex
	acked map[string]string // mark → queue ID, when the client read the 250
	tried map[string]bool   // marks that were sent at all
}

// count is how many were acknowledged so far.
func (l *ledger) count() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.acked)
}

// await waits until so many were acknowledged, or for half a minute.
func (l *ledger) await(n int) {
	for deadline := time.Now().Add(30 * time.Second); l.count() < n && time.Now().Before(deadline); {
		time.Sleep(time.Millisecond)
	}
}

// sighting is one copy at an upstream.
type sighting struct {
	sink string
	at   time.Time
	run  int // which life of the gateway sent it
}

func kills() int {
	if os.Getenv("MAILROAM_TORTURE") != "" {
		return 200
	}
	return 20
}

// TestKill9 kills the gateway at random moments under load. Nothing that was
// acknowledged may be lost, and a second copy may exist only of what was
// between its dot and its settle when a kill came.
func TestKill9(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d, %d kills", seed, kills())
	rnd := rand.New(rand.NewPCG(seed, 1))

	dir := t.TempDir()
	names := []string{"first", "second"}
	var logs []string
	var upstreams []string
	open := newCrowd()
	for _, name := range names {
		path := filepath.Join(dir, name+".ledger")
		f, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		// A dot that takes a moment keeps passes open between dot and settle.
		slow := sink.Fault{Stage: sink.Dot, Steps: []sink.Step{{Do: sink.Delay, For: 3 * time.Millisecond}}}
		srv := sink.New(sink.Options{Name: name, Ledger: f, Faults: []sink.Fault{slow}})
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan error, 1)
		go func() { done <- srv.Serve(ctx, counting{l, open}) }()
		defer func() { cancel(); <-done }()
		logs = append(logs, path)
		upstreams = append(upstreams, fmt.Sprintf("[[upstream]]\nname = %q\nurls = [\"smtp+insecure://%s\"]", name, l.Addr()))
	}
	port, err := peers.FreePort()
	if err != nil {
		t.Fatal(err)
	}
	addr := fmt.Sprintf("127.0.0.1:%d", port)
	config := strings.Join(append([]string{
		"hostname = \"gw.example.org\"",
		fmt.Sprintf("data_dir = %q", filepath.Join(dir, "data")),
		"[log]\nformat = \"json\"",
		fmt.Sprintf("[[listen]]\naddress = %q", addr),
	}, upstreams...), "\n")
	life := 0
	start := func() *peers.Mailroam {
		life++
		p, err := peers.StartMailroam(t.Context(), binary, filepath.Join(dir, fmt.Sprint("life", life)), addr, config)
		if err != nil {
			t.Fatal(err)
		}
		return p
	}

	l := &ledger{acked: map[string]string{}, tried: map[string]bool{}}
	var runs []map[string]bool // what each life settled as delivered
	var ended []time.Time      // of each life
	for run := range kills() {
		p := start()
		ctx, cancel := context.WithCancel(context.Background())
		var load sync.WaitGroup
		for k := range 6 {
			size := []int{200, 4 << 10, 100 << 10}[rnd.IntN(3)]
			rcpts := 1 + rnd.IntN(3)
			load.Go(func() { l.load(ctx, addr, fmt.Sprintf("r%d.c%d", run, k), rcpts, size) })
		}
		// The random moment: so many messages into this life, and a little later.
		l.await(l.count() + rnd.IntN(50))
		time.Sleep(time.Duration(rnd.IntN(20)) * time.Millisecond)
		p.Kill()
		runs = append(runs, delivered(p.Log()))
		cancel()
		load.Wait()
		open.wait()
		ended = append(ended, time.Now())
	}

	// The last life: all mail must leave.
	ended = append(ended, time.Now().Add(time.Hour))
	p := start()
	waitFor(t, 2*time.Minute, p, func() error {
		seen, err := sightings(logs, names, ended)
		if err != nil {
			return err
		}
		for mark := range l.acked {
			if len(seen[mark]) == 0 {
				return fmt.Errorf("acknowledged and not delivered: %s (%s)", mark, l.acked[mark])
			}
		}
		return nil
	})
	if err := p.Close(); err != nil {
		t.Error(err)
	}
	runs = append(runs, delivered(p.Log()))

	seen, err := sightings(logs, names, ended)
	if err != nil {
		t.Fatal(err)
	}
	copies, caught := 0, map[int]bool{}
	for mark, ss := range seen {
		if !l.tried[mark] {
			t.Errorf("%s was never submitted", mark)
		}
		id := l.acked[mark]
		for i, s := range ss {
			settled := id != "" && s.run < len(runs) && runs[s.run][id]
			if !settled {
				caught[s.run] = true
			}
			if i == len(ss)-1 {
				break
			}
			copies++
			switch {
			case settled:
				t.Errorf("%s was settled in life %d and sent again in life %d", mark, s.run, ss[i+1].run)
			case ss[i+1].run == s.run:
				t.Errorf("%s was sent twice in life %d, without a kill between", mark, s.run)
			case ss[i+1].sink != s.sink:
				t.Errorf("%s may have been taken by %s, and the second copy went to %s", mark, s.sink, ss[i+1].sink)
			}
		}
	}
	delete(caught, len(runs)-1)
	t.Logf("%d acknowledged, %d submitted, %d second copies, %d of %d kills fell between a dot and its settle", len(l.acked), len(l.tried), copies, len(caught), kills())
	if len(l.acked) < 5*kills() {
		t.Errorf("only %d messages were acknowledged in %d lives: the load did not work", len(l.acked), kills())
	}
	if len(caught) == 0 {
		t.Error("no kill fell into an open pass: this run shows nothing")
	}
}

// crowd counts the open connections at the upstreams.
type crowd struct {
	mu   sync.Mutex
	gone sync.Cond // signals open == 0
	open int
}

func newCrowd() *crowd {
	c := &crowd{}
	c.gone.L = &c.mu
	return c
}

func (c *crowd) add(n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.open += n; c.open == 0 {
		c.gone.Broadcast()
	}
}

// wait returns when the upstreams have read all that a dead gateway sent.
func (c *crowd) wait() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for c.open > 0 {
		c.gone.Wait()
	}
}

// counting is a listener whose connections are counted.
type counting struct {
	net.Listener
	crowd *crowd
}

func (l counting) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	l.crowd.add(1)
	return &counted{Conn: c, leave: sync.OnceFunc(func() { l.crowd.add(-1) })}, nil
}

type counted struct {
	net.Conn
	leave func()
}

func (c *counted) Close() error {
	defer c.leave()
	return c.Conn.Close()
}

// delivered reads from a log the queue IDs that were settled as delivered: the
// line is written after the settle.
func delivered(log string) map[string]bool {
	ids := map[string]bool{}
	for line := range strings.Lines(log) {
		var event struct{ Msg, ID string }
		if json.Unmarshal([]byte(line), &event) == nil && event.Msg == "delivered" {
			ids[event.ID] = true
		}
	}
	return ids
}

// load submits messages until the gateway dies.
func (l *ledger) load(ctx context.Context, addr, name string, rcpts, size int) {
	c, err := dial(addr)
	if err != nil {
		return
	}
	defer c.c.Close()
	for n := 0; ctx.Err() == nil; n++ {
		mark := fmt.Sprintf("%s.%d@torture", name, n)
		l.mu.Lock()
		l.tried[mark] = true
		l.mu.Unlock()
		id, err := c.send(mark, rcpts, size)
		if err != nil {
			return
		}
		l.mu.Lock()
		l.acked[mark] = id
		l.mu.Unlock()
	}
}

// sightings reads what the upstreams saw: every dot, in order.
func sightings(paths, names []string, ended []time.Time) (map[string][]sighting, error) {
	seen := map[string][]sighting{}
	for i, path := range paths {
		f, err := os.Open(path)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		for s := bufio.NewScanner(f); s.Scan(); {
			w := strings.Fields(s.Text())
			if len(w) < 3 || w[0] != "dot-seen" {
				continue
			}
			at, err := time.Parse(time.RFC3339Nano, w[2])
			if err != nil {
				return nil, err
			}
			run := 0
			for run < len(ended)-1 && at.After(ended[run]) {
				run++
			}
			mark := strings.Trim(w[1], "<>")
			seen[mark] = append(seen[mark], sighting{names[i], at, run})
		}
	}
	for _, ss := range seen {
		sortByTime(ss)
	}
	return seen, nil
}

func sortByTime(ss []sighting) {
	for i := 1; i < len(ss); i++ {
		for k := i; k > 0 && ss[k].at.Before(ss[k-1].at); k-- {
			ss[k], ss[k-1] = ss[k-1], ss[k]
		}
	}
}

// waitFor polls, since it watches another process.
func waitFor(t *testing.T, limit time.Duration, p *peers.Mailroam, check func() error) {
	t.Helper()
	deadline := time.Now().Add(limit)
	for {
		err := check()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("after %v: %v\n%s", limit, err, tail(p.Log(), 4000))
		}
		time.Sleep(20 * time.Millisecond)
	}
}

func tail(s string, n int) string { return s[max(0, len(s)-n):] }
