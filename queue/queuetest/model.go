package queuetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"reflect"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"mailroam/queue"
)

// step is one thing that happens to a queue. The numbers choose among what is
// there when it happens.
type step struct {
	Do      string
	N, M    int
	Results []queue.RcptState
}

var anyStore = []string{
	"commit", "commit", "commit", "born", "born", "large", "abort", "claim", "claim", "claim anew", "claim aged",
	"mark", "move", "settle", "settle", "settle", "settle again", "stale", "requeue",
	"hold", "release", "retry", "fail", "drop", "forget", "wait", "join", "leave",
}

// RunModel does random things to a store and to a plain map, which must stay
// the same.
func RunModel(t *testing.T, open func(t testing.TB) queue.Store) {
	model(t, func(t testing.TB, _ string) queue.Store { return open(t) }, anyStore)
}

// RunDurableModel also stops and kills the store, between any two of them.
func RunDurableModel(t *testing.T, open Open) {
	model(t, open, append(slices.Clone(anyStore), "stop", "kill"))
}

func model(t *testing.T, open Open, steps []string) {
	rapid.Check(t, func(rt *rapid.T) {
		plan := rapid.SliceOfN(rapid.Custom(func(rt *rapid.T) step {
			return step{
				Do: rapid.SampledFrom(steps).Draw(rt, "do"),
				N:  rapid.IntRange(0, 1000).Draw(rt, "n"), M: rapid.IntRange(0, 1000).Draw(rt, "m"),
				Results: rapid.SliceOfN(rapid.SampledFrom([]queue.RcptState{queue.Pending, queue.Delivered, queue.Failed, queue.Expired, ""}), 3, 3).Draw(rt, "results"),
			}
		}), 40, 80).Draw(rt, "plan")
		var err error
		synctest.Test(t, func(t *testing.T) {
			r := &run{t: t, open: open, dir: t.TempDir(), mail: map[queue.ID]*kept{}}
			defer func() { err = errors.Join(err, r.st.Close()) }()
			r.st = open(t, r.dir)
			if err = r.join(); err != nil {
				return
			}
			for i, s := range plan {
				err = r.step(s)
				if restarted := slices.Contains([]string{"join", "stop", "kill"}, s.Do); err == nil && (restarted || i%5 == 0 || i == len(plan)-1) {
					err = r.same()
				}
				if err != nil {
					err = fmt.Errorf("step %d, %s: %w", i, s.Do, err)
					return
				}
			}
		})
		if err != nil {
			rt.Fatal(err)
		}
	})
}

// kept is a message as the model has it. Its rules are those of package queue,
// which have tables of their own; what is modelled is that they are applied to
// the right message, once, and survive.
type kept struct {
	m    queue.Message
	body []byte

	leased   bool
	claim    queue.Claim
	upstream string
	rcpts    []int
	known    []queue.RcptResult
	want     queue.Want

	last    *queue.Claim // the claim that was settled last, and how
	outcome queue.Outcome
}

func (k *kept) end() { k.leased, k.upstream, k.rcpts, k.known, k.want = false, "", nil, nil, "" }

type run struct {
	t      *testing.T
	open   Open
	dir    string
	st     queue.Store
	ses    queue.Session
	mail   map[queue.ID]*kept
	stale  []queue.Claim
	bodies int
}

func (r *run) ctx() context.Context { return context.Background() }

// join is also what the model does to leases that nobody ended.
func (r *run) join() (err error) {
	r.ses, err = r.st.Join(r.ctx())
	for _, k := range r.mail {
		if k.leased {
			r.stale = append(r.stale, k.claim)
			k.m.Interrupt(k.upstream, k.rcpts, k.known, k.want, time.Now())
			k.end()
		}
	}
	return err
}

func (r *run) leave() error {
	for _, k := range r.mail {
		if k.leased {
			r.stale = append(r.stale, k.claim)
			k.m.Requeue(k.known, k.want, time.Now())
			k.end()
		}
	}
	return r.ses.Leave(r.ctx())
}

// pick chooses one message that fits, in a fixed order, or nil.
func (r *run) pick(n int, fits func(*kept) bool) *kept {
	var among []*kept
	for _, k := range r.mail {
		if fits(k) {
			among = append(among, k)
		}
	}
	if len(among) == 0 {
		return nil
	}
	slices.SortFunc(among, func(a, b *kept) int { return bytes.Compare(a.m.ID[:], b.m.ID[:]) })
	return among[n%len(among)]
}

func leased(k *kept) bool { return k.leased }

func (r *run) filing(s step) queue.Filing {
	now := time.Now()
	f := queue.Filing{Lane: []string{"", "a", "b", "a,b"}[s.N%4], Due: now.Add(time.Duration(s.M%5-3) * time.Minute)}
	if s.M%3 > 0 {
		f.Age = now.Add(time.Duration(s.N%7-2) * time.Hour)
	}
	return f
}

func (r *run) step(s step) error {
	switch s.Do {
	case "commit":
		return r.commit(s, "", s.N%300)
	case "born":
		return r.commit(s, "up", s.N%300)
	case "large": // now and then more than is held in memory
		return r.commit(s, "", s.N*s.M+s.N)
	case "abort":
		d, err := r.ses.NewDraft(r.ctx(), queue.NewID())
		if err == nil {
			_, err = d.Write(make([]byte, s.N*s.M*3))
			d.Abort()
		}
		return err
	case "claim":
		return r.claim(queue.ClaimRequest{
			Lanes: []queue.LaneRequest{{Lane: "a", Upstream: "A"}, {Lane: "b", Upstream: "B", Newest: s.M%2 == 0}},
			Slots: map[string]int{"A": s.N % 3, "B": s.M % 3}, Turn: s.N,
		})
	case "claim anew":
		return r.claim(queue.ClaimRequest{Except: map[string]bool{"a": true, "b": true}, Max: s.N % 4})
	case "claim aged":
		return r.claim(queue.ClaimRequest{Aged: true, Max: s.N % 4})
	case "mark", "move":
		return r.mark(s)
	case "settle":
		return r.settle(s)
	case "settle again":
		k := r.pick(s.N, func(k *kept) bool { return k.last != nil && !k.leased })
		if k == nil {
			return nil
		}
		return r.ses.Settle(r.ctx(), *k.last, k.outcome)
	case "stale":
		return r.useStale(s)
	case "requeue":
		if k := r.pick(s.N, leased); k != nil {
			r.stale = append(r.stale, k.claim)
			k.m.Requeue(k.known, k.want, time.Now())
			k.end()
			return r.ses.Requeue(r.ctx(), k.claim)
		}
	case "hold", "release", "retry", "fail", "drop", "forget":
		return r.apply(s)
	case "wait":
		time.Sleep(time.Duration(s.N) * time.Second)
	case "join":
		return r.join()
	case "leave":
		return errors.Join(r.leave(), r.join())
	case "stop":
		if err := errors.Join(r.leave(), r.st.Close()); err != nil {
			return err
		}
		r.st = r.open(r.t, r.dir)
		return r.join()
	case "kill":
		next := r.t.TempDir()
		if err := errors.Join(copyFolder(next, r.dir), r.st.Close()); err != nil {
			return err
		}
		r.dir = next
		r.st = r.open(r.t, r.dir)
		return r.join()
	}
	return nil
}

func (r *run) commit(s step, first string, size int) error {
	n := letter([]string{"a@example.org", "b@example.org", "c@example.org"}[:1+s.M%3]...)
	n.Filing = r.filing(s)
	r.bodies++
	body := append([]byte(fmt.Sprint(r.bodies, " ")), pattern(size)...)
	d, err := r.ses.NewDraft(r.ctx(), n.ID)
	if err != nil {
		return err
	}
	if _, err := d.Write(body); err != nil {
		return err
	}
	c, err := d.Commit(r.ctx(), first, n)
	if err != nil {
		return err
	}
	k := &kept{m: n.New(int64(len(body))), body: body}
	r.mail[n.ID] = k
	if first != "" {
		k.leased, k.claim, k.upstream = true, c, first
	}
	return nil
}

// claim takes what the store gives and holds it against what it may give: the
// order has tests of its own.
func (r *run) claim(q queue.ClaimRequest) error {
	now := time.Now()
	may := map[queue.ID]bool{}
	count := map[string]int{}
	for id, k := range r.mail {
		if k.leased || k.m.State != queue.Queued {
			continue
		}
		_, listed := q.Except[k.m.Lane]
		aged := q.Aged && !k.m.Age.IsZero() && !k.m.Age.After(now)
		anew := q.Except != nil && !listed
		upstream := ""
		for _, l := range q.Lanes {
			if l.Lane == k.m.Lane && !k.m.Due.After(now) {
				upstream = l.Upstream
			}
		}
		if aged || anew || upstream != "" {
			may[id] = true
			count[upstream]++
		}
	}
	ctx, cancel := context.WithTimeout(r.ctx(), 1)
	defer cancel()
	cs, err := r.ses.Claim(ctx, q)
	if err != nil {
		return err
	}
	for _, c := range cs {
		k := r.mail[c.ID]
		if !may[c.ID] || k.leased {
			return fmt.Errorf("%s was claimed: %+v", c.ID, c)
		}
		count[c.Upstream]--
		want := k.m
		want.State = queue.Leased
		if !reflect.DeepEqual(c.Message, want) {
			return fmt.Errorf("claimed %+v\nwant    %+v", c.Message, want)
		}
		k.leased, k.claim, k.upstream = true, c, c.Upstream
	}
	for upstream, left := range count {
		slots := q.Slots[upstream]
		if upstream == "" {
			slots = q.Max
		}
		taken := 0
		for _, c := range cs {
			if c.Upstream == upstream {
				taken++
			}
		}
		if taken > slots || left > 0 && taken < slots {
			return fmt.Errorf("%d were claimed for %q in %d slots, and %d are left", taken, upstream, slots, left)
		}
	}
	return nil
}

func (r *run) mark(s step) error {
	k := r.pick(s.N, leased)
	if k == nil {
		return nil
	}
	upstream, known := k.upstream, []queue.RcptResult(nil)
	if s.Do == "move" {
		upstream = []string{"A", "B", "C"}[s.M%3]
		known = results(s, k)
	}
	rcpts := k.m.Pending()
	err := r.ses.MarkDot(r.ctx(), k.claim, rcpts, upstream, known)
	switch {
	case k.want == queue.WantHold && errors.Is(err, queue.ErrHeld), k.want == queue.WantDrop && errors.Is(err, queue.ErrDropped):
		return nil
	case k.want != "":
		return fmt.Errorf("with a wish to %s: %w", k.want, err)
	case upstream != k.upstream:
		k.upstream, k.rcpts, k.known = upstream, rcpts, append(slices.Clone(k.known), known...)
	}
	return err
}

func results(s step, k *kept) (rs []queue.RcptResult) {
	for i, state := range s.Results {
		if i >= len(k.m.Recipients) || state == "" {
			continue
		}
		res := queue.RcptResult{Index: i, State: state, Last: queue.Answer{Upstream: k.upstream, Code: 200 + s.N, Text: "as it said"}}
		if state == queue.Pending && s.M%2 == 0 {
			res.Doubt = &queue.Doubt{Upstream: k.upstream, At: time.Now().UTC()}
		}
		rs = append(rs, res)
	}
	return rs
}

func (r *run) settle(s step) error {
	k := r.pick(s.N, leased)
	if k == nil {
		return nil
	}
	now := time.Now().UTC()
	o := queue.Outcome{
		Rcpts: results(s, k), Counted: s.M%2 == 0, Filing: r.filing(s), At: now,
		Attempts: []queue.Attempt{{At: now, Upstream: k.upstream, Stage: "dot", Verdict: "later", Code: s.N}},
	}
	if s.N%5 == 0 {
		o.Hold = queue.Hold{Reason: "the model wants it", By: "mailroam", Since: now}
	}
	if s.N%4 == 1 {
		o.Barred, o.Warned = time.Hour, s.M%2 == 0
	}
	if s.N%3 == 0 {
		o.Refusals = []queue.Refusal{{Upstream: k.upstream, Until: now.Add(time.Hour)}}
	}
	if s.M%4 == 0 {
		n := letter("ann@example.com")
		n.Filing, n.Body = r.filing(s), pattern(s.N*10)
		o.Spawn = []queue.NewMessage{n}
	}
	if err := r.ses.Settle(r.ctx(), k.claim, o); err != nil {
		return err
	}
	k.m.Record(k.known)
	k.m.Settle(o, k.want)
	if k.m.State == queue.Queued {
		k.m.Filing = queue.Filing{Lane: o.Lane, Due: o.Due.UTC().Round(0), Age: o.Age.UTC().Round(0)}
	}
	c := k.claim
	k.last, k.outcome = &c, o
	k.end()
	for _, n := range o.Spawn {
		r.mail[n.ID] = &kept{m: n.New(int64(len(n.Body))), body: n.Body}
	}
	return nil
}

// useStale writes with a claim that is over; nothing may come of it.
func (r *run) useStale(s step) error {
	if len(r.stale) == 0 {
		return nil
	}
	c := r.stale[s.N%len(r.stale)]
	for _, err := range []error{
		r.ses.MarkDot(r.ctx(), c, nil, "C", nil),
		r.ses.Settle(r.ctx(), c, queue.Outcome{At: time.Now()}),
		r.ses.Requeue(r.ctx(), c),
	} {
		if !errors.Is(err, queue.ErrFenced) {
			return fmt.Errorf("with a claim that is over: %w", err)
		}
	}
	return nil
}

func (r *run) apply(s step) error {
	verb := queue.Verb(s.Do)
	k := r.pick(s.N, func(*kept) bool { return true })
	if k == nil {
		return nil
	}
	op := queue.Op{Verb: verb, Reason: "asked for", By: "operator", At: time.Now()}
	a, err := r.st.Apply(r.ctx(), queue.Filter{IDs: []queue.ID{k.m.ID}, States: every}, op)
	if err != nil {
		return err
	}
	var changed bool
	switch {
	case k.leased:
		k.want, changed = k.want.Next(verb)
	case verb == queue.OpForget:
		if changed = k.m.State == queue.Done; changed {
			delete(r.mail, k.m.ID)
		}
	default:
		changed = k.m.Do(op)
	}
	if a.Matched != 1 || (a.Changed == 1) != changed {
		return fmt.Errorf("affected %+v, and the model says %v", a, changed)
	}
	return nil
}

// same compares all that can be seen of the store with the model.
func (r *run) same() error {
	n := 0
	for m, err := range r.st.List(r.ctx(), queue.Filter{States: every}) {
		if err != nil {
			return err
		}
		n++
		k := r.mail[m.ID]
		if k == nil {
			return fmt.Errorf("%s is there", m.ID)
		}
		want := k.m
		if k.leased {
			want.State = queue.Leased
		}
		norm(&m)
		norm(&want)
		if !reflect.DeepEqual(m, want) {
			return fmt.Errorf("the store has %+v\nthe model has  %+v", m, want)
		}
		if m.State == queue.Done {
			continue
		}
		b, err := r.st.OpenBody(r.ctx(), m.ID)
		if err != nil {
			return err
		}
		got, err := io.ReadAll(b)
		if err != nil || !bytes.Equal(got, k.body) {
			return fmt.Errorf("the body of %s differs (%w)", m.ID, err)
		}
	}
	if n != len(r.mail) {
		return fmt.Errorf("%d messages are there, want %d", n, len(r.mail))
	}
	b := &bench{TB: r.t, st: r.st}
	b.agree()
	if r.t.Failed() {
		return errors.New("stats differ from the list")
	}
	return nil
}

// norm makes the times of a message comparable.
func norm(m *queue.Message) {
	b, _ := m.AppendBinary(nil)
	_ = m.UnmarshalBinary(b)
}
