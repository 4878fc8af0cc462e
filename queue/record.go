package queue

import (
	"encoding/binary"
	"errors"
	"fmt"
	"time"
)

// recordVersion leads every encoded message. Records of version 1, which knew
// nothing of notices on request, are read; one of any other version is refused,
// never guessed at.
const recordVersion = 2

var errRecord = errors.New("malformed message record")

// AppendBinary encodes m for a store. The form is written by hand because it
// is made for every accepted and every ended message; it carries a version but
// no checksum, which the store adds round it.
func (m *Message) AppendBinary(b []byte) ([]byte, error) {
	e := encoder{append(b, recordVersion)}
	e.b = append(e.b, m.ID[:]...)
	e.str(string(m.State))
	e.time(m.Accepted)
	e.int(int64(m.Online))
	e.str(m.ReversePath)
	e.int(m.Size)
	e.flags(m.EightBit, m.Notice, m.UTF8, m.RequireTLS, m.Automatic, m.Return.Full, m.Return.Header)
	e.strs(m.Authors)
	e.str(m.MessageID)
	e.str(m.Return.EnvID)
	e.str(m.Client.Addr)
	e.str(m.Client.Helo)
	e.str(m.Lane)
	e.time(m.Due)
	e.time(m.Age)
	e.str(m.Held.Reason)
	e.str(m.Held.By)
	e.time(m.Held.Since)
	e.time(m.Released)
	e.time(m.Ended)
	e.int(int64(m.Tries))
	e.time(m.Warned)
	e.int(int64(m.Barred))
	e.len(len(m.Recipients))
	for i := range m.Recipients {
		r := &m.Recipients[i]
		e.str(r.Address)
		e.str(string(r.State))
		e.doubt(r.Doubt)
		e.answer(&r.Last)
		e.len(len(r.Said))
		for i := range r.Said {
			e.answer(&r.Said[i])
		}
		e.len(int(r.Notify))
		e.str(r.ORcpt)
	}
	e.len(len(m.Attempts))
	for i := range m.Attempts {
		e.attempt(&m.Attempts[i])
	}
	e.len(len(m.Refusals))
	for i := range m.Refusals {
		r := &m.Refusals[i]
		e.str(r.Upstream)
		e.time(r.Until)
		e.flags(r.Perm, r.Place) // Place came later: older records have it unset
		e.answer(&r.Answer)
	}
	return e.b, nil
}

// UnmarshalBinary reads what AppendBinary wrote and nothing else. The message
// shares no memory with b.
func (m *Message) UnmarshalBinary(b []byte) error {
	if len(b) == 0 || b[0] < 1 || b[0] > recordVersion {
		return fmt.Errorf("%w: not of version 1 to %d", errRecord, recordVersion)
	}
	d := decoder{s: string(b[1:]), version: b[0]} // one copy, which all texts share
	*m = Message{}
	copy(m.ID[:], d.take(uint64(len(m.ID))))
	m.State = State(d.str())
	m.Accepted = d.time()
	m.Online = time.Duration(d.int())
	m.ReversePath = d.str()
	m.Size = d.int()
	if d.version == 1 {
		f := d.flags(2)
		m.EightBit, m.Notice = f&1 != 0, f&2 != 0
	} else {
		f := d.flags(7)
		m.EightBit, m.Notice, m.UTF8, m.RequireTLS = f&1 != 0, f&2 != 0, f&4 != 0, f&8 != 0
		m.Automatic, m.Return.Full, m.Return.Header = f&16 != 0, f&32 != 0, f&64 != 0
		m.Authors = list(&d, func(s *string) { *s = d.str() })
		m.MessageID = d.str()
		m.Return.EnvID = d.str()
	}
	m.Client.Addr = d.str()
	m.Client.Helo = d.str()
	m.Lane = d.str()
	m.Due = d.time()
	m.Age = d.time()
	m.Held.Reason = d.str()
	m.Held.By = d.str()
	m.Held.Since = d.time()
	m.Released = d.time()
	m.Ended = d.time()
	m.Tries = int(d.int())
	if d.version > 1 {
		m.Warned = d.time()
		m.Barred = time.Duration(d.int())
	}
	m.Recipients = list(&d, func(r *Recipient) {
		r.Address = d.str()
		r.State = RcptState(d.str())
		r.Doubt = d.doubt()
		d.answer(&r.Last)
		if d.version == 1 { // only the names of those that refused for good without saying whose fault it is
			r.Said = list(&d, func(a *Answer) { *a = Answer{Upstream: d.str(), Code: 550, Scope: "unknown", Text: "refused"} })
			return
		}
		r.Said = list(&d, d.answer)
		if n := d.uvarint(); n < 256 {
			r.Notify = Notify(n)
		} else {
			d.fail()
		}
		r.ORcpt = d.str()
	})
	m.Attempts = list(&d, d.attempt)
	m.Refusals = list(&d, func(r *Refusal) {
		r.Upstream = d.str()
		r.Until = d.time()
		f := d.flags(2)
		r.Perm, r.Place = f&1 != 0, f&2 != 0
		d.answer(&r.Answer)
	})
	if d.s != "" {
		d.bad = true
	}
	if d.bad {
		*m = Message{}
		return errRecord
	}
	return nil
}

type encoder struct{ b []byte }

func (e *encoder) int(v int64) { e.b = binary.AppendVarint(e.b, v) }
func (e *encoder) len(n int)   { e.b = binary.AppendUvarint(e.b, uint64(n)) }

func (e *encoder) str(s string) {
	e.len(len(s))
	e.b = append(e.b, s...)
}

func (e *encoder) strs(list []string) {
	e.len(len(list))
	for _, s := range list {
		e.str(s)
	}
}

func (e *encoder) flags(fs ...bool) {
	var v byte
	for i, f := range fs {
		if f {
			v |= 1 << i
		}
	}
	e.b = append(e.b, v)
}

func (e *encoder) time(t time.Time) {
	if t.IsZero() {
		e.flags(false)
		return
	}
	e.flags(true)
	e.int(t.Unix())
	e.len(t.Nanosecond())
}

func (e *encoder) doubt(d *Doubt) {
	if d == nil {
		e.flags(false)
		return
	}
	e.flags(true, d.Crash, d.Unacked)
	e.str(d.Upstream)
	e.time(d.At)
	e.int(int64(d.Online))
	e.int(int64(d.Refused))
}

func (e *encoder) answer(a *Answer) {
	if a.empty() {
		e.flags(false)
		return
	}
	e.flags(true)
	e.str(a.Upstream)
	e.int(int64(a.Code))
	e.str(a.Enhanced)
	e.str(a.Text)
	e.time(a.At)
	e.str(a.Scope)
}

func (e *encoder) attempt(a *Attempt) {
	e.time(a.At)
	e.int(int64(a.Took))
	e.str(a.Upstream)
	e.str(a.Endpoint)
	e.str(a.Stage)
	e.str(a.Verdict)
	e.int(int64(a.Code))
	e.str(a.Enhanced)
	e.str(a.Text)
	e.str(a.Why)
	e.str(a.Scope)
	e.str(a.Rule)
	e.flags(a.Interrupted, a.Rcpts != nil) // nil means all, so it is not the empty list
	if a.Rcpts != nil {
		e.len(len(a.Rcpts))
		for _, i := range a.Rcpts {
			e.int(int64(i))
		}
	}
}

func (a *Answer) empty() bool {
	return a.At.IsZero() && a.Code == 0 && a.Upstream == "" && a.Enhanced == "" && a.Text == "" && a.Scope == ""
}

// decoder reads from s; once bad it gives zero values only.
type decoder struct {
	s       string
	bad     bool
	version byte
}

func (d *decoder) fail() uint64 {
	d.s, d.bad = "", true
	return 0
}

func (d *decoder) uvarint() uint64 {
	var v uint64
	for i := 0; i < len(d.s) && i < binary.MaxVarintLen64; i++ {
		c := d.s[i]
		v |= uint64(c&0x7f) << (7 * i)
		if c < 0x80 {
			if i > 0 && c == 0 || i == binary.MaxVarintLen64-1 && c > 1 {
				return d.fail() // one value has one form only
			}
			d.s = d.s[i+1:]
			return v
		}
	}
	return d.fail()
}

func (d *decoder) int() int64 {
	u := d.uvarint()
	return int64(u>>1) ^ -int64(u&1)
}

func (d *decoder) take(n uint64) string {
	if n > uint64(len(d.s)) {
		d.fail()
		return ""
	}
	s := d.s[:n]
	d.s = d.s[n:]
	return s
}

func (d *decoder) str() string { return d.take(d.uvarint()) }

func (d *decoder) flags(n int) byte {
	s := d.take(1)
	if s == "" {
		return 0
	}
	if s[0]>>n != 0 {
		d.fail()
		return 0
	}
	return s[0]
}

func (d *decoder) time() time.Time {
	if d.flags(1) == 0 {
		return time.Time{}
	}
	sec, nsec := d.int(), d.uvarint()
	const far = 1 << 40 // 34,000 years: beyond it time.Time may overflow
	t := time.Unix(sec, int64(nsec)).UTC()
	if sec < -far || sec > far || nsec >= 1e9 || t.IsZero() {
		d.fail()
		return time.Time{}
	}
	return t
}

func (d *decoder) doubt() *Doubt {
	n := 3
	if d.version == 1 {
		n = 2
	}
	f := d.flags(n)
	if f&1 == 0 {
		if f != 0 {
			d.fail()
		}
		return nil
	}
	return &Doubt{
		Crash: f&2 != 0, Unacked: f&4 != 0, Upstream: d.str(), At: d.time(),
		Online: time.Duration(d.int()), Refused: int(d.int()),
	}
}

func (d *decoder) answer(a *Answer) {
	if d.flags(1) == 0 {
		return
	}
	a.Upstream = d.str()
	a.Code = int(d.int())
	a.Enhanced = d.str()
	a.Text = d.str()
	a.At = d.time()
	if d.version > 1 {
		a.Scope = d.str()
	}
	if a.empty() {
		d.fail()
	}
}

func (d *decoder) attempt(a *Attempt) {
	a.At = d.time()
	a.Took = time.Duration(d.int())
	a.Upstream = d.str()
	a.Endpoint = d.str()
	a.Stage = d.str()
	a.Verdict = d.str()
	a.Code = int(d.int())
	a.Enhanced = d.str()
	a.Text = d.str()
	a.Why = d.str()
	if d.version > 1 {
		a.Scope = d.str()
		a.Rule = d.str()
	}
	f := d.flags(2)
	a.Interrupted = f&1 != 0
	if f&2 != 0 {
		a.Rcpts = list(d, func(i *int) { *i = int(d.int()) })
		if a.Rcpts == nil {
			a.Rcpts = []int{}
		}
	}
}

// list reads a counted list. The count is not believed: every item takes at
// least one octet, so a damaged one cannot ask for more memory than that.
func list[T any](d *decoder, read func(*T)) []T {
	n := d.uvarint()
	if n > uint64(len(d.s)) {
		d.fail()
	}
	if n == 0 || d.bad {
		return nil
	}
	items := make([]T, 0, min(n, 64))
	for range n {
		var item T
		read(&item)
		if d.bad {
			return nil
		}
		items = append(items, item)
	}
	return items
}
