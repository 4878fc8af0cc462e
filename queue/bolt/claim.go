package bolt

import (
	"bytes"
	"context"
	"encoding/binary"
	"maps"
	"time"

	"go.etcd.io/bbolt"

	"mailroam/queue"
)

// recheck bounds one sleep of a claim that waits for a due time: timers do not
// see that the wall clock was set or that the machine was asleep.
const recheck = 5 * time.Second

// Claim asks the writer, and when there is nothing, waits for what could
// change that.
func (s *session) Claim(ctx context.Context, r queue.ClaimRequest) ([]queue.Claim, error) {
	for {
		s.mu.Lock()
		changed := s.changed
		s.mu.Unlock()
		var p picker
		err := s.write(ctx, &request{do: func(w *txn) error {
			if err := s.in(w); err != nil {
				return err
			}
			p = picker{w: w, slots: maps.Clone(r.Slots), unnamed: r.Max}
			p.pick(r)
			return nil
		}})
		switch {
		case err != nil && err == ctx.Err(): // it was not taken
			return nil, nil
		case err != nil || len(p.claims) > 0:
			return p.claims, err
		}
		wait := recheck
		if !p.next.IsZero() {
			wait = min(wait, time.Until(p.next))
		}
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
		case <-changed:
		case <-timer.C:
		case <-s.Poisoned():
		case <-s.stopped:
		}
		timer.Stop()
	}
}

// picker chooses messages for one ClaimRequest.
type picker struct {
	w       *txn
	slots   map[string]int // left, by upstream
	unnamed int            // left for claims that name none
	claims  []queue.Claim
	next    time.Time // when more may be claimable
}

func (p *picker) pick(r queue.ClaimRequest) {
	if r.Aged {
		p.aged()
	}
	if r.Except != nil {
		p.unlisted(r.Except)
	}
	for i := range r.Lanes {
		p.lane(r.Lanes[(r.Turn+i)%len(r.Lanes)])
	}
}

func (p *picker) left(upstream string) int {
	if upstream == "" {
		return p.unnamed
	}
	return p.slots[upstream]
}

func (p *picker) later(at uint64) {
	if t := time.Unix(0, int64(at)); p.next.IsZero() || t.Before(p.next) {
		p.next = t
	}
}

// aged takes those that the clock has something to say about.
func (p *picker) aged() {
	now := instant(p.w.now)
	var keys [][]byte
	c := p.w.bucket(bAge).Cursor()
	for k, _ := c.First(); k != nil && len(keys) < p.unnamed; k, _ = c.Next() {
		if at, _ := splitTime(k); at > now {
			p.later(at)
			break
		}
		keys = append(keys, bytes.Clone(k))
	}
	p.take(bAge, keys, "", true)
}

// unlisted takes from every lane that is not in except, whatever is due when.
func (p *picker) unlisted(except map[string]bool) {
	var keys [][]byte
	c := p.w.bucket(bDue).Cursor()
	for k, _ := c.First(); k != nil && len(keys) < p.unnamed; {
		lane := laneOf(k)
		if _, listed := except[lane]; listed {
			k, _ = c.Seek(append([]byte(lane), 1)) // the lane's keys go on with 0
			continue
		}
		keys = append(keys, bytes.Clone(k))
		k, _ = c.Next()
	}
	p.take(bDue, keys, "", false)
}

// lane takes the due messages of one lane, the oldest or the newest first.
func (p *picker) lane(r queue.LaneRequest) {
	n := p.left(r.Upstream)
	if n <= 0 { // as for most of many lanes, once one had its turn
		return
	}
	prefix := append([]byte(r.Lane), 0)
	now := instant(p.w.now)
	if r.Upstream == "" { // to be filed anew, whatever its due time
		now = 1<<64 - 1
	}
	end := binary.BigEndian.AppendUint64(bytes.Clone(prefix), now)
	end = append(end, bytes.Repeat([]byte{0xff}, idLen)...)
	c := p.w.bucket(bDue).Cursor()
	inLane := func(k []byte) bool { return k != nil && bytes.HasPrefix(k, prefix) }

	var keys [][]byte
	first, step := func() ([]byte, []byte) { return c.Seek(prefix) }, c.Next
	if r.Newest {
		first, step = func() ([]byte, []byte) { return seekLast(c, end) }, c.Prev
	}
	for k, _ := first(); inLane(k) && bytes.Compare(k, end) <= 0 && len(keys) < n; k, _ = step() {
		keys = append(keys, bytes.Clone(k))
	}
	if len(keys) == 0 {
		if k, _ := c.Seek(end); inLane(k) {
			at, _ := splitTime(k)
			p.later(at)
		}
	}
	p.take(bDue, keys, r.Upstream, false)
}

// seekLast goes to the last key that is not above k.
func seekLast(c *bbolt.Cursor, k []byte) ([]byte, []byte) {
	if at, v := c.Seek(k); at != nil {
		if bytes.Equal(at, k) {
			return at, v
		}
		return c.Prev()
	}
	return c.Last()
}

// take leases the messages under these keys of an index, which may change only
// after the cursor is done with it.
func (p *picker) take(index string, keys [][]byte, upstream string, aged bool) {
	for _, k := range keys {
		_, id := splitTime(k)
		v := bytes.Clone(p.w.get(bEnv, id[:]))
		r, err := decode(id, v)
		if err != nil { // it must not keep the others from being claimed
			p.w.del(index, k)
			if v != nil {
				p.w.quarantine(id, err)
				p.w.tally.queued--
				if index == bDue {
					p.w.tally.lane(laneOf(k), -1)
				}
			}
			continue
		}
		p.w.forget(&r.Message, false)
		f := p.w.grant(&r.Message, v, upstream)
		r.State = queue.Leased
		p.claims = append(p.claims, queue.Claim{Message: r.Message, Session: f.session, Epoch: f.epoch, Upstream: upstream, Aged: aged})
		if upstream == "" {
			p.unnamed--
		} else {
			p.slots[upstream]--
		}
	}
}
