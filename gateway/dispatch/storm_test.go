package dispatch

import (
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"mailroam/gateway/relay"
	"mailroam/queue"
)

func TestStormCounts(t *testing.T) {
	s := storms{}
	noon := time.Date(2030, 1, 1, 12, 0, 0, 0, time.UTC)
	for i, c := range []struct {
		sender string
		after  time.Duration
		want   int
	}{
		{"ann@example.com", 0, 1},
		{"Ann@Example.com", time.Minute, 2},
		{"bob@example.com", time.Minute, 1},
		{"ann@example.com", noticeWindow - 1, 3},
		{"ann@example.com", noticeWindow, 1},
		{"ann@example.com", noticeWindow + time.Second, 2},
		{"ann@example.com", -time.Hour, 1}, // the clock was set back
	} {
		if got := s.count(c.sender, noon.Add(c.after)); got != c.want {
			t.Errorf("%d: %s is counted as the %d. one, want %d", i, c.sender, got, c.want)
		}
	}
	storm := func() int { return s.count("storm", noon) }
	for range 100 {
		storm()
	}
	for i := range 20 * maxStorms {
		s.count(fmt.Sprint(i), noon)
	}
	if len(s) > maxStorms {
		t.Errorf("%d senders are remembered", len(s))
	}
	if n := storm(); n != 101 {
		t.Errorf("a storm is forgotten for those who write once: it is at %d", n)
	}
	for i := range 20 * maxStorms {
		s.count(fmt.Sprint("later", i), noon.Add(2*noticeWindow))
	}
	if len(s) > maxStorms || s["storm"] != nil {
		t.Errorf("%d senders are remembered, of an hour that is over as well", len(s))
	}
}

// TestStorm: of many failures a sender gets a few notices, the last of which
// says so; the log tells once, and other senders do not suffer.
func TestStorm(t *testing.T) {
	live(t, []string{"a"}, func(w *world) {
		var log strings.Builder
		w.log = io.MultiWriter(&log, t.Output())
		w.restart([]string{"a"})
		p := w.peers["a"]
		p.script = func(_ int, d relay.Delivery) *relay.Result {
			if d.ReversePath == "" {
				return nil
			}
			return says(relay.Rcpt, 550, "5.1.1", "no such user")(0, d)
		}
		fail := func(n int, from string) {
			for range n {
				id := w.submit(from, "gone@example.net")
				w.pass(time.Second)
				w.wantState(id, queue.Done)
			}
		}
		fail(maxNotices+5, "ann@example.com")
		fail(1, "bob@example.com")
		if len(p.bodies) != maxNotices+1 {
			t.Fatalf("%d notices, want %d", len(p.bodies), maxNotices+1)
		}
		for i, b := range p.bodies {
			if last := strings.Contains(b, "no more are sent to you"); last != (i == maxNotices-1) {
				t.Errorf("notice %d says that it is the last: %v", i+1, last)
			}
		}
		if n := strings.Count(log.String(), "no more are sent to it"); n != 1 {
			t.Errorf("the log tells of the storm %d times", n)
		}
		if n := strings.Count(log.String(), "msg=notified"); n != maxNotices+1 {
			t.Errorf("the log tells of %d notices", n)
		}
		w.pass(noticeWindow)
		fail(1, "ann@example.com")
		if len(p.bodies) != maxNotices+2 {
			t.Errorf("no notice an hour later")
		}
	})
}

// TestStormOfGoodNews: who hears of many successes, which was asked for, still
// hears of failures.
func TestStormOfGoodNews(t *testing.T) {
	live(t, []string{"a"}, func(w *world) {
		p := w.peers["a"]
		to := queue.To("bob@example.net")
		to[0].Notify = queue.NotifySuccess | queue.NotifyFailure
		send := func(n int) {
			for range n {
				w.send(queue.NewMessage{ReversePath: "ann@example.com", Recipients: to}, "Subject: lunch\r\n\r\n")
				w.pass(time.Second)
			}
		}
		send(maxNotices + 5)
		p.plays(onlyFrom("ann@example.com", says(relay.Rcpt, 550, "5.1.1", "no such user")))
		send(2)
		count := map[string]int{}
		for _, kind := range w.notices() {
			count[kind]++
		}
		if count["relayed"] != maxNotices || count["failed"] != 2 {
			t.Errorf("notices %v", count)
		}
	})
}
