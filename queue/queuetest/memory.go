package queuetest

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"maps"
	"slices"
	"sync"
	"time"

	"mailroam/queue"
)

// Memory keeps mail in memory only. It starts no goroutine, so it works inside
// a synctest bubble, where it must then also be made.
type Memory struct {
	mu      sync.Mutex
	mail    map[queue.ID]*item
	session int64
	joined  bool
	epoch   int64
	online  time.Duration
	closed  bool
	changed chan struct{} // closed and replaced when something may be claimable
}

var _ queue.Store = (*Memory)(nil)

// item is one message. It is kept encoded: so every reader gets its own copy,
// with times as a durable store would give them back.
type item struct {
	rec     []byte
	body    []byte
	lease   *lease
	settled fence // the last claim that was settled, so that repeating is a no-op
}

type fence struct{ session, epoch int64 }

type lease struct {
	fence
	upstream string
	rcpts    []int
	known    []queue.RcptResult
	want     queue.Want
}

// NewMemory makes an empty store.
func NewMemory() queue.Store {
	return &Memory{mail: map[queue.ID]*item{}, changed: make(chan struct{})}
}

func (it *item) message() queue.Message {
	var m queue.Message
	if err := m.UnmarshalBinary(it.rec); err != nil {
		panic(err)
	}
	if it.lease != nil {
		m.State = queue.Leased
	}
	return m
}

// put stores m as the state of its item and ends its lease.
func (s *Memory) put(it *item, m queue.Message) {
	it.rec, _ = m.AppendBinary(nil)
	it.lease = nil
	switch m.State {
	case queue.Done:
		it.body = nil
	case queue.Queued:
		s.wake()
	}
}

func (s *Memory) add(m queue.Message, body []byte) *item {
	it := &item{body: body}
	s.online = max(s.online, m.Online)
	s.mail[m.ID] = it
	s.put(it, m)
	return it
}

func (s *Memory) wake() {
	close(s.changed)
	s.changed = make(chan struct{})
}

func (s *Memory) grant(it *item, upstream string) fence {
	s.epoch++
	it.lease = &lease{fence: fence{s.session, s.epoch}, upstream: upstream}
	return it.lease.fence
}

// Join begins the one session and ends the one before.
func (s *Memory) Join(ctx context.Context) (queue.Session, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, queue.ErrClosed
	}
	now := time.Now()
	for _, it := range s.mail {
		if l := it.lease; l != nil {
			m := it.message()
			m.Interrupt(l.upstream, l.rcpts, l.known, l.want, now)
			s.put(it, m)
		}
	}
	s.session++
	s.joined = true
	s.wake() // claims of the older session find that it ended
	return &session{s, s.session}, nil
}

// Get returns one message.
func (s *Memory) Get(_ context.Context, id queue.ID) (queue.Message, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	it, ok := s.mail[id]
	if !ok {
		return queue.Message{}, queue.ErrNotFound
	}
	return it.message(), nil
}

func (s *Memory) ids() []queue.ID {
	return slices.SortedFunc(maps.Keys(s.mail), func(a, b queue.ID) int { return bytes.Compare(b[:], a[:]) })
}

// List gives the messages that were there at the call, each as it is by now.
func (s *Memory) List(ctx context.Context, f queue.Filter) iter.Seq2[queue.Message, error] {
	return func(yield func(queue.Message, error) bool) {
		s.mu.Lock()
		ids := s.ids()
		s.mu.Unlock()
		n := 0
		for _, id := range ids {
			if err := ctx.Err(); err != nil {
				yield(queue.Message{}, err)
				return
			}
			m, err := s.Get(ctx, id)
			if err != nil || !f.Match(&m) {
				continue
			}
			if n++; !yield(m, nil) || n == f.Limit {
				return
			}
		}
	}
}

// OpenBody reads a body.
func (s *Memory) OpenBody(_ context.Context, id queue.ID) (io.ReadCloser, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	it, ok := s.mail[id]
	if !ok || it.message().State == queue.Done {
		return nil, queue.ErrNotFound
	}
	return io.NopCloser(bytes.NewReader(it.body)), nil
}

// Apply does op to all that match.
func (s *Memory) Apply(ctx context.Context, f queue.Filter, op queue.Op) (queue.Affected, error) {
	if err := ctx.Err(); err != nil {
		return queue.Affected{}, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	var a queue.Affected
	for _, id := range s.ids() {
		it := s.mail[id]
		m := it.message()
		if !f.Match(&m) {
			continue
		}
		a.Matched++
		if s.do(it, m, op) {
			a.Changed++
			if len(a.IDs) < queue.MaxAffectedIDs {
				a.IDs = append(a.IDs, id)
			}
		}
		if a.Matched == f.Limit {
			break
		}
	}
	return a, nil
}

func (s *Memory) do(it *item, m queue.Message, op queue.Op) (changed bool) {
	if op.Verb == queue.OpForget {
		if m.State == queue.Done {
			delete(s.mail, m.ID)
		}
		return m.State == queue.Done
	}
	if it.lease != nil {
		it.lease.want, changed = it.lease.want.Next(op.Verb)
		return changed
	}
	var notice *queue.NewMessage
	if op.Verb == queue.OpFail && op.Notice != nil && m.State != queue.Done {
		if notice = op.Notice(m); notice != nil && notice.Check() != nil {
			return false
		}
	}
	if !m.Do(op) {
		return false
	}
	s.put(it, m)
	if notice != nil {
		s.add(notice.New(int64(len(notice.Body))), bytes.Clone(notice.Body))
	}
	return true
}

// Stats counts the queue.
func (s *Memory) Stats(context.Context) (queue.Stats, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	st := queue.Stats{Lanes: map[string]int{}, Online: s.online}
	for _, id := range s.ids() {
		m := s.mail[id].message()
		switch m.State {
		case queue.Queued:
			st.Queued++
			st.Lanes[m.Lane]++
		case queue.Leased:
			st.Leased++
		case queue.Held:
			st.Held++
			if m.Held.ByUs() {
				st.Stuck++
			}
		case queue.Done:
			st.Done++
			continue
		}
		st.Bytes += m.Size
		st.Oldest = m.Accepted // ids are newest first
		if m.InDoubt() != "" {
			st.InDoubt++
		}
		if m.Barred != 0 && m.State != queue.Held {
			st.Barred++
		}
	}
	return st, nil
}

// Poisoned is never closed: memory has no disk to fail.
func (s *Memory) Poisoned() <-chan struct{} { return nil }

// Close ends the store.
func (s *Memory) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	s.wake()
	return nil
}

type session struct {
	*Memory
	n int64
}

// ours says whether this session is still the one that counts.
func (s *session) ours() error {
	switch {
	case s.closed:
		return queue.ErrClosed
	case !s.joined || s.session != s.n:
		return queue.ErrFenced
	}
	return nil
}

// held finds the lease that c is.
func (s *session) held(c queue.Claim) (*item, error) {
	if err := s.ours(); err != nil {
		return nil, err
	}
	it, ok := s.mail[c.ID]
	if !ok || it.lease == nil || it.lease.fence != (fence{c.Session, c.Epoch}) {
		return it, queue.ErrFenced
	}
	return it, nil
}

func (s *session) NewDraft(ctx context.Context, id queue.ID) (queue.Draft, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return &draft{s: s, id: id}, s.ours()
}

func (s *session) Claim(ctx context.Context, r queue.ClaimRequest) ([]queue.Claim, error) {
	for {
		if ctx.Err() != nil {
			return nil, nil
		}
		s.mu.Lock()
		err := s.ours()
		var cs []queue.Claim
		var next time.Time
		if err == nil {
			cs, next = s.take(r, time.Now())
		}
		changed := s.changed
		s.mu.Unlock()
		if err != nil || len(cs) > 0 {
			return cs, err
		}
		var due <-chan time.Time
		if !next.IsZero() {
			t := time.NewTimer(time.Until(next))
			defer t.Stop()
			due = t.C
		}
		select {
		case <-ctx.Done():
		case <-changed:
		case <-due:
		}
	}
}

// take claims what is there now, or says when more may be.
func (s *session) take(r queue.ClaimRequest, now time.Time) (cs []queue.Claim, next time.Time) {
	var waiting []queue.Message // oldest due first
	for _, it := range s.mail {
		if m := it.message(); m.State == queue.Queued {
			waiting = append(waiting, m)
		}
	}
	slices.SortFunc(waiting, func(a, b queue.Message) int {
		return cmp.Or(a.Due.Compare(b.Due), bytes.Compare(a.ID[:], b.ID[:]))
	})
	later := func(t time.Time) {
		if next.IsZero() || t.Before(next) {
			next = t
		}
	}
	unnamed, slots := r.Max, maps.Clone(r.Slots)
	free := func(m queue.Message, upstream string) bool {
		left := unnamed
		if upstream != "" {
			left = slots[upstream]
		}
		return left > 0 && s.mail[m.ID].lease == nil
	}
	claim := func(m queue.Message, upstream string, aged bool) {
		if upstream == "" {
			unnamed--
		} else {
			slots[upstream]--
		}
		it := s.mail[m.ID]
		f := s.grant(it, upstream)
		cs = append(cs, queue.Claim{Message: it.message(), Session: f.session, Epoch: f.epoch, Upstream: upstream, Aged: aged})
	}
	if r.Aged {
		for _, m := range waiting {
			switch {
			case m.Age.IsZero():
			case m.Age.After(now):
				later(m.Age)
			case free(m, ""):
				claim(m, "", true)
			}
		}
	}
	if r.Except != nil {
		for _, m := range waiting {
			if _, listed := r.Except[m.Lane]; !listed && free(m, "") {
				claim(m, "", false)
			}
		}
	}
	for i := range r.Lanes {
		l := r.Lanes[(i+r.Turn)%len(r.Lanes)]
		lane := slices.Clone(waiting)
		if l.Newest {
			slices.Reverse(lane)
		}
		for _, m := range lane {
			switch {
			case m.Lane != l.Lane:
			case l.Upstream != "" && m.Due.After(now):
				later(m.Due)
			case free(m, l.Upstream):
				claim(m, l.Upstream, false)
			}
		}
	}
	return cs, next
}

func (s *session) MarkDot(_ context.Context, c queue.Claim, rcpts []int, upstream string, known []queue.RcptResult) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	it, err := s.held(c)
	switch {
	case err != nil:
		return err
	case it.lease.want == queue.WantHold:
		return queue.ErrHeld
	case it.lease.want == queue.WantDrop:
		return queue.ErrDropped
	}
	if l := it.lease; l.upstream != upstream {
		l.upstream, l.rcpts = upstream, slices.Clone(rcpts)
		l.known = append(l.known, known...)
	}
	return nil
}

func (s *session) Settle(_ context.Context, c queue.Claim, o queue.Outcome) error {
	if err := o.Check(); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	it, err := s.held(c)
	if err != nil {
		if it != nil && it.settled == (fence{c.Session, c.Epoch}) {
			return nil
		}
		return err
	}
	m := it.message()
	m.Record(it.lease.known)
	m.Settle(o, it.lease.want)
	it.settled = it.lease.fence
	s.put(it, m)
	for _, n := range o.Spawn {
		s.add(n.New(int64(len(n.Body))), bytes.Clone(n.Body))
	}
	return nil
}

func (s *session) Requeue(_ context.Context, cs ...queue.Claim) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	var errs []error
	for _, c := range cs {
		it, err := s.held(c)
		if err != nil {
			errs = append(errs, fmt.Errorf("message %s: %w", c.ID, err))
			continue
		}
		s.requeue(it)
	}
	return errors.Join(errs...)
}

func (s *session) requeue(it *item) {
	m := it.message()
	m.Requeue(it.lease.known, it.lease.want, time.Now())
	s.put(it, m)
}

func (s *session) Leave(context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.ours(); err != nil {
		return err
	}
	for _, it := range s.mail {
		if it.lease != nil {
			s.requeue(it)
		}
	}
	s.joined = false
	s.wake()
	return nil
}

type draft struct {
	s    *session
	id   queue.ID
	body bytes.Buffer
	done bool
}

func (d *draft) Write(b []byte) (int, error) { return d.body.Write(b) }

func (d *draft) Commit(ctx context.Context, first string, n queue.NewMessage) (queue.Claim, error) {
	if err := ctx.Err(); err != nil {
		return queue.Claim{}, err
	}
	if err := n.Check(); err != nil {
		return queue.Claim{}, err
	}
	s := d.s
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.ours(); err != nil {
		return queue.Claim{}, err
	}
	if _, used := s.mail[n.ID]; used || d.done || n.ID != d.id {
		return queue.Claim{}, queue.ErrExists
	}
	d.done = true
	body := bytes.Clone(d.body.Bytes())
	it := s.add(n.New(int64(len(body))), body)
	var f fence
	if first != "" {
		f = s.grant(it, first)
	}
	return queue.Claim{Message: it.message(), Session: f.session, Epoch: f.epoch, Upstream: first}, nil
}

func (d *draft) Abort() { d.body = bytes.Buffer{} }
