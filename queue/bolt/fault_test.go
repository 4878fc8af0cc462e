package bolt

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"go.etcd.io/bbolt"

	"mailroam/queue"
)

func letter(lane string) queue.NewMessage {
	now := time.Now()
	return queue.NewMessage{
		ID: queue.NewID(), Accepted: now, ReversePath: "sender@example.com", Recipients: queue.To("recipient@example.org"),
		Client: queue.Client{Addr: "127.0.0.1", Helo: "client.example.com"},
		Filing: queue.Filing{Lane: lane, Due: now, Age: now.Add(time.Hour)},
	}
}

// bench is an open store whose commits a test can spoil.
type bench struct {
	*testing.T
	dir string
	s   *Store
	ses queue.Session

	mu    sync.Mutex
	spoil func(*bbolt.Tx) error // nil: all goes well
}

func newBench(t *testing.T, o Options) *bench {
	t.Helper()
	if o.Dir == "" {
		o.Dir = t.TempDir()
	}
	s, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	b := &bench{T: t, dir: o.Dir, s: s}
	s.finish = func(tx *bbolt.Tx) error {
		b.mu.Lock()
		spoil := b.spoil
		b.mu.Unlock()
		if spoil == nil {
			return tx.Commit()
		}
		return spoil(tx)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	b.join()
	return b
}

func (b *bench) join() {
	b.Helper()
	var err error
	if b.ses, err = b.s.Join(context.Background()); err != nil {
		b.Fatal(err)
	}
}

// fail makes every commit fail from now on.
func (b *bench) fail(how func(*bbolt.Tx) error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.spoil = how
}

// unseen fails a commit that has changed nothing.
func unseen(err error) func(*bbolt.Tx) error {
	return func(tx *bbolt.Tx) error { return errors.Join(err, tx.Rollback()) }
}

// seen fails a commit that readers see: what a failed sync of the meta page does.
func seen(err error) func(*bbolt.Tx) error {
	return func(tx *bbolt.Tx) error { return errors.Join(err, tx.Commit()) }
}

var (
	enospc = &fs.PathError{Op: "write", Path: "queue.db", Err: syscall.ENOSPC}
	edquot = &fs.PathError{Op: "write", Path: "queue.db", Err: syscall.EDQUOT}
	eio    = &fs.PathError{Op: "write", Path: "queue.db", Err: syscall.EIO}
)

func (b *bench) must(err error) {
	b.Helper()
	if err != nil {
		b.Fatal(err)
	}
}

func (b *bench) is(err, want error) {
	b.Helper()
	if !errors.Is(err, want) {
		b.Fatalf("error is %v, want %v", err, want)
	}
}

func (b *bench) accept(first, body string) (queue.Claim, error) {
	b.Helper()
	n := letter("lane")
	d, err := b.ses.NewDraft(context.Background(), n.ID)
	b.must(err)
	defer d.Abort()
	if _, err := io.WriteString(d, body); err != nil {
		return queue.Claim{}, err
	}
	return d.Commit(context.Background(), first, n)
}

func (b *bench) born() queue.Claim {
	b.Helper()
	c, err := b.accept("up", "a body\r\n")
	b.must(err)
	return c
}

func delivered() queue.Outcome {
	now := time.Now().UTC()
	return queue.Outcome{At: now, Rcpts: []queue.RcptResult{{Index: 0, State: queue.Delivered, Last: queue.Answer{Code: 250, At: now}}}}
}

func (b *bench) settle(c queue.Claim) error {
	return b.ses.Settle(context.Background(), c, delivered())
}

func (b *bench) state(id queue.ID, want queue.State) queue.Message {
	b.Helper()
	m, err := b.s.Get(context.Background(), id)
	b.must(err)
	if m.State != want {
		b.Fatalf("message is %s, want %s", m.State, want)
	}
	return m
}

// killed opens a copy of the folder as it is now, as after kill -9.
func (b *bench) killed(but ...string) *bench {
	b.Helper()
	dir := b.TempDir()
	b.must(os.CopyFS(dir, os.DirFS(b.dir)))
	for _, name := range but {
		b.must(os.Remove(filepath.Join(dir, name)))
	}
	return newBench(b.T, Options{Dir: dir, noSync: true, Ballast: -1})
}

func (b *bench) exists(name string) bool {
	_, err := os.Stat(filepath.Join(b.dir, name))
	return err == nil
}

func TestFullDisk(t *testing.T) {
	for name, err := range map[string]error{"full": enospc, "quota": edquot} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBench(t, Options{noSync: true, Ballast: 1 << 20})
				c, other := b.born(), b.born()
				if !b.exists(fileBallast) {
					t.Fatal("no ballast is kept")
				}
				b.fail(func(tx *bbolt.Tx) error { // until the ballast is gone
					if b.exists(fileBallast) {
						return unseen(err)(tx)
					}
					return tx.Commit()
				})
				before, _ := b.s.Stats(t.Context())
				_, aerr := b.accept("", "x")
				b.is(aerr, queue.ErrFull)
				b.must(b.settle(c)) // what was sent can be recorded
				b.state(c.ID, queue.Done)
				_, aerr = b.accept("up", "x") // but the room is not for new mail
				b.is(aerr, queue.ErrFull)
				_, aerr = b.accept("", strings.Repeat("x", 3<<20))
				b.is(aerr, queue.ErrFull)
				if after, _ := b.s.Stats(t.Context()); after.Queued+after.Leased != before.Queued+before.Leased-1 {
					t.Errorf("before %+v, after %+v", before, after)
				}
				if b.s.isPoisoned() || b.exists(filePoisoned) {
					t.Error("a full disk has poisoned the store")
				}

				b.fail(nil)
				time.Sleep(spaceCheck)
				if _, err := b.accept("", "x"); err != nil {
					t.Errorf("with space again: %v", err)
				}
				if !b.exists(fileBallast) {
					t.Error("the ballast was not taken back")
				}
				b.must(b.settle(other))
			})
		})
	}
}

func TestFullDiskWithoutBallast(t *testing.T) {
	b := newBench(t, Options{noSync: true, Ballast: -1})
	c, waiting := b.born(), b.born()
	b.must(b.ses.Requeue(t.Context(), waiting)) // something to claim
	b.fail(unseen(enospc))
	b.is(b.settle(c), queue.ErrFull)
	b.is(b.settle(c), queue.ErrFull)
	if _, err := b.ses.Claim(t.Context(), queue.ClaimRequest{Lanes: []queue.LaneRequest{{Lane: "lane", Upstream: "up"}}, Slots: map[string]int{"up": 1}}); !errors.Is(err, queue.ErrFull) {
		t.Errorf("claiming: %v", err)
	}
	b.must(b.ses.MarkDot(t.Context(), c, nil, "up", nil)) // needs no write
	b.is(b.ses.MarkDot(t.Context(), c, nil, "other", nil), queue.ErrFull)
	b.state(c.ID, queue.Leased)

	// The process ends before there is space: the next one knows the result.
	if m := b.killed().state(c.ID, queue.Done); m.Recipients[0].State != queue.Delivered || m.Recipients[0].Last.Code != 250 {
		t.Errorf("message %+v", m)
	}
	// Without the file it would not, so it is the file that tells.
	if m := b.killed(fileUnsettled).state(c.ID, queue.Queued); m.InDoubt() != "up" {
		t.Errorf("message %+v", m)
	}

	b.fail(nil) // there is space
	b.must(b.settle(c))
	b.must(b.settle(c))
	b.state(c.ID, queue.Done)
	if len(b.s.unsettled.entries) != 0 || b.s.unsettled.end != 0 {
		t.Error("the file still holds the result")
	}
}

// A pass whose result is written beside the queue has sent its message: giving
// it back must not make it fresh.
func TestUnsettledIsNotRequeued(t *testing.T) {
	for name, end := range map[string]func(*bench, queue.Claim) error{
		"requeue": func(b *bench, c queue.Claim) error { return b.ses.Requeue(b.Context(), c) },
		"leave":   func(b *bench, _ queue.Claim) error { return b.ses.Leave(b.Context()) },
		"join":    func(b *bench, _ queue.Claim) error { b.join(); return nil },
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, Options{noSync: true, Ballast: -1})
			c := b.born()
			b.fail(unseen(enospc))
			b.is(b.settle(c), queue.ErrFull)
			b.fail(nil)
			b.must(end(b, c))
			b.state(c.ID, queue.Done)
			if len(b.s.unsettled.entries) != 0 {
				t.Error("the entry is still there")
			}
		})
	}
}

// The file is small; what it must not lose is who has a copy.
func TestUnsettledRunsOut(t *testing.T) {
	b := newBench(t, Options{noSync: true, Ballast: -1})
	var cs []queue.Claim
	for range 8 {
		cs = append(cs, b.born())
	}
	b.fail(unseen(enospc))
	for _, c := range cs {
		o := delivered()
		n := letter("lane")
		n.Body = make([]byte, 200<<10)
		o.Spawn = []queue.NewMessage{n}
		b.is(b.ses.Settle(t.Context(), c, o), queue.ErrFull)
	}
	next := b.killed()
	for _, c := range cs {
		next.state(c.ID, queue.Done)
	}
	st, err := next.s.Stats(t.Context())
	b.must(err)
	if st.Queued == 0 || st.Queued == len(cs) {
		t.Errorf("%d of %d notices were kept: the file was meant to be too small", st.Queued, len(cs))
	}
}

// Getting room for the file must not cost what is in it.
func TestUnsettledSurvivesItsReserve(t *testing.T) {
	b := newBench(t, Options{noSync: true, Ballast: -1})
	c := b.born()
	b.fail(unseen(enospc))
	b.is(b.settle(c), queue.ErrFull)
	dir := t.TempDir()
	b.must(os.CopyFS(dir, os.DirFS(b.dir)))
	newBench(t, Options{Dir: dir, noSync: true, Ballast: 1 << 20}).state(c.ID, queue.Done)
}

// A mistake in a callback stops one message, not the store.
func TestNoticePanics(t *testing.T) {
	b := newBench(t, Options{noSync: true, Ballast: -1})
	c, err := b.accept("", "x")
	b.must(err)
	a, err := b.s.Apply(t.Context(), queue.Filter{}, queue.Op{Verb: queue.OpFail, Notice: func(queue.Message) *queue.NewMessage { panic("oops") }})
	if err != nil || a.Changed != 0 || b.s.isPoisoned() {
		t.Errorf("affected %+v, %v", a, err)
	}
	b.state(c.ID, queue.Queued)
}

func TestPoison(t *testing.T) {
	for name, c := range map[string]struct {
		how     func(*bbolt.Tx) error
		visible bool
	}{
		"a sync of the data fails":      {unseen(syscall.EIO), false},
		"a sync of the meta page fails": {seen(syscall.EIO), true},
		"a write fails":                 {unseen(eio), false},
		"a sync has no space":           {unseen(syscall.ENOSPC), false},
		"no space, and it is visible":   {seen(enospc), true},
		"bbolt panics":                  {func(*bbolt.Tx) error { panic("page 7 already freed") }, false},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, Options{noSync: true, Ballast: -1})
			kept, open := b.born(), b.born()
			b.must(b.settle(kept))
			claiming := make(chan error)
			go func() {
				_, err := b.ses.Claim(t.Context(), queue.ClaimRequest{Aged: true, Max: 1})
				claiming <- err
			}()
			b.fail(c.how)
			_, err := b.accept("", "x")
			b.is(err, queue.ErrPoisoned)
			b.fail(nil) // the disk seems well again, and must not be believed
			<-b.s.Poisoned()
			b.is(<-claiming, queue.ErrPoisoned)
			_, err = b.accept("", "x")
			b.is(err, queue.ErrPoisoned)
			b.is(b.ses.MarkDot(t.Context(), open, nil, "up", nil), queue.ErrPoisoned)
			b.is(b.ses.Requeue(t.Context(), open), queue.ErrPoisoned)
			_, err = b.s.Apply(t.Context(), queue.Filter{}, queue.Op{Verb: queue.OpHold})
			b.is(err, queue.ErrPoisoned)
			b.is(b.settle(open), queue.ErrPoisoned)
			b.state(kept.ID, queue.Done) // reading goes on

			if p, err := Poisonings(b.dir); err != nil || len(p) != 1 || p[0].Error == "" {
				t.Errorf("poisonings %+v, %v", p, err)
			}
			next := b.killed()
			next.state(kept.ID, queue.Done)
			next.state(open.ID, queue.Done) // its pass had ended
			st, err := next.s.Stats(t.Context())
			b.must(err)
			if got := st.Queued == 1; got != c.visible {
				t.Errorf("stats %+v: the commit was visible: %v", st, c.visible)
			}
			if p, err := readPoison(next.dir); err != nil || !p.Verified || len(p.Times) != 1 {
				t.Errorf("after the restart: %+v, %v", p, err)
			}
		})
	}
}

func TestPoisonIsCountedFor10Minutes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		for i := range 3 {
			s, err := Open(Options{Dir: dir, noSync: true, Ballast: -1})
			if err != nil {
				t.Fatal(err)
			}
			s.finish = unseen(syscall.EIO)
			if _, err := s.Join(t.Context()); !errors.Is(err, queue.ErrPoisoned) {
				t.Fatal(err)
			}
			s.Close()
			if p, err := Poisonings(dir); len(p) != i+1 || err != nil {
				t.Fatalf("poisonings %v, %v", p, err)
			}
			time.Sleep(3 * time.Minute)
		}
		time.Sleep(2 * time.Minute)
		if p, _ := Poisonings(dir); len(p) != 2 {
			t.Errorf("the first is still counted: %v", p)
		}
		time.Sleep(6 * time.Minute)
		s, err := Open(Options{Dir: dir, noSync: true, Ballast: -1})
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		if _, err := os.Stat(filepath.Join(dir, filePoisoned)); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("the file is still there: %v", err)
		}
	})
}

// A note that could only be half written still makes the next start verify.
func TestPoisonNoteTorn(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, filePoisoned), []byte(`{"verified":true,"tim`), 0o600); err != nil {
		t.Fatal(err)
	}
	if p, err := readPoison(dir); err != nil || p.Verified {
		t.Errorf("%+v, %v", p, err)
	}
}

// A commit takes what came while the last one ran, and what is withdrawn
// before it is taken never happens.
func TestGroupCommitAndWithdrawal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, Options{noSync: true, Ballast: -1})
		gate, commits := make(chan struct{}), 0
		b.fail(func(tx *bbolt.Tx) error {
			commits++
			<-gate
			return tx.Commit()
		})
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		commit := func(ctx context.Context, id queue.ID) error {
			n := letter("lane")
			n.ID = id
			d, err := b.ses.NewDraft(ctx, id)
			b.must(err)
			_, err = d.Commit(ctx, "", n)
			return err
		}
		first, gone := queue.NewID(), queue.NewID()
		wg.Go(func() {
			if err := commit(ctx, first); err != nil { // its commit runs when ctx ends
				t.Errorf("the first: %v", err)
			}
		})
		synctest.Wait()
		wg.Go(func() { b.is(commit(ctx, gone), context.Canceled) })
		for range 20 {
			wg.Go(func() { b.must(commit(t.Context(), queue.NewID())) })
		}
		synctest.Wait()
		cancel()
		synctest.Wait()
		close(gate)
		wg.Wait()
		if commits != 2 {
			t.Errorf("%d commits for 21 messages, want 2", commits)
		}
		b.state(first, queue.Queued)
		if _, err := b.s.Get(t.Context(), gone); !errors.Is(err, queue.ErrNotFound) {
			t.Errorf("what was withdrawn: %v", err)
		}
	})
}

func TestLotsAreBounded(t *testing.T) {
	in := inbox{bell: make(chan struct{}, 1)}
	add := func(n, size int) {
		for range n {
			if err := in.put(&request{size: size}); err != nil {
				t.Fatal(err)
			}
		}
	}
	take := func() int {
		lot, open := in.take(nil)
		if !open {
			t.Error("it is closed")
		}
		return len(lot)
	}
	add(maxBatch+5, 1)
	if n := take(); n != maxBatch {
		t.Errorf("%d in a lot, want %d", n, maxBatch)
	}
	if n := take(); n != 5 {
		t.Errorf("%d in a lot, want the rest", n)
	}
	add(6, 1<<20)
	if n := take(); n != 4 {
		t.Errorf("%d in a lot, want %d octets", n, maxBatchBytes)
	}
	take()
	add(2, 10<<20) // larger than a lot may be: it goes alone
	if n := take(); n != 1 {
		t.Errorf("%d in a lot, want 1", n)
	}
	in.close()
	if err := in.put(&request{}); !errors.Is(err, queue.ErrClosed) {
		t.Error(err)
	}
	if lot, open := in.take(nil); len(lot) != 1 || open {
		t.Errorf("%d at the end, open %v", len(lot), open)
	}
}

func TestLinger(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		in := inbox{bell: make(chan struct{}, 1)}
		put := func(n int) {
			for range n {
				if err := in.put(&request{}); err != nil {
					t.Error(err)
				}
			}
		}
		lingers := func(n int) time.Duration {
			start := time.Now()
			in.linger(atLeast(n), time.Second)
			return time.Since(start)
		}
		put(3)
		if d := lingers(3); d != 0 {
			t.Errorf("waited %v for those who were there", d)
		}
		go func() {
			time.Sleep(100 * time.Millisecond)
			put(2) // not all
			time.Sleep(100 * time.Millisecond)
			put(1)
		}()
		if d := lingers(6); d != 200*time.Millisecond {
			t.Errorf("waited %v for those who came", d)
		}
		if d := lingers(7); d != time.Second {
			t.Errorf("waited %v for one who never came", d)
		}
		if lot, _ := in.take(nil); len(lot) != 6 {
			t.Errorf("%d in the lot", len(lot))
		}
		put(1) // after all that the bell rings for one
		<-in.bell
		in.close()
		if d := lingers(7); d != 0 {
			t.Errorf("waited %v at the end", d)
		}
	})
}

// TestPatience holds that only a settle waits for company, and only until
// somebody comes who should not wait.
func TestPatience(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		in := inbox{bell: make(chan struct{}, 1)}
		put := func(patient bool) {
			if err := in.put(&request{patient: patient}); err != nil {
				t.Error(err)
			}
		}
		waits := func() time.Duration {
			start := time.Now()
			in.linger(urgent, time.Second)
			return time.Since(start)
		}
		if d := waits(); d != 0 {
			t.Errorf("waited %v with nothing to do", d)
		}
		put(true)
		go func() {
			time.Sleep(100 * time.Millisecond)
			put(true)
			time.Sleep(100 * time.Millisecond)
			put(false)
		}()
		if d := waits(); d != 200*time.Millisecond {
			t.Errorf("waited %v, want until the urgent one came", d)
		}
		put(true)
		if d := waits(); d != 0 {
			t.Errorf("waited %v with an urgent one there", d)
		}
		if lot, _ := in.take(nil); len(lot) != 4 {
			t.Errorf("%d in the lot", len(lot))
		}
		put(true)
		if d := waits(); d != time.Second {
			t.Errorf("waited %v alone", d)
		}
	})
}

func TestDraftHoldsOnePart(t *testing.T) {
	b := newBench(t, Options{noSync: true, Ballast: -1})
	d, err := b.ses.NewDraft(t.Context(), queue.NewID())
	b.must(err)
	defer d.Abort()
	for range 100 {
		_, err := d.Write(make([]byte, 100_000))
		b.must(err)
		if n := d.(*draft).body.held(); n > partSize+20*sumLen {
			t.Fatalf("%d octets are held", n)
		}
	}
}

func TestClosedStore(t *testing.T) {
	s, err := Open(Options{Dir: t.TempDir(), noSync: true, Ballast: -1})
	if err != nil {
		t.Fatal(err)
	}
	ses, err := s.Join(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	_, err = s.Join(t.Context())
	_, gerr := s.Get(t.Context(), queue.NewID())
	_, cerr := ses.Claim(t.Context(), queue.ClaimRequest{})
	for _, err := range []error{err, gerr, cerr, ses.Leave(t.Context())} {
		if !errors.Is(err, queue.ErrClosed) {
			t.Errorf("error is %v", err)
		}
	}
	for _, err := range s.List(t.Context(), queue.Filter{}) {
		if !errors.Is(err, queue.ErrClosed) {
			t.Errorf("listing: %v", err)
		}
	}
}

func TestReadOnly(t *testing.T) {
	b := newBench(t, Options{noSync: true, Ballast: -1})
	c := b.born()
	dir := b.TempDir()
	b.must(os.CopyFS(dir, os.DirFS(b.dir)))
	b.must(os.Chmod(filepath.Join(dir, fileDB), 0o400))
	s, err := Open(Options{Dir: dir, ReadOnly: true})
	b.must(err)
	defer s.Close()
	other, err := Open(Options{Dir: dir, ReadOnly: true}) // two may look at once
	b.must(err)
	b.must(other.Close())
	m, err := s.Get(t.Context(), c.ID)
	if err != nil || m.State != queue.Leased {
		t.Errorf("message %+v, %v", m, err)
	}
	if st, err := s.Stats(t.Context()); err != nil || st.Leased != 1 {
		t.Errorf("stats %+v, %v", st, err)
	}
	if _, err := s.Join(t.Context()); !errors.Is(err, errReadOnly) {
		t.Errorf("joining: %v", err)
	}
	if _, err := s.Apply(t.Context(), queue.Filter{}, queue.Op{Verb: queue.OpHold}); !errors.Is(err, errReadOnly) {
		t.Errorf("holding: %v", err)
	}
	empty := t.TempDir()
	for range 2 { // first without a file, then with one that is still empty
		if _, err := Open(Options{Dir: empty, ReadOnly: true}); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("no queue: %v", err)
		}
		b.must(os.WriteFile(filepath.Join(empty, fileDB), nil, 0o600))
	}
	var names []string
	for _, dir := range []string{dir, b.dir} {
		es, _ := os.ReadDir(dir)
		names = append(names, es[0].Name())
	}
	if !reflect.DeepEqual(names[0], names[1]) {
		t.Error("reading left files behind")
	}
}
