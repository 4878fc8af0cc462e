package bolt

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.etcd.io/bbolt"

	"mailroam/queue"
)

func TestSecondOpenIsRefused(t *testing.T) {
	b := newBench(t, Options{})
	for _, o := range []Options{{Dir: b.dir}, {Dir: b.dir, ReadOnly: true}} {
		took := time.Hour
		for range 5 { // the machine may be busy with something else
			start := time.Now()
			_, err := Open(o)
			b.is(err, queue.ErrBusy)
			if !strings.Contains(err.Error(), fmt.Sprint("process ", os.Getpid())) {
				t.Error(err)
			}
			if took = min(took, time.Since(start)); took <= time.Second {
				break
			}
		}
		if took > time.Second {
			t.Errorf("refused after %v", took)
		}
	}
	dir := t.TempDir()
	s, err := Open(Options{Dir: dir})
	b.must(err)
	b.must(s.Close())
	if _, err := os.Stat(filepath.Join(dir, filePID)); err == nil {
		t.Error("the process number stays")
	}
	r, err := Open(Options{Dir: dir, ReadOnly: true})
	b.must(err)
	defer r.Close()
	b.must(os.WriteFile(filepath.Join(dir, filePID), []byte("999999999"), 0o600)) // of one that was killed
	_, err = Open(Options{Dir: dir})
	b.is(err, queue.ErrBusy)
	if strings.Contains(err.Error(), "process") {
		t.Errorf("it names a process: %v", err)
	}
}

func TestModes(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a", "queue")
	s, err := Open(Options{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if st, err := os.Stat(dir); err != nil || st.Mode().Perm() != 0o700 {
		t.Errorf("folder %v, %v", st.Mode(), err)
	}
	es, _ := os.ReadDir(dir)
	if len(es) != 4 {
		t.Errorf("files %v", es)
	}
	for _, e := range es {
		if st, err := e.Info(); err != nil || st.Mode().Perm() != 0o600 {
			t.Errorf("%s %v, %v", e.Name(), st.Mode(), err)
		}
	}
}

func TestBirthCutShort(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, fileDB), make([]byte, 16<<10), 0o600); err != nil {
		t.Fatal(err)
	}
	s, err := Open(Options{Dir: dir, Ballast: -1})
	if err != nil {
		t.Fatal(err)
	}
	s.Close()
}

// spoil changes a queue file that is not open.
func spoil(t *testing.T, dir string, fn func(tx *bbolt.Tx) error) {
	t.Helper()
	db, err := bbolt.Open(filepath.Join(dir, fileDB), 0o600, &bbolt.Options{NoFreelistSync: true, FreelistType: bbolt.FreelistMapType})
	if err != nil {
		t.Fatal(err)
	}
	if err := db.Update(fn); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestNewerSchema(t *testing.T) {
	dir := t.TempDir()
	s, err := Open(Options{Dir: dir, Ballast: -1})
	if err != nil {
		t.Fatal(err)
	}
	s.Close()
	spoil(t, dir, func(tx *bbolt.Tx) error {
		return tx.Bucket([]byte(bMeta)).Put(keySchema, binary.BigEndian.AppendUint64(nil, schema+1))
	})
	before, _ := os.ReadFile(filepath.Join(dir, fileDB))
	_, err = Open(Options{Dir: dir})
	if !errors.Is(err, queue.ErrNewer) || !strings.Contains(err.Error(), "install") {
		t.Errorf("error is %v", err)
	}
	if after, _ := os.ReadFile(filepath.Join(dir, fileDB)); string(before) != string(after) {
		t.Error("the newer file was changed")
	}
}

// farm is a queue with mail of all states, closed without an end.
type farm struct {
	dir                              string
	queued, leased, held, done, twin queue.ID
	bodies                           map[queue.ID]string
}

func newFarm(t *testing.T) *farm {
	t.Helper()
	b := newBench(t, Options{noSync: true, Ballast: -1})
	f := &farm{bodies: map[queue.ID]string{}}
	put := func(first string) queue.Claim {
		body := fmt.Sprint("body of ", len(f.bodies), strings.Repeat(" and more of it", 80*len(f.bodies)))
		c, err := b.accept(first, body)
		b.must(err)
		f.bodies[c.ID] = body
		return c
	}
	f.queued, f.twin, f.leased, f.held = put("").ID, put("").ID, put("up").ID, put("").ID
	_, err := b.s.Apply(t.Context(), queue.Filter{IDs: []queue.ID{f.held}}, queue.Op{Verb: queue.OpHold, At: time.Now()})
	b.must(err)
	c := put("up")
	b.must(b.settle(c))
	f.done = c.ID
	f.dir = t.TempDir()
	b.must(os.CopyFS(f.dir, os.DirFS(b.dir)))
	b.must(b.ses.Leave(t.Context()))
	return f
}

func (f *farm) open(t *testing.T) *bench {
	t.Helper()
	b := newBench(t, Options{Dir: f.dir, noSync: true, Ballast: -1})
	st, err := b.s.Stats(t.Context())
	b.must(err)
	n := 0
	for m, err := range b.s.List(t.Context(), queue.Filter{States: []queue.State{queue.Queued, queue.Held, queue.Done}}) {
		b.must(err)
		n++
		if m.State == queue.Done {
			continue
		}
		r, err := b.s.OpenBody(t.Context(), m.ID)
		b.must(err)
		got, err := io.ReadAll(r)
		b.must(err)
		if string(got) != f.bodies[m.ID] {
			t.Errorf("%s has another body", m.ID)
		}
	}
	if n != st.Queued+st.Held+st.Done {
		t.Errorf("%d listed, stats %+v", n, st)
	}
	return b
}

// claimable checks that the indexes offer exactly these messages. A claim gives
// all that is there at once: its time limit is for when nothing is.
func (b *bench) claimable(want ...queue.ID) {
	b.Helper()
	ctx, cancel := context.WithTimeout(b.Context(), time.Minute)
	defer cancel()
	cs, err := b.ses.Claim(ctx, queue.ClaimRequest{Except: map[string]bool{}, Max: 99})
	b.must(err)
	got := map[queue.ID]bool{}
	for _, c := range cs {
		got[c.ID] = true
	}
	for _, id := range want {
		if !got[id] {
			b.Errorf("%s is not offered", id)
		}
	}
	if len(got) != len(want) {
		b.Errorf("%d are offered, want %d", len(got), len(want))
	}
}

func TestRepair(t *testing.T) {
	t.Run("nothing to do", func(t *testing.T) {
		f := newFarm(t)
		before, _ := os.ReadFile(filepath.Join(f.dir, fileDB))
		s, err := Open(Options{Dir: f.dir, Ballast: -1})
		if err != nil {
			t.Fatal(err)
		}
		s.Close()
		if after, _ := os.ReadFile(filepath.Join(f.dir, fileDB)); string(before) != string(after) {
			t.Error("a sound file was written")
		}
		b := f.open(t)
		b.claimable(f.queued, f.twin, f.leased)
	})
	for _, name := range []string{bDue, bAge, bHeld, bDone} {
		t.Run("index lost: "+name, func(t *testing.T) {
			f := newFarm(t)
			spoil(t, f.dir, func(tx *bbolt.Tx) error {
				if err := tx.DeleteBucket([]byte(name)); err != nil {
					return err
				}
				_, err := tx.CreateBucket([]byte(name))
				return err
			})
			b := f.open(t)
			b.claimable(f.queued, f.twin, f.leased)
			held := 0
			for range b.s.List(t.Context(), queue.Filter{States: []queue.State{queue.Held}}) {
				held++
			}
			a, err := b.s.Apply(t.Context(), queue.Filter{States: []queue.State{queue.Done}, Before: time.Now().Add(time.Hour)}, queue.Op{Verb: queue.OpForget})
			if held != 1 || err != nil || a.Changed != 1 {
				t.Errorf("%d held, %+v forgotten (%v)", held, a, err)
			}
		})
		t.Run("index with a stray entry: "+name, func(t *testing.T) {
			f := newFarm(t)
			spoil(t, f.dir, func(tx *bbolt.Tx) error {
				k := dueKey("lane", time.Now(), f.held)
				switch name {
				case bAge, bDone:
					k = timeKey(time.Now(), f.held)
				case bHeld:
					k = f.queued[:]
				}
				return tx.Bucket([]byte(name)).Put(k, nil)
			})
			b := f.open(t)
			b.claimable(f.queued, f.twin, f.leased)
			b.state(f.held, queue.Held)
		})
	}
	t.Run("drafts and bodies without a message", func(t *testing.T) {
		f := newFarm(t)
		spoil(t, f.dir, func(tx *bbolt.Tx) error {
			for _, name := range []string{bBody, bStage} {
				id := queue.NewID()
				in, err := tx.Bucket([]byte(name)).CreateBucket(id[:])
				if err != nil {
					return err
				}
				if err := in.Put(chunkKey(0), make([]byte, 5000)); err != nil {
					return err
				}
			}
			return nil
		})
		b := f.open(t)
		b.must(b.s.view(func(tx *bbolt.Tx) error {
			if n := tx.Bucket([]byte(bStage)).Stats().KeyN; n != 0 {
				t.Errorf("%d drafts are left", n)
			}
			bodies := 0
			_ = tx.Bucket([]byte(bBody)).ForEachBucket(func([]byte) error { bodies++; return nil })
			if bodies != 4 {
				t.Errorf("%d bodies, want 4", bodies)
			}
			return nil
		}))
	})
	flip := func(bucket string, id queue.ID) func(*bbolt.Tx) error {
		return func(tx *bbolt.Tx) error {
			b := tx.Bucket([]byte(bucket))
			v := append([]byte(nil), b.Get(id[:])...)
			v[len(v)/2] ^= 4
			return b.Put(id[:], v)
		}
	}
	t.Run("a damaged message", func(t *testing.T) {
		f := newFarm(t)
		spoil(t, f.dir, flip(bEnv, f.twin))
		b := f.open(t)
		b.claimable(f.queued, f.leased)
		_, err := b.s.Get(t.Context(), f.twin)
		b.is(err, queue.ErrNotFound)
		if st, _ := b.s.Stats(t.Context()); st.Quarantined != 1 {
			t.Errorf("stats %+v", st)
		}
		b.must(b.s.view(func(tx *bbolt.Tx) error {
			if tx.Bucket([]byte(bQuarantine)).Get(f.twin[:]) == nil || tx.Bucket([]byte(bBody)).Bucket(f.twin[:]) == nil {
				t.Error("what is left of it was thrown away")
			}
			return nil
		}))
	})
	t.Run("a damaged message that was leased", func(t *testing.T) {
		f := newFarm(t)
		spoil(t, f.dir, flip(bEnv, f.leased))
		f.open(t).claimable(f.queued, f.twin)
	})
	t.Run("a damaged lease", func(t *testing.T) {
		f := newFarm(t)
		spoil(t, f.dir, flip(bLease, f.leased))
		b := f.open(t)
		if m := b.state(f.leased, queue.Held); !strings.Contains(m.Held.Reason, "may have been sent") {
			t.Errorf("held %+v", m.Held)
		}
		b.claimable(f.queued, f.twin)
	})
	t.Run("a lease on nothing", func(t *testing.T) {
		f := newFarm(t)
		spoil(t, f.dir, func(tx *bbolt.Tx) error {
			id := queue.NewID()
			return tx.Bucket([]byte(bLease)).Put(id[:], (&lease{upstream: "up"}).encode(id))
		})
		f.open(t).claimable(f.queued, f.twin, f.leased)
	})
	t.Run("one record in another's place", func(t *testing.T) {
		f := newFarm(t)
		spoil(t, f.dir, func(tx *bbolt.Tx) error {
			env := tx.Bucket([]byte(bEnv))
			return env.Put(f.twin[:], append([]byte(nil), env.Get(f.queued[:])...))
		})
		f.open(t).claimable(f.queued, f.leased)
	})
}

// Damage that comes while the queue is open stops one message, not the lane.
func TestDamageUnderAClaim(t *testing.T) {
	b := newBench(t, Options{noSync: true, Ballast: -1})
	bad, err := b.accept("", "x")
	b.must(err)
	good, err := b.accept("", "y")
	b.must(err)
	gone, err := b.accept("", "z")
	b.must(err)
	b.must(b.s.db.Update(func(tx *bbolt.Tx) error {
		env := tx.Bucket([]byte(bEnv))
		return errors.Join(env.Put(bad.ID[:], []byte("rubbish")), env.Delete(gone.ID[:]))
	}))
	b.claimable(good.ID)
	if st, _ := b.s.Stats(t.Context()); st.Quarantined != 1 || st.Queued != 1 || st.Leased != 1 {
		t.Errorf("stats %+v", st) // the one that vanished is still counted
	}
}

func TestDamagedBody(t *testing.T) {
	for name, damage := range map[string]func(body, other *bbolt.Bucket) error{
		"a bit":                 func(b, _ *bbolt.Bucket) error { v := clone(b, 1); v[70] ^= 1; return b.Put(chunkKey(1), v) },
		"a checksum":            func(b, _ *bbolt.Bucket) error { v := clone(b, 1); v[0] ^= 1; return b.Put(chunkKey(1), v) },
		"a chunk is missing":    func(b, _ *bbolt.Bucket) error { return b.Delete(chunkKey(1)) },
		"a chunk is cut short":  func(b, _ *bbolt.Bucket) error { return b.Put(chunkKey(1), clone(b, 1)[:100]) },
		"a chunk is empty":      func(b, _ *bbolt.Bucket) error { return b.Put(chunkKey(1), nil) },
		"another message's":     func(b, o *bbolt.Bucket) error { return b.Put(chunkKey(1), clone(o, 1)) },
		"another of the same":   func(b, _ *bbolt.Bucket) error { return b.Put(chunkKey(1), clone(b, 0)) },
		"the end is missing":    func(b, _ *bbolt.Bucket) error { return b.Delete(chunkKey(2)) },
		"the end is too long":   func(b, _ *bbolt.Bucket) error { return b.Put(chunkKey(2), append(clone(b, 2), 'x')) },
		"the beginning is lost": func(b, _ *bbolt.Bucket) error { return b.Delete(chunkKey(0)) },
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, Options{noSync: true, Ballast: -1})
			body := strings.Repeat("0123456789abcdef", 2*chunkSize/16+100)
			m, err := b.accept("", body)
			b.must(err)
			other, err := b.accept("", strings.ToUpper(body))
			b.must(err)
			b.must(b.s.db.Update(func(tx *bbolt.Tx) error {
				bodies := tx.Bucket([]byte(bBody))
				return damage(bodies.Bucket(m.ID[:]), bodies.Bucket(other.ID[:]))
			}))
			r, err := b.s.OpenBody(t.Context(), m.ID)
			var got []byte
			if err == nil {
				got, err = io.ReadAll(r)
			}
			b.is(err, queue.ErrCorrupt)
			if !strings.HasPrefix(body, string(got)) {
				t.Error("damaged octets were given out")
			}
		})
	}
}

func clone(b *bbolt.Bucket, n int) []byte { return append([]byte(nil), b.Get(chunkKey(n))...) }

// Whatever bit of the file is wrong, it opens or says why not; it never crashes,
// and never gives out a wrong body or a wrong record.
func TestAnyBitWrong(t *testing.T) {
	f := newFarm(t)
	path := filepath.Join(f.dir, fileDB)
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	s, err := Open(Options{Dir: f.dir, ReadOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	want := map[queue.ID]queue.Message{}
	for m, err := range s.List(t.Context(), queue.Filter{States: []queue.State{queue.Queued, queue.Leased, queue.Held, queue.Done}}) {
		if err != nil {
			t.Fatal(err)
		}
		want[m.ID] = m
	}
	s.Close()

	seed := rand.Uint64()
	t.Log("seed", seed)
	rnd := rand.New(rand.NewPCG(seed, 0))
	opened, refused := 0, 0
	try := func(content []byte) {
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
		s, err := Open(Options{Dir: f.dir, noSync: true, Ballast: -1})
		if err != nil {
			if !errors.Is(err, queue.ErrCorrupt) && !errors.Is(err, queue.ErrNewer) {
				t.Errorf("error is %v", err)
			}
			refused++
			return
		}
		defer s.Close()
		opened++
		for m, err := range s.List(t.Context(), queue.Filter{States: []queue.State{queue.Queued, queue.Leased, queue.Held, queue.Done}}) {
			if err != nil {
				continue
			}
			if w, known := want[m.ID]; !known || m.ReversePath != w.ReversePath || m.Size != w.Size || m.Recipients[0].Address != w.Recipients[0].Address {
				t.Errorf("a message came back as %+v", m)
			}
			r, err := s.OpenBody(t.Context(), m.ID)
			if err != nil {
				continue
			}
			if got, _ := io.ReadAll(r); !strings.HasPrefix(f.bodies[m.ID], string(got)) {
				t.Errorf("a wrong body was given out for %s", m.ID)
			}
		}
	}
	const pageSize = 4096
	for at := 0; at < len(whole); at += pageSize {
		for range 12 { // in the head of each page, and anywhere in it
			for _, off := range []int{rnd.IntN(96), rnd.IntN(pageSize)} {
				b := append([]byte(nil), whole...)
				b[at+off] ^= 1 << rnd.IntN(8)
				try(b)
			}
		}
		try(whole[:at])
		b := append([]byte(nil), whole...)
		clear(b[at : at+pageSize])
		try(b)
	}
	t.Logf("%d opened, %d refused", opened, refused)
	if opened == 0 || refused == 0 {
		t.Error("the damage was not of both kinds")
	}
}

func FuzzLease(f *testing.F) {
	id := queue.NewID()
	f.Add((&lease{upstream: "up", fence: fence{1, 2}}).encode(id)[sumLen:])
	f.Add((&lease{upstream: "up", rcpts: []int{1}, known: []queue.RcptResult{{Index: 1}}, want: queue.WantHold}).encode(id)[sumLen:])
	f.Fuzz(func(t *testing.T, v []byte) {
		l, err := decodeLease(id, seal(id, append(make([]byte, sumLen), v...)))
		if err != nil {
			return
		}
		again, err := decodeLease(id, l.encode(id))
		if err != nil || again.fence != l.fence || again.upstream != l.upstream || again.want != l.want ||
			(again.rcpts == nil) != (l.rcpts == nil) || len(again.known) != len(l.known) {
			t.Fatalf("%+v\nbecame\n%+v (%v)", l, again, err)
		}
	})
}

// FuzzPages looks for a file that passes the walk and makes bbolt panic.
func FuzzPages(f *testing.F) {
	dir := f.TempDir()
	s, err := Open(Options{Dir: dir, Ballast: -1})
	if err != nil {
		f.Fatal(err)
	}
	s.Close()
	whole, err := os.ReadFile(filepath.Join(dir, fileDB))
	if err != nil {
		f.Fatal(err)
	}
	whole = whole[:min(len(whole), 64<<10)]
	f.Add(uint(3*4096+9), byte(1))
	f.Fuzz(func(t *testing.T, at uint, flip byte) {
		b := append([]byte(nil), whole...)
		b[at%uint(len(b))] ^= flip
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, fileDB), b, 0o600); err != nil {
			t.Fatal(err)
		}
		s, err := Open(Options{Dir: dir, Ballast: -1, noSync: true})
		if err == nil {
			err = s.Close()
		}
		if err != nil && !errors.Is(err, queue.ErrCorrupt) && !errors.Is(err, queue.ErrNewer) {
			t.Error(err)
		}
	})
}
