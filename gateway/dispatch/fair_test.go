package dispatch

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"mailroam/gateway/relay"
	"mailroam/health"
	"mailroam/queue"
	"mailroam/queue/bolt"
)

// TestFreshMailBesideBulk: while a hundred thousand of one sender wait for the
// only upstream, whatever it is that keeps them, a letter leaves within half a
// minute, and the bulk goes on.
func TestFreshMailBesideBulk(t *testing.T) {
	slow := func(int, relay.Delivery) *relay.Result {
		time.Sleep(5 * time.Second)
		return nil
	}
	for name, tt := range map[string]struct {
		limits health.Limits
		script func(int, relay.Delivery) *relay.Result
		pours  int    // more of the bulk, each second
		from   string // of the letters
		bulk   int    // at least so many go on, each minute
	}{
		"30 a minute, and more comes in":        {limits: health.Limits{PerMinute: 30}, from: "s%d@example.com", bulk: 18, pours: 3},
		"4 slow connections, and more comes in": {script: slow, from: "s%d@example.com", bulk: 40, pours: 3},
		"4 slow connections, the same sender":   {script: slow, from: "bulk@example.com", bulk: 36},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				store, err := bolt.Open(bolt.Options{Dir: t.TempDir(), Ballast: -1})
				if err != nil {
					t.Fatal(err)
				}
				defer store.Close()
				w := &world{t: t, store: store, peers: map[string]*peer{"a": {name: "a", script: tt.script}}}
				w.edit = func(c *Config) { c.Upstreams["a"] = Upstream{Relay: w.peers["a"], Slots: 4} }
				w.fill(manyWait)
				f := &fairness{at: map[string]time.Time{}}
				w.peers["a"].seen = f.seen
				w.limits = tt.limits
				w.start([]string{"a"})
				defer func() { w.end() }()
				w.pass(time.Minute)

				stop := make(chan struct{})
				var pouring sync.WaitGroup
				pouring.Go(func() {
					for i := 0; tt.pours > 0; i++ {
						select {
						case <-stop:
							return
						case <-time.After(time.Second / time.Duration(tt.pours)):
							w.submit("bulk@example.com", fmt.Sprintf("more%d@example.org", i))
						}
					}
				})
				const letters, every = 60, 13 * time.Second
				before := f.count()
				sent := map[string]time.Time{}
				for i := range letters {
					from, to := tt.from, fmt.Sprintf("letter%d@example.net", i)
					if strings.Contains(from, "%d") {
						from = fmt.Sprintf(from, i)
					}
					sent[to] = time.Now()
					w.submit(from, to)
					w.pass(every)
				}
				bulk := f.count() - before - letters
				w.pass(time.Minute)
				close(stop)
				pouring.Wait()

				var took []time.Duration
				for to, at := range sent {
					if there, ok := f.at[to]; ok {
						took = append(took, there.Sub(at))
					} else {
						took = append(took, time.Hour)
					}
				}
				slices.Sort(took)
				p50, p95, last := took[len(took)/2], took[len(took)*95/100], took[len(took)-1]
				minutes := int(letters * every / time.Minute)
				t.Logf("letters: p50 %v, p95 %v, max %v; bulk: %d a minute", p50, p95, last, bulk/minutes)
				if p95 >= 30*time.Second {
					t.Errorf("p95 is %v", p95)
				}
				if bulk/minutes < tt.bulk {
					t.Errorf("the bulk stands still: %d a minute", bulk/minutes)
				}
			})
		})
	}
}

// fairness notes when what arrived.
type fairness struct {
	mu sync.Mutex
	at map[string]time.Time
	n  int
}

func (f *fairness) seen(to []relay.Recipient) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, r := range to {
		f.n++
		if strings.HasPrefix(r.Address, "letter") {
			f.at[r.Address] = time.Now()
		}
	}
}

func (f *fairness) count() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.n
}

// fill puts bulk mail into the queue before anything runs, a thousand in a
// transaction.
func (w *world) fill(n int) {
	ctx := context.Background()
	s, err := w.store.Join(ctx)
	if err != nil {
		w.t.Fatal(err)
	}
	p := w.config([]string{"a"}).Policy
	for n > 0 {
		seed := queue.NewMessage{ID: queue.NewID(), Accepted: time.Now(), ReversePath: "seed@example.com", Recipients: queue.To("seed@example.net")}
		d, err := s.NewDraft(ctx, seed.ID)
		if err != nil {
			w.t.Fatal(err)
		}
		c, err := d.Commit(ctx, "a", seed)
		if err != nil {
			w.t.Fatal(err)
		}
		o := queue.Outcome{At: time.Now(), Rcpts: []queue.RcptResult{{State: queue.Delivered}}}
		for range min(n, 1000) {
			m := queue.NewMessage{
				ID: queue.NewID(), Accepted: time.Now(), ReversePath: "bulk@example.com",
				Recipients: queue.To("x@example.org"), Body: []byte("Subject: news\r\n\r\nnews\r\n"),
			}
			stored := m.New(int64(len(m.Body)))
			stored.Lane = fmt.Sprintf("%d/", crowds+crowd(&stored)) // as it is after the first few
			m.Filing, _ = p.File(&stored, nil, m.Accepted, Now{Time: m.Accepted})
			o.Spawn = append(o.Spawn, m)
		}
		n -= len(o.Spawn)
		if err := s.Settle(ctx, c, o); err != nil {
			w.t.Fatal(err)
		}
	}
	if err := s.Leave(ctx); err != nil {
		w.t.Fatal(err)
	}
}

// TestBulkLeavesAFifth: of a budget that is small beside the connections, too; and
// it goes on as the budget does.
func TestBulkLeavesAFifth(t *testing.T) {
	for _, limit := range []int{4, 30, 50} {
		live(t, []string{"a"}, func(w *world) {
			w.limits = health.Limits{PerMinute: limit}
			w.restart([]string{"a"})
			w.pass(time.Second)
			for i := range 4 * limit {
				w.submit("bulk@example.com", fmt.Sprintf("x%d@example.org", i))
			}
			w.pass(30 * time.Second)
			if _, took := w.peers["a"].count(); took != limit-limit/5 {
				t.Errorf("of %d it took %d", limit, took)
			}
			w.submit("ann@example.com", "bob@example.net")
			w.pass(time.Second)
			if _, took := w.peers["a"].count(); limit >= 5 && took != limit-limit/5+1 {
				t.Errorf("of %d nothing was left for a letter: it took %d", limit, took)
			}
			w.pass(8 * time.Minute)
			if _, took := w.peers["a"].count(); took != 4*limit+1 {
				t.Errorf("the bulk stands still at %d of %d", took, 4*limit+1)
			}
		})
	}
}

// TestTurns: each upstream's lanes come one after the other, wherever the last
// turn was.
func TestTurns(t *testing.T) {
	d := &Dispatcher{served: map[string]string{"a": "3/x"}, turns: map[string]int{}}
	lanes := func() (rs []queue.LaneRequest) {
		for _, l := range []string{"4/x", "0/x", "3/x"} {
			rs = append(rs, queue.LaneRequest{Lane: l, Upstream: "a"})
		}
		return append(rs, queue.LaneRequest{Lane: "9/y", Upstream: "b"}, queue.LaneRequest{Lane: "1/y", Upstream: "b"})
	}
	order := func(rs []queue.LaneRequest) (s string) {
		for _, r := range rs {
			s += r.Lane + " "
		}
		return s
	}
	rs := lanes()
	d.inTurn(rs)
	if got := order(rs); got != "4/x 0/x 3/x 1/y 9/y " {
		t.Errorf("order %s", got)
	}
	claim := func(u, lane string) queue.Claim {
		return queue.Claim{Message: queue.Message{Filing: queue.Filing{Lane: lane}}, Upstream: u}
	}
	d.had([]queue.Claim{claim("", "7/x"), claim("a", "4/x"), claim("a", "4/x"), claim("b", "1/y")})
	rs = lanes()
	d.inTurn(rs)
	if got := order(rs); got != "0/x 3/x 4/x 9/y 1/y " {
		t.Errorf("order %s", got)
	}
	if d.turns["4/x"] != 1 || d.turns["7/x"] != 0 {
		t.Errorf("turns %v", d.turns)
	}
}

// TestCrowds: a sender's mail is in one lane, whatever its reverse-path, and from
// some number on in one for bulk, where it stays.
func TestCrowds(t *testing.T) {
	d := &Dispatcher{lately: storms{}}
	p := testPolicy()
	seen := map[int]int{}
	for i := range 100 {
		m := message()
		m.ReversePath, m.Authors = fmt.Sprintf("bounce+%d@example.com", i), []string{"News@Example.com"}
		d.sort(&m, t0)
		seen[crowd(&m)]++
		again := m
		again.Lane = p.lane(&m, []string{"b"})
		d.sort(&again, t0)
		if crowd(&again) != crowd(&m) {
			t.Errorf("%s became %s", m.Lane, again.Lane)
		}
	}
	for k, n := range seen {
		if k < crowds && n != bulkFrom || k >= crowds && n != 100-bulkFrom {
			t.Errorf("%d of one author in lane %d", n, k)
		}
	}
	clear(seen)
	for i := range 200 {
		m := message()
		m.ReversePath = fmt.Sprintf("s%d@example.com", i)
		d.sort(&m, t0)
		seen[crowd(&m)]++
	}
	if len(seen) != crowds {
		t.Errorf("200 senders in %d lanes", len(seen))
	}
}
