package relay

import (
	"errors"
	"strings"
	"testing"
	"time"

	"mailroam/gateway/sink"
)

// TestEarlyReply: a reply that is there before its command is no reply to it.
// Above all, a 250 that comes with the 354 says nothing about the message.
func TestEarlyReply(t *testing.T) {
	for name, script := range map[string]func(*peer){
		"with the 354, pipelined": func(p *peer) {
			p.opening(piped)
			p.hear("DATA")
			p.say("250 ok\r\n250 ok\r\n354 go\r\n250 taken\r\n")
			p.hear(".")
			p.say("554 5.6.0 not at all\r\n")
			p.rest()
		},
		"with the 354, lock-step": func(p *peer) {
			p.opening(plain)
			p.hear("MAIL")
			p.say("250 ok\r\n")
			p.hear("RCPT")
			p.say("250 ok\r\n")
			p.hear("DATA")
			p.say("354 go\r\n250 taken\r\n")
			p.hear(".")
			p.say("554 5.6.0 not at all\r\n")
			p.rest()
		},
		"for a command not sent yet": func(p *peer) {
			p.opening(plain)
			p.hear("MAIL")
			p.say("250 ok\r\n250 ok\r\n354 go\r\n250 taken\r\n")
			p.rest()
		},
		"with the greeting": func(p *peer) {
			p.say(greeting + plain)
			p.rest()
		},
		"with the reply to EHLO": func(p *peer) {
			p.opening(piped + "250 ok\r\n250 ok\r\n354 go\r\n250 taken\r\n")
			p.rest()
		},
	} {
		t.Run(name, func(t *testing.T) {
			withPeer(t, Options{}, []func(*peer){script}, func(w *world) {
				res := w.deliver(mail(letter, "b@example.com"))
				if r := res.Rcpts[0]; !errors.Is(r.Err, errEarly) || r.InDoubt || r.Stage >= Dot {
					t.Errorf("got %v", r)
				}
			})
		})
	}
}

// TestEarlyRefusal: a refusal that comes while the body is on its way counts,
// even when the connection is gone by then.
func TestEarlyRefusal(t *testing.T) {
	long := strings.Repeat(strings.Repeat("x", 76)+"\r\n", 20000)
	for _, fault := range []string{"552 5.3.4 too big; close", "552 5.3.4 too big; reset", "552 5.3.4 too big; hang"} {
		inWorld(t, sink.Options{Faults: faults(t, "body="+fault)}, Options{}, func(w *world) {
			w.want(w.deliver(mail(long, "b@example.com")), "body 552")
		})
	}
	// The reply is there, but it is not read before the write has failed.
	withPeer(t, Options{}, []func(*peer){func(p *peer) {
		p.opening(piped)
		p.hear("DATA")
		p.say("250 ok\r\n250 ok\r\n354 go\r\n")
		p.hear("x")
		time.Sleep(time.Second) // the client is blocked in a write by now
		p.say("552 5.3.4 too big\r\n")
	}}, func(w *world) {
		w.want(w.deliver(mail(long, "b@example.com")), "body 552")
	})
}

// TestAcceptanceWithoutDot: no 2xx counts when the dot did not leave.
func TestAcceptanceWithoutDot(t *testing.T) {
	long := strings.Repeat(strings.Repeat("x", 76)+"\r\n", 20000)
	withPeer(t, Options{}, []func(*peer){func(p *peer) {
		p.opening(piped)
		p.hear("DATA")
		p.say("250 ok\r\n250 ok\r\n354 go\r\n")
		p.hear("x")
		time.Sleep(time.Second)
		p.say("250 taken\r\n")
	}}, func(w *world) {
		w.want(w.deliver(mail(long, "b@example.com")), "body error")
	})
}

// TestLoneDot: an upstream that wants data for nobody gets an empty message,
// and its answer delivers nobody.
func TestLoneDot(t *testing.T) {
	for name, replies := range map[string]string{
		"no recipient": "250 ok\r\n550 5.1.1 no\r\n550 5.1.1 no\r\n354 go\r\n",
		"no sender":    "550 5.7.1 no\r\n503 5.5.1 no\r\n503 5.5.1 no\r\n354 go\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			var rest string
			withPeer(t, Options{}, []func(*peer){func(p *peer) {
				p.opening(piped)
				p.hear("DATA")
				p.say(replies)
				p.hear(".")
				p.say("250 taken\r\n")
				rest = p.told.String() + p.rest()
			}}, func(w *world) {
				res := w.deliver(mail(letter, "b@example.com", "c@example.com"))
				for _, r := range res.Rcpts {
					if r.Reply.Code != 550 || r.Err != nil {
						t.Errorf("got %v", r)
					}
				}
			})
			if !strings.HasSuffix(rest, "DATA\r\n.\r\n") {
				t.Errorf("after DATA: %q", rest)
			}
		})
	}
}

// TestPartly: some recipients are accepted, and the message goes to them.
func TestPartly(t *testing.T) {
	for _, without := range [][]string{nil, {"PIPELINING"}} {
		inWorld(t, sink.Options{Without: without, Faults: faults(t, "rcpt:no@example.com=550 5.1.1 no", "rcpt:later@example.com=450 4.2.1 busy")}, Options{}, func(w *world) {
			d := mail(letter, "no@example.com", "yes@example.com", "later@example.com")
			w.want(w.deliver(d), "rcpt 550", "dot 250", "rcpt 450")
			w.want(w.deliver(mail(letter, "no@example.com")), "rcpt 550")
			w.want(w.deliver(d), "rcpt 550", "dot 250", "rcpt 450")
			if got := w.sink.Messages(); len(got) != 2 || len(got[1].To) != 1 {
				t.Errorf("got %v", got)
			}
			if n := w.sink.Conns(); n != 1 {
				t.Errorf("%d connections", n)
			}
		})
	}
}

// TestBadAddresses: what would be an injection is not sent.
func TestBadAddresses(t *testing.T) {
	inWorld(t, sink.Options{}, Options{}, func(w *world) {
		w.want(w.deliver(mail(letter, "a@b>\r\nRCPT TO:<evil@c", "b@example.com", "")), "rcpt error", "dot 250", "rcpt error")
		d := mail(letter, "b@example.com")
		d.ReversePath = "a@b> SIZE=1"
		w.want(w.deliver(d), "mail error")
		if got := w.sink.Messages(); len(got) != 1 || len(got[0].To) != 1 {
			t.Errorf("got %v", got)
		}
	})
}

// TestFlood: an upstream without end costs neither memory nor time.
func TestFlood(t *testing.T) {
	for _, stage := range []string{"greeting", "ehlo", "mail", "rcpt", "data", "dot"} {
		inWorld(t, sink.Options{Faults: faults(t, stage+"=flood")}, Options{}, func(w *world) {
			res := w.deliver(mail(letter, "b@example.com"))
			if !errors.Is(res.Rcpts[0].Err, errReplySize) {
				t.Errorf("%s: got %v", stage, res.Rcpts[0])
			}
		})
	}
}

// TestDribble: octets that keep coming do not prolong the time for a reply.
func TestDribble(t *testing.T) {
	withPeer(t, Options{}, []func(*peer){func(p *peer) {
		p.opening(piped)
		p.hear("DATA")
		for p.say("2") {
			time.Sleep(time.Second)
		}
	}}, func(w *world) {
		res := w.deliver(mail(letter, "b@example.com"))
		w.want(res, "mail error")
		if res.Took.Round(time.Second) != patient.command {
			t.Errorf("took %v", res.Took)
		}
	})
}
