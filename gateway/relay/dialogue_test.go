package relay

import (
	"bufio"
	"strings"
	"testing"
	"time"
)

// FuzzDialogue lets an upstream say anything to the flight of MAIL, RCPT and
// DATA, and anything to the dot. What counts as delivered must have been sent
// whole, asked for, and answered with a 2xx afterwards.
func FuzzDialogue(f *testing.F) {
	const good = "250 ok\r\n250 ok\r\n354 go\r\n"
	f.Add(good, "250 taken\r\n")
	f.Add(good+"250 early\r\n", "554 no\r\n")
	f.Add(good, "250")
	f.Add("250 ok\r\n550 no\r\n354 go\r\n", "250 taken\r\n")
	f.Add("250-ok\n250 \n251\n354", "\r\n250 taken\r\n")
	f.Add("250 ok\r\n250 ok\r\n250 ok\r\n", "250 taken\r\n")
	f.Fuzz(func(t *testing.T, flight, last string) {
		var heardDot bool
		withPeer(t, Options{}, []func(*peer){func(p *peer) {
			p.opening(piped)
			p.hear("DATA")
			p.say(flight)
			_ = p.c.SetReadDeadline(time.Now().Add(time.Second))
			if heardDot = p.hear(".\r\n"); heardDot {
				p.say(last)
			}
		}}, func(w *world) {
			res := w.deliver(mail(letter, "b@example.com"))
			r := res.Rcpts[0]
			r1 := bufio.NewReader(strings.NewReader(flight))
			mailed, err1 := readReply(r1)
			rcpt, err2 := readReply(r1)
			data, err3 := readReply(r1)
			asked := err1 == nil && err2 == nil && err3 == nil && mailed.Positive() && rcpt.Positive() && data.Code == 354 && r1.Buffered() == 0
			answer, err := readReply(bufio.NewReader(strings.NewReader(last)))
			if want := asked && heardDot && err == nil && answer.Positive(); r.Accepted() != want {
				t.Errorf("accepted: %v, want %v: %v", r.Accepted(), want, r)
			}
			if want := asked && heardDot && (err != nil || answer.Code/100 == 3); r.InDoubt != want {
				t.Errorf("in doubt: %v, want %v: %v", r.InDoubt, want, r)
			}
			if !r.Final() || res.Stopped != nil {
				t.Errorf("no result: %v, %v", r, res.Stopped)
			}
		})
	})
}
