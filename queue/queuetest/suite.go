package queuetest

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"reflect"
	"testing"
	"testing/synctest"
	"time"

	"mailroam/queue"
)

// Run tests that a store keeps the contract of queue.Store. open makes an
// empty one, inside a synctest bubble.
func Run(t *testing.T, open func(t testing.TB) queue.Store) {
	for _, c := range contract() {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := &bench{TB: t, st: open(t)}
				t.Cleanup(func() { b.must(b.st.Close()) })
				b.join()
				c.run(b)
				b.agree()
				b.must(b.ses.Leave(b.ctx()))
				b.agree()
			})
		})
	}
}

type check struct {
	name string
	run  func(*bench)
}

func contract() []check {
	return append(append(append(messages(), claims()...), leases()...), operator()...)
}

// bench is a store under test.
type bench struct {
	testing.TB
	st  queue.Store
	ses queue.Session
}

func (b *bench) ctx() context.Context { return context.Background() }

func (b *bench) must(err error) {
	b.Helper()
	if err != nil {
		b.Fatal(err)
	}
}

// is wants an error of a kind.
func (b *bench) is(err, want error) {
	b.Helper()
	if !errors.Is(err, want) {
		b.Fatalf("error is %v, want %v", err, want)
	}
}

func (b *bench) join() {
	b.Helper()
	ses, err := b.st.Join(b.ctx())
	b.must(err)
	b.ses = ses
}

// letter makes a message to one recipient, due now in lane "a".
func letter(to ...string) queue.NewMessage {
	if to == nil {
		to = []string{"bob@example.org"}
	}
	now := time.Now()
	return queue.NewMessage{
		ID: queue.NewID(), Accepted: now, Online: time.Minute, ReversePath: "ann@example.com", Recipients: queue.To(to...),
		Client: queue.Client{Addr: "127.0.0.1", Helo: "laptop"},
		Filing: queue.Filing{Lane: "a", Due: now, Age: now.Add(24 * time.Hour)},
	}
}

func (b *bench) commit(first string, n queue.NewMessage, body string) queue.Claim {
	b.Helper()
	d, err := b.ses.NewDraft(b.ctx(), n.ID)
	b.must(err)
	_, err = io.WriteString(d, body)
	b.must(err)
	c, err := d.Commit(b.ctx(), first, n)
	b.must(err)
	return c
}

// queued commits a message and gives its ID.
func (b *bench) queued(n queue.NewMessage) queue.ID {
	b.Helper()
	b.commit("", n, "Subject: test\r\n\r\nbody of "+n.ID.String()+"\r\n")
	return n.ID
}

// born commits a message that is leased at once, for upstream "up".
func (b *bench) born(n queue.NewMessage) queue.Claim {
	b.Helper()
	return b.commit("up", n, "born\r\n")
}

// from asks for up to n due messages of a lane.
func from(lane string, n int) queue.ClaimRequest {
	return queue.ClaimRequest{Lanes: []queue.LaneRequest{{Lane: lane, Upstream: "up"}}, Slots: map[string]int{"up": n}}
}

// claim takes what is there now and does not wait for more.
func (b *bench) claim(r queue.ClaimRequest) []queue.Claim {
	b.Helper()
	ctx, cancel := context.WithTimeout(b.ctx(), time.Millisecond)
	defer cancel()
	cs, err := b.ses.Claim(ctx, r)
	b.must(err)
	return cs
}

func (b *bench) one(r queue.ClaimRequest) queue.Claim {
	b.Helper()
	cs := b.claim(r)
	if len(cs) != 1 {
		b.Fatalf("claimed %d messages, want 1", len(cs))
	}
	return cs[0]
}

func (b *bench) get(id queue.ID) queue.Message {
	b.Helper()
	m, err := b.st.Get(b.ctx(), id)
	b.must(err)
	return m
}

func (b *bench) state(id queue.ID, want queue.State) queue.Message {
	b.Helper()
	m := b.get(id)
	if m.State != want {
		b.Fatalf("message is %s, want %s", m.State, want)
	}
	return m
}

func (b *bench) body(id queue.ID) string {
	b.Helper()
	r, err := b.st.OpenBody(b.ctx(), id)
	b.must(err)
	defer r.Close()
	got, err := io.ReadAll(r)
	b.must(err)
	return string(got)
}

func (b *bench) list(f queue.Filter) []queue.Message {
	b.Helper()
	var ms []queue.Message
	for m, err := range b.st.List(b.ctx(), f) {
		b.must(err)
		ms = append(ms, m)
	}
	return ms
}

func (b *bench) apply(v queue.Verb, ids ...queue.ID) queue.Affected {
	b.Helper()
	f := queue.Filter{IDs: ids}
	if v == queue.OpForget {
		f.States = []queue.State{queue.Done}
	}
	a, err := b.st.Apply(b.ctx(), f, queue.Op{Verb: v, Reason: "a test wants it", By: "operator", At: time.Now()})
	b.must(err)
	return a
}

func (b *bench) settle(c queue.Claim, o queue.Outcome) {
	b.Helper()
	b.must(b.ses.Settle(b.ctx(), c, o))
}

// all gives every recipient of c the same new state.
func all(c queue.Claim, s queue.RcptState) queue.Outcome {
	o := queue.Outcome{At: time.Now(), Counted: true, Filing: c.Filing}
	for i := range c.Recipients {
		o.Rcpts = append(o.Rcpts, queue.RcptResult{Index: i, State: s, Last: queue.Answer{Upstream: c.Upstream, Code: 250, At: time.Now().UTC()}})
	}
	return o
}

// agree compares what Stats counts with what List shows.
func (b *bench) agree() {
	b.Helper()
	got, err := b.st.Stats(b.ctx())
	b.must(err)
	want := queue.Stats{Lanes: map[string]int{}}
	for _, m := range b.list(queue.Filter{States: []queue.State{queue.Queued, queue.Leased, queue.Held, queue.Done}}) {
		if m.Online > got.Online {
			b.Errorf("Stats.Online is %v, and %s was accepted at %v", got.Online, m.ID, m.Online)
		}
		switch m.State {
		case queue.Queued:
			want.Queued++
			want.Lanes[m.Lane]++
		case queue.Leased:
			want.Leased++
		case queue.Held:
			want.Held++
			if m.Held.ByUs() {
				want.Stuck++
			}
		case queue.Done:
			want.Done++
			continue
		}
		want.Bytes += m.Size
		want.Oldest = m.Accepted // the list is newest first
		if m.InDoubt() != "" {
			want.InDoubt++
		}
		if m.Barred != 0 && m.State != queue.Held {
			want.Barred++
		}
	}
	want.Online = got.Online
	if !reflect.DeepEqual(got, want) {
		b.Errorf("Stats says %+v\nList says %+v", got, want)
	}
}

// pattern makes n octets in which no two blocks are alike.
func pattern(n int) []byte {
	b := make([]byte, 0, n+8)
	for i := uint64(1); len(b) < n; i++ {
		b = binary.BigEndian.AppendUint64(b, i*0x9E3779B97F4A7C15)
	}
	return b[:n]
}

func diff(got, want []byte) string {
	if bytes.Equal(got, want) {
		return ""
	}
	return fmt.Sprintf("%d octets, want %d, or they differ", len(got), len(want))
}
