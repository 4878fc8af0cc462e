package dispatch

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"mailroam/gateway/relay"
	"mailroam/queue"
)

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
