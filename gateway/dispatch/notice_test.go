package dispatch

import (
	"context"
	"fmt"
	"io"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"mailroam/gateway/dsn"
	"mailroam/gateway/relay"
	"mailroam/queue"
)

// TestTopics: who is told of what, by what was asked for (RFC 3461 4.1).
func TestTopics(t *testing.T) {
	const never, success, failure, delay = queue.NotifyNever, queue.NotifySuccess, queue.NotifyFailure, queue.NotifyDelay
	rcpt := func(s queue.RcptState, n queue.Notify) queue.Recipient {
		return queue.Recipient{Address: fmt.Sprintf("%s.%s@example.net", s, n), State: s, Notify: n}
	}
	wishes := []queue.Notify{0, never, success, failure, delay, success | failure | delay}
	var m queue.Message
	var o queue.Outcome
	var relayed []int
	for _, s := range []queue.RcptState{queue.Failed, queue.Expired, queue.Delivered, queue.Pending} {
		for _, n := range wishes {
			o.Rcpts = append(o.Rcpts, queue.RcptResult{Index: len(m.Recipients), State: s})
			if s == queue.Delivered && n.Wants(success) {
				relayed = append(relayed, len(m.Recipients))
			}
			m.Recipients = append(m.Recipients, rcpt(s, n))
		}
	}
	all := map[dsn.Kind]string{
		dsn.Failed:  "failed. failed.FAILURE failed.SUCCESS,FAILURE,DELAY expired. expired.FAILURE expired.SUCCESS,FAILURE,DELAY",
		dsn.Relayed: "delivered.SUCCESS delivered.SUCCESS,FAILURE,DELAY",
		dsn.Delayed: "pending. pending.DELAY pending.SUCCESS,FAILURE,DELAY",
	}
	without := func(k dsn.Kind) map[dsn.Kind]string {
		some := maps.Clone(all)
		delete(some, k)
		return some
	}
	for _, c := range []struct {
		name string
		edit func(*queue.Message, *queue.Outcome)
		want map[dsn.Kind]string
	}{
		{"of everything", func(_ *queue.Message, o *queue.Outcome) { o.Warned = true }, all},
		{"no delay yet", func(*queue.Message, *queue.Outcome) {}, without(dsn.Delayed)},
		{"of what a program sent", func(m *queue.Message, o *queue.Outcome) { m.Automatic, o.Warned = true, true }, map[dsn.Kind]string{
			dsn.Failed: all[dsn.Failed], dsn.Relayed: all[dsn.Relayed], dsn.Delayed: "pending.DELAY pending.SUCCESS,FAILURE,DELAY",
		}},
		{"nobody is there", func(m *queue.Message, o *queue.Outcome) { m.ReversePath, o.Warned = "", true }, nil},
		{"of a notice", func(m *queue.Message, o *queue.Outcome) { m.Notice, o.Warned = true, true }, nil},
	} {
		m, o := m, o
		m.ReversePath = "ann@example.com"
		c.edit(&m, &o)
		got := map[dsn.Kind]string{}
		for k, about := range NewRoutes(nil).topics(&m, o, relayed) {
			var names []string
			for _, r := range about {
				name, _, _ := strings.Cut(r.Address, "@")
				names = append(names, name)
			}
			got[k] = strings.Join(names, " ")
		}
		if len(got)+len(c.want) > 0 && !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
	}
}

// send submits with more than an envelope.
func (w *world) send(n queue.NewMessage, body string) queue.ID {
	w.t.Helper()
	n.ID, n.Accepted = queue.NewID(), time.Now().UTC()
	d, err := w.session.NewDraft(context.Background(), n.ID)
	if err != nil {
		w.t.Fatal(err)
	}
	if _, err := io.WriteString(d, body); err != nil {
		w.t.Fatal(err)
	}
	w.d.File(&n)
	w.d.Unfile("")
	if _, err := d.Commit(context.Background(), "", n); err != nil {
		w.t.Fatal(err)
	}
	return n.ID
}

// TestNoticeAsAskedFor: NOTIFY, RET, ENVID and ORCPT reach the notice, and
// whoever wants to hear nothing hears nothing (RFC 3461).
func TestNoticeAsAskedFor(t *testing.T) {
	live(t, []string{"a"}, func(w *world) {
		p := w.peers["a"]
		p.script = func(_ int, d relay.Delivery) *relay.Result {
			if d.ReversePath == "" {
				return nil
			}
			return says(relay.Rcpt, 550, "5.1.1", "no such user")(0, d)
		}
		to := queue.To("gone@example.net", "quiet@example.net")
		to[0].ORcpt, to[1].Notify = "rfc822;Old+2Bname@example.org", queue.NotifyNever
		n := queue.NewMessage{ReversePath: "ann@example.com", Recipients: to, Return: queue.Return{Full: true, EnvID: "QQ31"}}
		w.send(n, "Subject: lunch\r\n\r\nthe body\r\n")
		n.RequireTLS = true
		w.send(n, "Subject: secret\r\n\r\nthe body\r\n")
		n.RequireTLS, n.Recipients = false, to[1:]
		w.send(n, "Subject: quiet\r\n\r\nthe body\r\n")
		w.pass(time.Minute)
		if len(p.bodies) != 2 {
			t.Fatalf("%d notices", len(p.bodies))
		}
		plain, secret := p.bodies[0], p.bodies[1]
		if strings.Contains(secret, "Subject: lunch") {
			plain, secret = secret, plain
		}
		for _, want := range []string{"Original-Recipient: rfc822; Old+name@example.org", "Original-Envelope-Id: QQ31", "Content-Type: message/rfc822", "the body"} {
			if !strings.Contains(plain, want) {
				t.Errorf("the notice lacks %q:\n%s", want, plain)
			}
		}
		// Where no upstream offers REQUIRETLS the notice goes, but shows nothing of
		// the message (RFC 8689 5).
		if strings.Contains(secret, "the body") || strings.Contains(secret, "Subject: secret") || strings.Contains(plain+secret, "quiet@") {
			t.Errorf("it tells too much:\n%s\n%s", plain, secret)
		}
	})
}

// TestFailHonoursNotify: nor does a person's verb tell who wants to hear nothing.
func TestFailHonoursNotify(t *testing.T) {
	live(t, []string{"a"}, func(w *world) {
		w.peers["a"].script = func(_ int, d relay.Delivery) *relay.Result {
			if d.ReversePath == "" {
				return nil
			}
			return says(relay.Mail, 451, "4.3.0", "later")(0, d)
		}
		for _, wish := range []queue.Notify{0, queue.NotifyNever, queue.NotifySuccess | queue.NotifyDelay} {
			to := queue.To("bob@example.net")
			to[0].Notify = wish
			w.send(queue.NewMessage{ReversePath: "ann@example.com", Recipients: to}, "Subject: x\r\n\r\n")
		}
		w.pass(time.Second)
		w.do(queue.OpFail)
		w.pass(time.Minute)
		if p := w.peers["a"]; len(p.bodies) != 1 || !strings.Contains(p.bodies[0], "given up by whoever runs the mail gateway") || !strings.Contains(p.bodies[0], "a answered: 451 4.3.0 later") {
			t.Errorf("%d notices:\n%s", len(p.bodies), strings.Join(p.bodies, "\n"))
		}
	})
}

// TestNoticeGoesHome: a sender without a real domain is told at the address that
// stands in for it: no upstream could reach the other.
func TestNoticeGoesHome(t *testing.T) {
	rs := NewRoutes([]Route{
		{Name: "a", Senders: []string{"@example.org"}},
		{Name: "b", DefaultFrom: "ann@example.com", Rewrite: []Rewrite{{"@example.net", "ann@example.com"}}, Senders: []string{"ann@example.com"}},
	})
	for from, want := range map[string]string{
		"root": "ann@example.com", "pi@raspberry": "ann@example.com", "bob@example.org": "bob@example.org",
		"cy@example.net": "cy@example.net", // who is rewritten can be reached all the same
	} {
		if got := rs.home(&queue.Message{ReversePath: from}); got != want {
			t.Errorf("notices for %s go to %s, want %s", from, got, want)
		}
	}
}

// TestUntil: what a delay notice promises is what happens.
func TestUntil(t *testing.T) {
	noon := time.Date(2030, 1, 1, 12, 0, 0, 0, time.UTC)
	p := Policy{Expire: 5 * 24 * time.Hour, PolicyHold: 24 * time.Hour}
	now := Now{Time: noon, Online: 100 * time.Hour}
	for _, c := range []struct {
		name string
		m    queue.Message
		want time.Time
	}{
		{"fresh", queue.Message{Accepted: noon, Online: now.Online}, noon.Add(p.Expire)},
		{"online for a day", queue.Message{Accepted: noon, Online: now.Online - 24*time.Hour}, noon.Add(4 * 24 * time.Hour)},
		{"refused by all", queue.Message{Accepted: noon, Online: now.Online, Barred: now.Online - time.Hour}, noon.Add(23 * time.Hour)},
		{"29 days in a drawer", queue.Message{Accepted: noon.Add(-29 * 24 * time.Hour), Online: now.Online}, noon.Add(24 * time.Hour)},
		{"overdue", queue.Message{Accepted: noon, Online: 1, Barred: 1}, noon},
	} {
		if got := p.until(&c.m, now); c.name != "overdue" && !got.Equal(c.want) || got.Before(noon) {
			t.Errorf("%s: until %v, want %v", c.name, got, c.want)
		}
	}
}

// TestContent: what is read of a message for a notice, and no more.
func TestContent(t *testing.T) {
	live(t, []string{"a"}, func(w *world) {
		for _, c := range []struct {
			name, body string
			full       bool
			header     string
			whole      bool
		}{
			{"header only", "Subject: x\r\n\r\nbody\r\n", false, "Subject: x\r\n", false},
			{"all", "Subject: x\r\n\r\nbody\r\n", true, "Subject: x\r\n", true},
			{"too large", "Subject: x\r\n\r\n" + strings.Repeat("x\r\n", queue.MaxNotice), true, "Subject: x\r\n", false},
			{"no header", "\r\nbody\r\n", true, "", true},
			{"nothing but header", "Subject: x\r\n", false, "Subject: x\r\n", false},
			{"a header that is too long", strings.Repeat("X: y\r\n", maxHeader), false, strings.Repeat("X: y\r\n", maxHeader/6), false},
		} {
			w.peers["a"].set(true)
			id := w.send(queue.NewMessage{ReversePath: "ann@example.com", Recipients: queue.To("bob@example.net"), Return: queue.Return{Full: c.full}}, c.body)
			m := w.get(id)
			header, body := w.d.content(context.Background(), &m)
			if string(header) != c.header || (body != nil) != c.whole || c.whole && string(body) != c.body {
				t.Errorf("%s: header of %d octets, body of %d", c.name, len(header), len(body))
			}
		}
	})
}

// TestNoticeThoughTheRestIsHeld: what failed is told even when the rest of the
// message cannot be sent.
func TestNoticeThoughTheRestIsHeld(t *testing.T) {
	live(t, []string{"a"}, func(w *world) {
		w.peers["a"].script = first(func(d relay.Delivery) *relay.Result {
			r := stopped(d, queue.ErrCorrupt)
			r.Rcpts[0] = reply(relay.Rcpt, 550, "5.1.1", "no such user")
			return &r
		})
		id := w.submit("ann@example.com", "gone@example.net", "cy@example.net")
		w.pass(time.Second)
		m := w.wantState(id, queue.Held)
		if m.Recipients[0].State != queue.Failed || m.Recipients[1].State != queue.Pending {
			t.Errorf("recipients %+v", m.Recipients)
		}
		if p := w.peers["a"]; len(p.bodies) != 1 || p.took[0] != "ann@example.com" || !strings.Contains(p.bodies[0], "gone@example.net") {
			t.Errorf("no notice of the one that failed: %v", p.took)
		}
	})
}

// TestFailureBeforeACrashIsTold: what one upstream refused for good is told also
// when the process dies while the next has the rest.
func TestFailureBeforeACrashIsTold(t *testing.T) {
	live(t, both, func(w *world) {
		dead := make(chan struct{})
		w.peers["a"].script = func(_ int, d relay.Delivery) *relay.Result {
			r := all(d, reply(relay.Rcpt, 451, "4.3.0", "not now"))
			if d.ReversePath == "" {
				return nil
			}
			for i, a := range d.Recipients {
				if a.Address == "gone@example.net" {
					r.Rcpts[i] = reply(relay.Rcpt, 550, "5.1.1", "no such user")
				}
			}
			return &r
		}
		w.peers["b"].script = first(func(d relay.Delivery) *relay.Result {
			if err := d.BeforeDot(context.Background(), []int{0}, nil); err != nil {
				t.Error(err)
			}
			<-dead
			r := stopped(d, context.Canceled)
			return &r
		})
		w.submit("ann@example.com", "gone@example.net", "cy@example.net")
		w.pass(time.Second)
		old := w.end
		w.start(both)
		w.pass(time.Minute)
		if p := w.peers["a"]; len(p.bodies) != 1 || !strings.Contains(p.bodies[0], "gone@example.net") {
			t.Errorf("a took %v: nobody is told", p.took)
		}
		w.wantTook(map[string]int{"a": 1, "b": 1})
		close(dead)
		old()
	})
}

// TestNoticeOfMany: a message to very many recipients that all fail at great
// length ends like any other, and each of them is named.
func TestNoticeOfMany(t *testing.T) {
	live(t, []string{"a"}, func(w *world) {
		w.peers["a"].script = first(func(d relay.Delivery) *relay.Result {
			return says(relay.Rcpt, 550, "5.1.1", strings.Repeat("ü=", 500))(0, d)
		})
		var rcpts []string
		for i := range 1000 {
			rcpts = append(rcpts, fmt.Sprintf("%s%d@%s.example.net", strings.Repeat("x", 50), i, strings.Repeat("y", 60)))
		}
		id := w.submit("ann@example.com", rcpts...)
		w.pass(time.Minute)
		w.wantState(id, queue.Done)
		text := strings.Join(w.peers["a"].bodies, "")
		for _, r := range rcpts {
			if !strings.Contains(text, "Final-Recipient: rfc822; "+r) {
				t.Fatalf("nobody is told of %s in %d notices", r, len(w.peers["a"].bodies))
			}
		}
	})
}

// TestNullRefusedByAll: nobody could be told, so a person is.
func TestNullRefusedByAll(t *testing.T) {
	live(t, []string{"a", "b", "c"}, func(w *world) {
		no := func(_ int, d relay.Delivery) *relay.Result {
			if d.ReversePath == "" {
				return says(relay.Mail, 550, "", "no such sender")(0, d)
			}
			return nil
		}
		w.peers["a"].script, w.peers["b"].script = no, no
		id := w.submit("", "bob@example.net")
		w.pass(time.Second)
		w.wantState(id, queue.Done) // two refuse <>, the third does not
		w.wantTook(map[string]int{"c": 1})
		w.submit("ann@example.com", "bob@example.net")
		w.pass(time.Second)
		w.wantTook(map[string]int{"a": 1, "c": 1}) // only <> is refused there

		w.peers["c"].plays(no)
		id = w.submit("", "bob@example.net")
		w.pass(time.Minute)
		if m := w.wantState(id, queue.Held); !strings.Contains(m.Held.Reason, "refuse") {
			t.Errorf("held: %q", m.Held.Reason)
		}
		for _, p := range w.peers {
			p.plays(nil)
		}
		w.d.Pardon() // as the control socket does after a person's command
		w.do(queue.OpRelease)
		w.pass(time.Second)
		w.wantState(id, queue.Done)
	})
}

// TestReleaseMeansSend: mail that was held for its age is sent when a person
// releases it. Its time begins anew, and does not end at once.
func TestReleaseMeansSend(t *testing.T) {
	for from, expire := range map[string]time.Duration{
		"":                2 * time.Hour,       // held because nobody can be told
		"ann@example.com": 60 * 24 * time.Hour, // held after 30 days
	} {
		live(t, []string{"a"}, func(w *world) {
			w.edit = func(c *Config) { c.Expire = expire }
			w.restart([]string{"a"})
			w.peers["a"].script = says(relay.Mail, 451, "4.7.1", "greylisted")
			id := w.submitAt(time.Now().Add(-30*24*time.Hour+3*time.Hour), from, "bob@example.net")
			w.pass(3*time.Hour + time.Minute)
			w.wantState(id, queue.Held)
			w.edit = func(c *Config) { c.Expire = 2 * time.Hour }
			w.restart([]string{"a"})
			w.do(queue.OpRelease)
			w.pass(time.Hour)
			w.wantState(id, queue.Queued)
			w.peers["a"].plays(nil)
			w.pass(30 * time.Minute)
			if m := w.wantState(id, queue.Done); m.Recipients[0].State != queue.Delivered {
				t.Errorf("recipient is %s", m.Recipients[0].State)
			}
		})
	}
}

// TestDelayNotice: who waits for long is told once, whoever asked for it or said
// nothing, and is served all the same.
func TestDelayNotice(t *testing.T) {
	live(t, []string{"a"}, func(w *world) {
		w.edit = func(c *Config) { c.Warn = 4 * time.Hour }
		w.restart([]string{"a"})
		p := w.peers["a"]
		told := func() []string {
			p.mu.Lock()
			defer p.mu.Unlock()
			return slices.Clone(p.bodies)
		}
		p.script = func(_ int, d relay.Delivery) *relay.Result {
			if d.ReversePath == "" {
				return nil
			}
			return says(relay.Mail, 451, "4.3.0", "later")(0, d)
		}
		to := queue.To("bob@example.net", "quiet@example.net")
		to[1].Notify = queue.NotifyFailure
		id := w.send(queue.NewMessage{ReversePath: "ann@example.com", Recipients: to}, "Subject: lunch\r\n\r\n")
		w.send(queue.NewMessage{ReversePath: "ann@example.com", Recipients: to[1:]}, "Subject: quiet\r\n\r\n")
		w.pass(4*time.Hour - time.Minute)
		if early := told(); len(early) != 0 {
			t.Fatalf("a notice too early: %s", early[0])
		}
		w.pass(20 * time.Hour)
		notices := told()
		if len(notices) != 1 {
			t.Fatalf("%d notices, want one", len(notices))
		}
		for _, want := range []string{"Subject: Delayed, still being tried: your message to bob@example.net", "Action: delayed", "Will-Retry-Until: Thu, 06 Jan 2000 00:00"} {
			if !strings.Contains(notices[0], want) {
				t.Errorf("the notice lacks %q:\n%s", want, notices[0])
			}
		}
		if strings.Contains(notices[0], "quiet@") {
			t.Errorf("it tells of who is not asked about:\n%s", notices[0])
		}
		if m := w.get(id); m.Warned.IsZero() {
			t.Error("nobody knows that the sender was told")
		}
		p.plays(nil)
		w.pass(time.Hour)
		w.wantState(id, queue.Done)
		w.wantTook(map[string]int{"a": 4})
	})
}

// TestReleasedIsLate: mail that a person lets go has its time before it again,
// so its sender hears of a delay only after that, and though it was told before.
func TestReleasedIsLate(t *testing.T) {
	live(t, []string{"a"}, func(w *world) {
		w.edit = func(c *Config) { c.Warn = 4 * time.Hour }
		w.restart([]string{"a"})
		p := w.peers["a"]
		p.script = func(_ int, d relay.Delivery) *relay.Result {
			if d.ReversePath == "" {
				return nil
			}
			return says(relay.Mail, 451, "4.3.0", "later")(0, d)
		}
		w.submit("ann@example.com", "bob@example.net")
		w.pass(5 * time.Hour)
		w.wantTook(map[string]int{"a": 1})
		w.do(queue.OpHold)
		w.pass(24 * time.Hour)
		w.do(queue.OpRelease)
		w.pass(4*time.Hour - time.Minute)
		w.wantTook(map[string]int{"a": 1})
		w.pass(2 * time.Hour)
		w.wantTook(map[string]int{"a": 2})
	})
}

// TestRelayedNotice: who asked to hear of success, where the upstream will not
// tell, hears from us; once, though the disk is full for a while.
func TestRelayedNotice(t *testing.T) {
	live(t, []string{"a"}, func(w *world) {
		var full int
		w.wrap = func(s queue.Session) queue.Session { return failing{s, &full} }
		w.restart([]string{"a"})
		to := queue.To("bob@example.net", "cy@example.net")
		to[0].Notify = queue.NotifySuccess
		full = 5
		id := w.send(queue.NewMessage{ReversePath: "ann@example.com", Recipients: to}, "Subject: lunch\r\n\r\n")
		w.pass(time.Minute)
		w.wantState(id, queue.Done)
		p := w.peers["a"]
		if len(p.bodies) != 2 || !strings.Contains(p.bodies[1], "Subject: Passed on: your message to bob@example.net") || strings.Contains(p.bodies[1], "cy@") || full != 0 {
			t.Errorf("after %d more failures: %q", full, p.bodies)
		}
	})
}

// failing is a session whose next settles find the disk full.
type failing struct {
	queue.Session
	full *int
}

func (f failing) Settle(ctx context.Context, c queue.Claim, o queue.Outcome) error {
	if *f.full > 0 {
		*f.full--
		return queue.ErrFull
	}
	return f.Session.Settle(ctx, c, o)
}
