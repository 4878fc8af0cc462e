package dispatch

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"time"

	"github.com/cenkalti/backoff/v4"

	"mailroam/gateway/relay"
	"mailroam/queue"
)

// end settles a pass and tells the log. It keeps trying while the process
// lives: a message that was delivered must not be sent again because a disk was
// full. The upstream is free for the next message meanwhile, unless the settle
// fails: then the slot is taken back, so that a full disk bounds the results
// that wait for it.
func (t *trip) end(ctx context.Context, event string) {
	ctx = context.WithoutCancel(ctx)
	now := t.d.now()
	t.o.At = now.Time.UTC()
	t.notices(ctx, now)
	t.d.mu.Lock()
	for _, n := range t.o.Spawn {
		t.d.filed(n.Lane)
	}
	if t.o.Lane != "" {
		t.d.filed(t.o.Lane)
	}
	t.d.mu.Unlock()
	t.leave()
	b := backoff.NewExponentialBackOff(backoff.WithInitialInterval(100*time.Millisecond), backoff.WithMaxInterval(5*time.Second), backoff.WithMaxElapsedTime(0))
	for {
		err := t.d.Session.Settle(ctx, t.claim, t.o)
		if err == nil {
			t.placed()
			t.log(event)
			return
		}
		t.d.Log.Warn("settle-retry", "id", t.m.ID, "text", err.Error(), "results", t.results())
		if errors.Is(err, queue.ErrPoisoned) || errors.Is(err, queue.ErrClosed) || errors.Is(err, queue.ErrFenced) || errors.Is(err, queue.ErrNotFound) {
			return // the store keeps what it can for the next start; the log has the rest
		}
		t.slot.stay()
		select {
		case <-time.After(b.NextBackOff()):
		case <-t.d.cut:
			return
		}
	}
}

// results is what a person needs to know when a settle fails for good.
func (t *trip) results() []string {
	var rs []string
	for _, r := range t.o.Rcpts {
		rs = append(rs, t.m.Recipients[r.Index].Address+" "+string(r.State))
	}
	return rs
}

// log writes one line for each thing that happened to the message.
func (t *trip) log(event string) {
	l := t.d.Log.With("id", t.m.ID, "from", queue.Printable(t.m.ReversePath, 320))
	for _, g := range t.groups() {
		last := g.last
		if u := t.m.InDoubt(); g.state == queue.Pending && last.Upstream == "" && u != "" { // a crash left no answer
			last.Upstream, last.Text = u, "mailroam was stopped in the middle of an attempt"
		}
		attrs := []any{"to", g.to, "upstream", last.Upstream, "code", last.Code, "enhanced", last.Enhanced, "text", last.Text}
		switch g.state {
		case queue.Delivered:
			l.Info("delivered", append(attrs, "took", time.Since(t.m.Accepted).Round(time.Millisecond))...)
		case queue.Pending:
			t.logPending(l, event, attrs)
		default:
			l.Warn(string(g.state), attrs...)
		}
	}
	if t.o.Hold.Reason != "" {
		l.Warn("held", "text", t.o.Hold.Reason)
	}
	for _, n := range t.o.Spawn {
		l.Info("notified", "notice", n.ID, "to", n.Recipients[0].Address)
	}
}

// group is recipients of whom one line tells.
type group struct {
	state queue.RcptState
	to    []string
	last  queue.Answer
}

// groups puts together who fared alike: at one upstream, for what has ended;
// whoever waits, waits together.
func (t *trip) groups() (list []group) {
	for _, s := range []queue.RcptState{queue.Delivered, queue.Failed, queue.Expired, queue.Pending} {
		from := len(list)
		for _, r := range t.o.Rcpts {
			if r.State != s || s == queue.Pending && r.Last.Scope == untold && r.Doubt == nil { // which waits for nothing
				continue
			}
			k := slices.IndexFunc(list[from:], func(g group) bool { return s == queue.Pending || g.last.Upstream == r.Last.Upstream })
			if k < 0 {
				k, list = len(list)-from, append(list, group{state: s})
			}
			g := &list[from+k]
			g.to, g.last = append(g.to, t.m.Recipients[r.Index].Address), r.Last
		}
	}
	return list
}

func (t *trip) logPending(l *slog.Logger, event string, attrs []any) {
	switch held, doubt := t.o.Hold.Reason != "", t.m.InDoubt() != ""; {
	case held && !doubt: // which is told below
	case event == "in-doubt":
		l.Warn("in-doubt", append(attrs, "why", "the wait is over: another upstream may be asked, a second copy is possible")...)
	case held: // no time is set
		l.Warn("in-doubt", attrs...)
	case doubt:
		l.Warn("in-doubt", append(attrs, "due", t.o.Due)...)
	case event == "":
		l.Info("deferred", append(attrs, "due", t.o.Due)...)
	}
}

func (d *Dispatcher) logAttempt(m *queue.Message, a queue.Attempt) {
	level := slog.LevelInfo
	if a.Verdict == string(relay.InDoubt) {
		level = slog.LevelWarn
	}
	d.Log.Log(context.Background(), level, "attempt", "id", m.ID, "upstream", a.Upstream, "stage", a.Stage, "verdict", a.Verdict,
		"code", a.Code, "enhanced", a.Enhanced, "text", a.Text, "why", a.Why, "took", a.Took.Round(time.Millisecond))
}
