package bolt

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/binary"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	"go.etcd.io/bbolt"

	"mailroam/queue"
)

// golden puts a queue as the first schema had it into a new folder. Six
// messages are in it: queued, held, done, in doubt, leased at a second
// upstream, and leased with an outcome that only fitted beside the queue.
func golden(t *testing.T) (dir string) {
	t.Helper()
	dir = t.TempDir()
	z, err := os.Open("testdata/v1/queue.db.gz")
	if err != nil {
		t.Fatal(err)
	}
	defer z.Close()
	r, err := gzip.NewReader(z)
	if err != nil {
		t.Fatal(err)
	}
	db, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	aside, err := os.ReadFile("testdata/v1/unsettled")
	if err != nil {
		t.Fatal(err)
	}
	for name, b := range map[string][]byte{fileDB: db, fileUnsettled: aside} {
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func old(n byte) queue.ID { return queue.ID{0: 1, 15: n} }

// A queue of the first schema is read whole, what its program left behind is
// settled, and its mail goes on.
func TestFirstSchema(t *testing.T) {
	dir := golden(t)
	r, err := Open(Options{Dir: dir, ReadOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	if st, err := r.Stats(t.Context()); err != nil || st.Queued != 2 || st.Held != 1 || st.Done != 1 || st.Leased != 2 || st.InDoubt != 1 || st.Quarantined != 0 {
		t.Errorf("%+v, %v", st, err)
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}

	b := newBench(t, Options{Dir: dir, Ballast: -1})
	at := time.Date(2026, 6, 1, 8, 0, 0, 0, time.UTC)
	no := queue.Answer{Upstream: "work", Code: 550, Enhanced: "5.7.1", Text: "no", At: at.Add(time.Hour)}
	get := func(n byte) queue.Message {
		t.Helper()
		m, err := b.s.Get(context.Background(), old(n))
		b.must(err)
		return m
	}
	m := get(1)
	if m.State != queue.Queued || m.ReversePath != "ann@example.com" || !m.EightBit || m.Lane != "backup" || m.Tries != 1 || m.Client.Helo != "laptop.example.com" || m.Online != time.Hour {
		t.Errorf("queued: %+v", m)
	}
	if rc := m.Recipients[0]; rc.State != queue.Pending || rc.Last != no || len(rc.Said) != 1 || rc.Said[0].Upstream != "work" || !rc.Said[0].Permanent() || rc.Said[0].Scope != "unknown" || m.Recipients[1].State != queue.Delivered {
		t.Errorf("queued: %+v", m.Recipients)
	}
	if len(m.Attempts) != 1 || m.Attempts[0].Stage != "rcpt" || len(m.Refusals) != 1 || !m.Refusals[0].Place || m.Refusals[0].Answer != no {
		t.Errorf("queued: %+v, %+v", m.Attempts, m.Refusals)
	}
	if m := get(2); m.State != queue.Held || m.Held.Reason != "no upstream may send for it" {
		t.Errorf("held: %+v", m)
	}
	if m := get(3); m.State != queue.Done || m.Recipients[0].State != queue.Delivered || m.Recipients[1].State != queue.Failed || len(m.Recipients[1].Said) != 2 {
		t.Errorf("done: %+v", m)
	}
	if d := get(4).Recipients[0].Doubt; d == nil || *d != (queue.Doubt{Upstream: "work", At: at.Add(time.Hour), Online: time.Hour, Crash: true, Refused: 1}) {
		t.Errorf("in doubt: %+v", d)
	}
	if m := get(5); m.State != queue.Queued || m.Recipients[0].State != queue.Delivered || m.InDoubt() != "backup" {
		t.Errorf("leased: %+v", m)
	}
	if m := get(6); m.State != queue.Done || m.Recipients[0].State != queue.Failed || m.Recipients[0].Last != no {
		t.Errorf("settled beside the queue: %+v", m)
	}
	if m := get(7); m.State != queue.Queued || !m.Notice || m.Recipients[0].Address != "ann@example.com" {
		t.Errorf("its notice: %+v", m)
	}

	cs, err := b.ses.Claim(context.Background(), queue.ClaimRequest{Except: map[string]bool{}, Max: 9})
	b.must(err)
	if len(cs) != 4 {
		t.Errorf("%d messages are claimed, want 1, 4, 5 and 7", len(cs))
	}
	for _, c := range cs {
		body, err := b.s.OpenBody(context.Background(), c.ID)
		b.must(err)
		if text, err := io.ReadAll(body); err != nil || !bytes.HasPrefix(text, []byte("Subject: n")) {
			t.Errorf("the body of %s is %q, %v", c.ID, text, err)
		}
		body.Close()
		o := delivered()
		for i := range c.Recipients {
			o.Rcpts = append(o.Rcpts, queue.RcptResult{Index: i, State: queue.Delivered})
		}
		b.must(b.ses.Settle(context.Background(), c, o))
	}
	if st, err := b.s.Stats(context.Background()); err != nil || st.Done != 6 || st.Held != 1 || st.Queued+st.Leased+st.InDoubt != 0 {
		t.Errorf("%+v, %v", st, err)
	}
	// From now on the older program must leave it alone.
	b.must(b.s.view(func(tx *bbolt.Tx) error {
		if n := binary.BigEndian.Uint64(tx.Bucket([]byte(bMeta)).Get(keySchema)); n != schema {
			t.Errorf("its schema is still %d", n)
		}
		return nil
	}))
}
