package dispatch

import (
	"sync/atomic"
	"testing"
	"time"

	"mailroam/gateway/relay"
	"mailroam/queue"
)

// TestPartOfALane: mail that a turned away, for whatever reason, and that waits
// for b, does not spin while a is up, and is at b within seconds of its return.
// What waits for a time that it was told is not held up by it either.
func TestPartOfALane(t *testing.T) {
	for name, tt := range map[string]struct {
		a    func(int, relay.Delivery) *relay.Result
		most int // times that a is asked within 25 minutes
	}{
		"temporary":   {says(relay.Rcpt, 451, "4.7.1", "greylisted"), 8},
		"unknown":     {says(relay.Rcpt, 550, "", "no"), 8},
		"size":        {says(relay.Dot, 552, "5.3.4", "too large"), 8},
		"message":     {says(relay.Rcpt, 550, "5.6.7", "no SMTPUTF8"), 8},
		"sender":      {says(relay.Mail, 550, "5.7.1", "not your sender"), 1},
		"relaying":    {says(relay.Rcpt, 554, "5.7.1", "Relay access denied"), 3},
		"policy":      {says(relay.Rcpt, 550, "5.7.1", "policy"), 8},
		"quota":       {says(relay.Mail, 452, "4.7.28", "unusual rate"), 3},
		"daily quota": {says(relay.Dot, 550, "5.4.5", "daily limit"), 3},
		"place":       {says(relay.Mail, 554, "5.7.1", "Client host [192.0.2.1] blocked using zen.spamhaus.org"), 3},
		"account":     {says(relay.Auth, 535, "5.7.8", "bad credentials"), 2},
		"session":     {says(relay.Mail, 421, "4.3.2", "closing"), 12},
		"connections": {says(relay.Mail, 421, "4.7.0", "Too many concurrent connections"), 40},
		"network":     {nil, 2},
	} {
		t.Run(name, func(t *testing.T) {
			live(t, both, func(w *world) {
				a, b := w.peers["a"], w.peers["b"]
				b.set(true)
				w.pass(2 * time.Minute)
				a.plays(tt.a)
				a.set(tt.a == nil)
				id := w.submit("ann@example.com", "bob@example.net")
				w.pass(25 * time.Minute)
				w.wantState(id, queue.Queued)
				asked, _ := a.count()
				if asked > tt.most || asked == 0 {
					t.Errorf("a was asked %d times, at most %d are right", asked, tt.most)
				}
				b.set(false)
				w.pass(20 * time.Second)
				w.wantState(id, queue.Done)
				w.wantTook(map[string]int{"b": 1})
			})
		})
	}
}

// TestBusyKeepsNobody: a recipient whose side asks to wait keeps no other from an
// upstream that comes back.
func TestBusyKeepsNobody(t *testing.T) {
	live(t, both, func(w *world) {
		a, b := w.peers["a"], w.peers["b"]
		b.set(true)
		w.pass(2 * time.Minute)
		var busy atomic.Int32
		mailboxes := func(_ int, d relay.Delivery) *relay.Result {
			r := all(d, reply(relay.Dot, 250, "2.0.0", "ok"))
			for i, to := range d.Recipients {
				switch to.Address {
				case "busy@example.net":
					busy.Add(1)
					r.Rcpts[i] = reply(relay.Rcpt, 450, "4.2.1", "busy")
				case "bob@example.net":
					r.Rcpts[i] = reply(relay.Rcpt, 451, "4.7.1", "greylisted")
				}
			}
			return &r
		}
		a.plays(mailboxes)
		id := w.submit("ann@example.com", "busy@example.net", "bob@example.net")
		w.pass(50 * time.Minute) // so its back-off is long
		before := busy.Load()
		if before > 9 {
			t.Errorf("the busy one was asked for %d times", before)
		}
		b.set(false)
		w.pass(20 * time.Second)
		if m := w.get(id); m.Recipients[1].State != queue.Delivered {
			t.Errorf("the other one waits: due %v, now %v, %+v", m.Due, time.Now(), m.Attempts[len(m.Attempts)-1])
		}
		if busy.Load() > before+1 {
			t.Errorf("the busy one was asked for again at once")
		}
	})
}
