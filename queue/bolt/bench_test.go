//go:build unix

package bolt

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"go.etcd.io/bbolt"

	"mailroam/queue"
)

// The benchmarks go through a message's life at 1, 16 and 64 callers and
// report, beside the time, what it costs whatever the disk: syncs and CPU.

var letterBody = bytes.Repeat([]byte("0123456789012345678901234567890123456789012345678901234567890123456789012345678\r\n"), 54)

type rig struct {
	testing.TB
	s   *Store
	ses queue.Session
}

func newRig(tb testing.TB) *rig {
	s, err := Open(Options{Dir: tb.TempDir()})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = s.Close() })
	ses, err := s.Join(context.Background())
	if err != nil {
		tb.Fatal(err)
	}
	return &rig{tb, s, ses}
}

func (r *rig) must(err error) {
	if err != nil {
		r.Fatal(err)
	}
}

func (r *rig) accept(first string, n queue.NewMessage, body []byte) queue.Claim {
	d, err := r.ses.NewDraft(context.Background(), n.ID)
	r.must(err)
	_, err = d.Write(body)
	r.must(err)
	c, err := d.Commit(context.Background(), first, n)
	r.must(err)
	return c
}

func (r *rig) read(id queue.ID) {
	b, err := r.s.OpenBody(context.Background(), id)
	r.must(err)
	_, err = io.Copy(io.Discard, b)
	r.must(err)
}

func (r *rig) delivered(c queue.Claim) {
	now := time.Now()
	r.must(r.ses.Settle(context.Background(), c, queue.Outcome{
		At: now, Counted: true,
		Rcpts:    []queue.RcptResult{{Index: 0, State: queue.Delivered, Last: queue.Answer{Upstream: c.Upstream, Code: 250, Enhanced: "2.0.0", Text: "queued as 4711", At: now}}},
		Attempts: []queue.Attempt{{At: now, Took: time.Millisecond, Upstream: c.Upstream, Endpoint: "mail.example.com:465", Stage: "dot", Verdict: "delivered", Code: 250, Text: "queued as 4711"}},
	}))
}

func (r *rig) commits() (n int) {
	r.must(r.s.db.View(func(tx *bbolt.Tx) error {
		n = tx.ID()
		return nil
	}))
	return n
}

func cpu() time.Duration {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// lives runs b.N lives in n goroutines.
func lives(b *testing.B, n int, life func(r *rig)) {
	r := newRig(b)
	var left atomic.Int64
	left.Store(int64(b.N))
	b.ResetTimer()
	commits, used := r.commits(), cpu()
	var wg sync.WaitGroup
	for range n {
		wg.Go(func() {
			for left.Add(-1) >= 0 {
				life(r)
			}
		})
	}
	wg.Wait()
	b.StopTimer()
	b.ReportMetric(float64(2*(r.commits()-commits))/float64(b.N), "syncs/op")
	b.ReportMetric(float64((cpu()-used).Microseconds())/float64(b.N), "µscpu/op")
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "op/s")
}

func at(b *testing.B, life func(r *rig)) {
	for _, n := range []int{1, 16, 64} {
		b.Run(fmt.Sprint(n), func(b *testing.B) { lives(b, n, life) })
	}
}

func BenchmarkAccept(b *testing.B) {
	at(b, func(r *rig) { r.accept("", letter("lane"), letterBody) })
}

// BenchmarkBornLeased is accept, read and settle: two commits.
func BenchmarkBornLeased(b *testing.B) {
	at(b, func(r *rig) {
		c := r.accept("up", letter("lane"), letterBody)
		r.read(c.ID)
		r.delivered(c)
	})
}

// BenchmarkClaimed is accept, claim, read and settle: three commits.
func BenchmarkClaimed(b *testing.B) {
	at(b, func(r *rig) {
		r.accept("", letter("lane"), letterBody)
		cs, err := r.ses.Claim(context.Background(), queue.ClaimRequest{
			Lanes: []queue.LaneRequest{{Lane: "lane", Upstream: "up"}}, Slots: map[string]int{"up": 1},
		})
		r.must(err)
		r.read(cs[0].ID)
		r.delivered(cs[0])
	})
}

func BenchmarkAccept5MiB(b *testing.B) {
	body := bytes.Repeat(letterBody, 5<<20/len(letterBody))
	at(b, func(r *rig) {
		c := r.accept("up", letter("lane"), body)
		r.delivered(c)
	})
}
