package queuetest

import (
	"io"
	"os"
	"path/filepath"
	"reflect"
	"testing"
	"testing/synctest"
	"time"

	"mailroam/queue"
)

// Open opens the store kept in a folder, which may be empty.
type Open func(t testing.TB, dir string) queue.Store

// RunDurable tests that what a store has acknowledged outlives it.
func RunDurable(t *testing.T, open Open) {
	for _, c := range []struct {
		name string
		run  func(*folder)
	}{
		{"mail of every state survives a stop", survivesStop},
		{"mail of every state survives a kill", survivesKill},
		{"bodies survive a kill, drafts do not", bodiesSurvive},
		{"what A took is never offered again after a kill at B", killAtB},
		{"a wish survives a kill", wishSurvives},
		{"a settle can be repeated after a kill", settleSurvives},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := &folder{bench: &bench{TB: t}, open: open, dir: t.TempDir()}
				t.Cleanup(func() { f.must(f.st.Close()) })
				f.st = open(t, f.dir)
				f.join()
				c.run(f)
				f.agree()
			})
		})
	}
}

// folder is a bench whose store can end and begin again.
type folder struct {
	*bench
	open Open
	dir  string
}

// stop ends the store in order and opens it again.
func (f *folder) stop() {
	f.Helper()
	f.must(f.ses.Leave(f.ctx()))
	f.must(f.st.Close())
	f.st = f.open(f, f.dir)
	f.agree()
	f.join()
}

// kill goes on with a copy of the folder as it is now: nothing was ended.
func (f *folder) kill() {
	f.Helper()
	next := f.TempDir()
	f.must(copyFolder(next, f.dir))
	f.must(f.st.Close())
	f.dir = next
	f.st = f.open(f, f.dir)
	f.agree()
	f.join()
}

// copyFolder copies plain files, as a kill would leave them.
func copyFolder(to, from string) error {
	files, err := os.ReadDir(from)
	if err != nil {
		return err
	}
	for _, e := range files {
		if !e.Type().IsRegular() {
			continue
		}
		if err := copyFile(filepath.Join(to, e.Name()), filepath.Join(from, e.Name())); err != nil {
			return err
		}
	}
	return nil
}

func copyFile(to, from string) (err error) {
	r, err := os.Open(from)
	if err != nil {
		return err
	}
	defer r.Close()
	w, err := os.OpenFile(to, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer func() {
		if cerr := w.Close(); err == nil {
			err = cerr
		}
	}()
	_, err = io.Copy(w, r)
	return err
}

var every = []queue.State{queue.Queued, queue.Leased, queue.Held, queue.Done}

func survivesStop(f *folder) {
	f.zoo(3)
	before := f.list(queue.Filter{States: every})
	now := time.Now().UTC()
	f.stop()
	after := f.list(queue.Filter{States: every})
	for i := range before { // leaving requeues what was leased
		if m := &before[i]; m.State == queue.Leased {
			m.State, m.Due = queue.Queued, now
		}
	}
	if !reflect.DeepEqual(before, after) {
		f.Errorf("before %+v\nafter  %+v", before, after)
	}
}

func survivesKill(f *folder) {
	f.zoo(3)
	before := f.list(queue.Filter{States: every})
	f.kill()
	after := f.list(queue.Filter{States: every})
	for i, m := range before {
		if m.State != queue.Leased {
			if !reflect.DeepEqual(m, after[i]) {
				f.Errorf("before %+v\nafter  %+v", m, after[i])
			}
			continue
		}
		if after[i].State != queue.Queued || after[i].InDoubt() != "up" || !after[i].Attempts[0].Interrupted {
			f.Errorf("interrupted %+v", after[i])
		}
	}
}

func bodiesSurvive(f *folder) {
	small, large := letter(), letter()
	body := pattern(3<<20 + 5)
	f.commit("", small, "small")
	f.commit("", large, string(body))
	d, err := f.ses.NewDraft(f.ctx(), queue.NewID())
	f.must(err)
	_, err = d.Write(body) // more than is held in memory
	f.must(err)
	f.kill()
	if f.body(small.ID) != "small" || diff([]byte(f.body(large.ID)), body) != "" {
		f.Error("a body has changed")
	}
	st, err := f.st.Stats(f.ctx())
	f.must(err)
	if st.Queued != 2 || st.Bytes != int64(len(body))+5 {
		f.Errorf("stats %+v", st)
	}
}

func killAtB(f *folder) {
	nobody := f.born(letter()) // no list of recipients means all, an empty one nobody
	f.must(f.ses.MarkDot(f.ctx(), nobody, []int{}, "B", nil))
	c := f.born(letter("a@example.org", "b@example.org", "c@example.org"))
	f.must(f.ses.MarkDot(f.ctx(), c, nil, "up", nil))
	f.must(f.ses.MarkDot(f.ctx(), c, []int{1, 2}, "B", []queue.RcptResult{
		{Index: 0, State: queue.Delivered, Last: queue.Answer{Upstream: "up", Code: 250}},
	}))
	f.kill()
	m := f.standing(c.ID, queue.Delivered, queue.Pending, queue.Pending)
	if m.Recipients[0].Last.Upstream != "up" || m.InDoubt() != "B" {
		f.Errorf("message %+v", m)
	}
	if m := f.get(nobody.ID); m.InDoubt() != "" {
		f.Errorf("message %+v", m)
	}
	got := f.claim(queue.ClaimRequest{Lanes: []queue.LaneRequest{{Lane: ""}}, Max: 2})[1]
	if p := got.Pending(); !reflect.DeepEqual(p, []int{1, 2}) {
		f.Errorf("recipients %v are offered", p)
	}
}

func wishSurvives(f *folder) {
	held, dropped := f.born(letter()), f.born(letter())
	f.apply(queue.OpHold, held.ID)
	f.apply(queue.OpDrop, dropped.ID)
	f.kill()
	f.state(held.ID, queue.Held)
	f.state(dropped.ID, queue.Done)
}

func settleSurvives(f *folder) {
	c := f.born(letter())
	o := all(c, queue.Delivered)
	notice := letter()
	notice.Body = []byte("sent")
	o.Spawn = []queue.NewMessage{notice}
	f.settle(c, o)
	f.kill()
	f.state(c.ID, queue.Done)
	f.state(notice.ID, queue.Queued)
	f.settle(c, o)
	if n := len(f.list(queue.Filter{States: every})); n != 2 {
		f.Errorf("%d messages", n)
	}
}
