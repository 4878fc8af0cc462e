package dispatch

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"slices"
	"strings"
	"time"

	"mailroam/gateway/dsn"
	"mailroam/gateway/relay"
	"mailroam/queue"
)

// notices adds to the outcome of a pass what its sender is to be told: it goes
// into the queue in the same transaction, so nothing ends unsaid.
func (t *trip) notices(ctx context.Context, now Now) {
	m := t.m // as it will stand
	m.Recipients = slices.Clone(m.Recipients)
	m.Record(t.o.Rcpts)
	m.Attempts = slices.Concat(m.Attempts, t.o.Attempts)
	m.Online, m.Barred, m.Refusals = max(m.Online, t.o.Online), t.o.Barred, t.o.Refusals
	about := t.config.Routes.topics(&m, t.o, t.relayed)
	if len(about) == 0 {
		return
	}
	r := dsn.Report{Message: m}
	r.Header, r.Body = t.d.content(ctx, &m)
	for _, kind := range []dsn.Kind{dsn.Failed, dsn.Delayed, dsn.Relayed} {
		r.Kind, r.About = kind, about[kind]
		for len(r.About) > 0 {
			n, told := t.d.notice(t.config, r, now)
			if n != nil {
				t.o.Spawn = append(t.o.Spawn, *n)
			}
			r.About = r.About[told:]
		}
	}
}

// topics are the recipients that a notice of each kind is about, by what their
// sender wants to hear (RFC 3461 4.1). Nobody reads a notice about a notice, or
// about mail with the null reverse-path (RFC 5321 4.5.5).
func (rs Routes) topics(m *queue.Message, o queue.Outcome, relayed []int) map[dsn.Kind][]queue.Recipient {
	if m.ReversePath == "" || m.Notice {
		return nil
	}
	about := map[dsn.Kind][]queue.Recipient{}
	add := func(k dsn.Kind, i int, r queue.Recipient) { about[k] = append(about[k], rs.withUnasked(m, i, r)) }
	for _, r := range o.Rcpts {
		if rc := m.Recipients[r.Index]; (rc.State == queue.Failed || rc.State == queue.Expired) && rc.Notify.Wants(queue.NotifyFailure) {
			add(dsn.Failed, r.Index, onceInDoubt(m, r.Index))
		}
	}
	for _, i := range relayed {
		add(dsn.Relayed, i, m.Recipients[i])
	}
	for _, i := range m.Pending() {
		if o.Warned && wantsDelay(m, m.Recipients[i].Notify) {
			add(dsn.Delayed, i, m.Recipients[i])
		}
	}
	return about
}

// onceInDoubt is a recipient with what its sender must know though the doubt has
// ended: whoever was in doubt may have got the message from the one who did not
// answer, whatever another said later.
func onceInDoubt(m *queue.Message, i int) queue.Recipient {
	r := m.Recipients[i]
	for _, a := range m.Attempts {
		if a.Verdict == string(relay.InDoubt) && (a.Rcpts == nil || slices.Contains(a.Rcpts, i)) && !strings.Contains(r.Last.Text, mayHave(a.Upstream)) {
			r.Last.Text += mayHave(a.Upstream)
		}
	}
	return r
}

// withUnasked adds to what was said about recipient i why others who may carry the
// message there were not even asked: its sender is to hear of each. It stands for
// what such a one said before, but for a refusal for good: that is the better
// reason. That somebody could not be reached, before, is none any more.
func (rs Routes) withUnasked(m *queue.Message, i int, r queue.Recipient) queue.Recipient {
	for _, f := range m.Refusals {
		truer := func(a queue.Answer) bool {
			return a.Upstream == f.Upstream && (a.Permanent() && weighs(relay.Scope(a.Scope)) || !a.At.Before(f.Answer.At))
		}
		if !unasked(f) || !slices.Contains(rs.carriers(m, i), f.Upstream) || slices.ContainsFunc(r.Said, truer) {
			continue
		}
		if last := r.Last; last.String() == "" || last.Code == 0 && r.Doubt == nil && last.At.Before(f.Answer.At) {
			if r.Last = f.Answer; last.String() != "" {
				r.Said = r.Say(last)
			}
		}
		r.Said = r.Say(f.Answer)
	}
	return r
}

// wantsDelay: what a program sent is waited for by nobody, unless it asked.
func wantsDelay(m *queue.Message, n queue.Notify) bool {
	return n.Wants(queue.NotifyDelay) && (n != 0 || !m.Automatic)
}

// notice makes one notice and files it, nil when its sender got too many
// already. It tells of as many of r.About as there is room for.
func (d *Dispatcher) notice(c Config, r dsn.Report, now Now) (n *queue.NewMessage, told int) {
	can := func(what func(relay.Offers) bool) bool {
		for _, u := range c.Upstreams {
			if o := u.Offers(); o.Known && what(o) {
				return true
			}
		}
		return false
	}
	r.Hostname, r.Now, r.Until = d.Hostname, now.Time, c.until(&r.Message, now)
	r.EightBit = can(func(o relay.Offers) bool { return o.EightBit })
	tls := r.Message.RequireTLS
	if tls && !can(func(o relay.Offers) bool { return o.RequireTLS }) {
		// It is not lost for that (RFC 8689 5), and shows nothing of the message.
		tls, r.Header = false, nil
	}
	r.Message.ReversePath = c.Routes.home(&r.Message)
	switch d.storm(r.Kind, r.Message.ReversePath, now.Time) {
	case lastNotice:
		r.Last = true
	case tooManyNotices:
		return nil, len(r.About)
	}
	made, told := dsn.New(r)
	made.RequireTLS, made.Online = tls, now.Online
	m := made.New(int64(len(made.Body)))
	f, ok := c.File(&m, nil, now.Time, now)
	if !ok { // the empty lane is filed anew, then held
		f = queue.Filing{Due: now.Time, Age: now.Time}
	}
	made.Filing = f
	return &made, told
}

// home is where notices about m go: to its sender, or to who stands in for one
// without a real domain, whom no upstream can reach.
func (rs Routes) home(m *queue.Message) string {
	for i := range rs.list {
		if r := &rs.list[i]; r.sendsFor(r.From(m.ReversePath)) {
			return r.From(m.ReversePath)
		}
	}
	return m.ReversePath
}

// Notice makes the failure notice for mail that a person fails. It reads
// nothing, since it is called inside the store's transaction, so the notice goes
// without the message's header, and there is one, however many recipients.
func (d *Dispatcher) Notice(m queue.Message) *queue.NewMessage {
	now := d.now()
	o := queue.Outcome{At: now.Time}
	given := queue.Answer{Text: "given up by whoever runs the mail gateway", At: now.Time}
	for _, i := range m.Pending() { // they are about to fail (queue.Op)
		rc := m.Recipients[i]
		o.Rcpts = append(o.Rcpts, queue.RcptResult{Index: i, State: queue.Failed, Last: doubted(rc, given), Said: said(rc)})
	}
	m.Recipients = slices.Clone(m.Recipients)
	m.Record(o.Rcpts)
	d.mu.Lock()
	c := d.config
	d.mu.Unlock()
	r := dsn.Report{Kind: dsn.Failed, Message: m, About: c.Routes.topics(&m, o, nil)[dsn.Failed], Alone: true}
	if len(r.About) == 0 {
		return nil
	}
	n, _ := d.notice(c, r, now)
	if n != nil {
		d.mu.Lock()
		defer d.mu.Unlock()
		d.filed(n.Lane)
	}
	return n
}

// until is when m will be given up, if the machine stays online.
func (p Policy) until(m *queue.Message, now Now) time.Time {
	left := p.Expire - (now.Online - m.Online)
	if m.Barred != 0 && !p.SoftBounce {
		left = min(left, p.PolicyHold-(now.Online-m.Barred))
	}
	return earliest(now.Time.Add(max(left, 0)), tooOld(m))
}

// said is all that was said about a recipient that is given up.
func said(r queue.Recipient) []queue.Answer {
	if r.Last.Code == 0 {
		return r.Said
	}
	return r.Say(r.Last)
}

// content reads what a notice returns of a message: its header section, and all
// of it where that was asked for and may be. A notice without it is still one.
func (d *Dispatcher) content(ctx context.Context, m *queue.Message) (header, body []byte) {
	file, err := d.Store.OpenBody(ctx, m.ID)
	if err != nil {
		return nil, nil
	}
	defer func() { _ = file.Close() }()
	most := int64(maxHeader)
	whole := m.Return.Full && !m.RequireTLS && m.Size <= queue.MaxNotice // RFC 3461 4.3, RFC 8689 5
	if whole {
		most = max(most, m.Size)
	}
	body, err = io.ReadAll(io.LimitReader(file, most))
	header = headOf(body)
	if err != nil || !whole {
		body = nil
	}
	return header, body
}

// maxHeader is more of a header section than a notice has room for.
const maxHeader = 64 << 10

// headOf is the header section at the beginning of a message.
func headOf(b []byte) (head []byte) {
	for r := bufio.NewReader(bytes.NewReader(b)); ; {
		line, err := r.ReadSlice('\n')
		if errors.Is(err, bufio.ErrBufferFull) || err != nil || len(bytes.TrimRight(line, "\r\n")) == 0 {
			return head
		}
		head = append(head, line...)
	}
}
