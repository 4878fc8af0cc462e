package relay

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"

	"mailroam/gateway/sink"
)

var errTest = errors.New("a reason")

// TestStopped: whatever ends a delivery on our side before the dot, the
// upstream has no message, is not spoken to again, and is not at fault.
func TestStopped(t *testing.T) {
	long := strings.Repeat(strings.Repeat("x", 76)+"\r\n", 5000)
	for name, change := range map[string]func(ctx context.Context, cancel context.CancelCauseFunc, d *Delivery){
		"body cannot be opened": func(_ context.Context, _ context.CancelCauseFunc, d *Delivery) {
			d.Body = func(context.Context) (io.ReadCloser, error) { return nil, errTest }
		},
		"body breaks": func(_ context.Context, _ context.CancelCauseFunc, d *Delivery) {
			d.Body = func(context.Context) (io.ReadCloser, error) {
				return io.NopCloser(io.MultiReader(strings.NewReader(long[:len(long)/2]), iotest.ErrReader(errTest))), nil
			}
		},
		"BeforeDot says no": func(_ context.Context, _ context.CancelCauseFunc, d *Delivery) {
			d.BeforeDot = func(context.Context, []int, []RcptResult) error { return errTest }
		},
		"cancelled before": func(_ context.Context, cancel context.CancelCauseFunc, d *Delivery) { cancel(errTest) },
		"cancelled in the body": func(_ context.Context, cancel context.CancelCauseFunc, d *Delivery) {
			body := d.Body
			d.Body = func(ctx context.Context) (io.ReadCloser, error) { cancel(errTest); return body(ctx) }
		},
		"cancelled at the last moment": func(_ context.Context, cancel context.CancelCauseFunc, d *Delivery) {
			d.BeforeDot = func(context.Context, []int, []RcptResult) error { cancel(errTest); return nil }
		},
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, sink.Options{}, Options{}, func(w *world) {
				ctx, cancel := context.WithCancelCause(w.t.Context())
				defer cancel(nil)
				d := mail(long, "b@example.com")
				change(ctx, cancel, &d)
				res := w.up.Deliver(ctx, d)
				r := res.Rcpts[0]
				if !errors.Is(res.Stopped, errTest) || !errors.Is(r.Err, ErrStopped) || !errors.Is(r.Err, errTest) || r.InDoubt {
					t.Errorf("stopped by %v: %v", res.Stopped, r)
				}
				if v, s := classify(r.Stage, r.Reply, r.Err, ""); v != Later || s != ScopeNone {
					t.Errorf("charged: %s %s", v, s)
				}
				synctest.Wait()
				if w.sink.Count() != 0 || w.kept() != 0 {
					t.Errorf("%d taken, %d sessions kept", w.sink.Count(), w.kept())
				}
			})
		})
	}
}

// TestNothingAfterABrokenBody looks at the octets: after a fault of the source
// there is no dot and no QUIT, which would be a dot to some.
func TestNothingAfterABrokenBody(t *testing.T) {
	for name, body := range map[string]string{
		"short":   "abc\r\n",
		"long":    "abc\r\nabc\r\nabc\r\n",
		"bare LF": "abc\nabc\r\n",
		"bare CR": "abc\rabc\r\n",
		"NUL":     "abc\x00abc\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			var rest string
			withPeer(t, Options{}, []func(*peer){func(p *peer) {
				p.opening(piped)
				p.hear("DATA")
				p.say("250 ok\r\n250 ok\r\n354 go\r\n")
				rest = p.rest()
			}}, func(w *world) {
				d := mail(body, "b@example.com")
				d.Size = 10
				if name == "bare LF" || name == "bare CR" || name == "NUL" {
					d.Size = int64(len(body))
				}
				if res := w.deliver(d); !errors.Is(res.Stopped, ErrStopped) || !errors.Is(res.Stopped, errSize) && !errors.Is(res.Stopped, errForm) {
					t.Errorf("stopped by %v", res.Stopped)
				}
			})
			if strings.Contains(rest, "\r\n.\r\n") || strings.Contains(rest, "QUIT") {
				t.Errorf("told %q", rest)
			}
		})
	}
}

// TestAfterTheDot: from the dot on the answer is awaited, whatever ctx says.
func TestAfterTheDot(t *testing.T) {
	inWorld(t, sink.Options{Faults: faults(t, "dot=delay 5m")}, Options{}, func(w *world) {
		ctx, cancel := context.WithTimeout(w.t.Context(), time.Minute)
		defer cancel()
		res := w.up.Deliver(ctx, mail(letter, "b@example.com"))
		w.want(res, "dot 250")
		if res.Stopped != nil || ctx.Err() == nil {
			t.Errorf("stopped by %v", res.Stopped)
		}
	})
	inWorld(t, sink.Options{Faults: faults(t, "dot=delay 5m; close")}, Options{}, func(w *world) {
		ctx, cancel := context.WithTimeout(w.t.Context(), time.Minute)
		defer cancel()
		res := w.up.Deliver(ctx, mail(letter, "b@example.com"))
		w.want(res, "dot in doubt")
		if res.Stopped != nil {
			t.Errorf("stopped by %v", res.Stopped)
		}
	})
}

// TestBeforeDot: it is told who is accepted and what is final, once, when the
// body has been read and nothing of the dot has left.
func TestBeforeDot(t *testing.T) {
	var told string
	withPeer(t, Options{}, []func(*peer){func(p *peer) {
		p.opening(piped)
		p.hear("DATA")
		p.say("250 ok\r\n550 no\r\n250 ok\r\n354 go\r\n")
		p.hear(".\r\n")
		told = p.told.String()
		p.say("250 ok\r\n")
		p.rest()
	}}, func(w *world) {
		d := mail(letter, "no@example.com", "yes@example.com")
		calls := 0
		d.BeforeDot = func(_ context.Context, accepted []int, soFar []RcptResult) error {
			calls++
			synctest.Wait()
			if told != "" || !slices.Equal(accepted, []int{1}) || brief(soFar[0]) != "rcpt 550" || soFar[1].Final() {
				t.Errorf("told %q, accepted %v, so far %v", told, accepted, soFar)
			}
			return nil
		}
		w.want(w.deliver(d), "rcpt 550", "dot 250")
		if calls != 1 {
			t.Errorf("%d calls", calls)
		}
	})
}

// TestTooManyRecipients: the rest goes in further transactions, at once, on the
// same session.
func TestTooManyRecipients(t *testing.T) {
	all := []string{"a@x", "b@x", "c@x", "d@x", "e@x"}
	for _, reply := range []string{"452 4.5.3 too many", "452 too many", "552 too many", "550 5.5.3 too many", "451 4.5.3 too many"} {
		for _, ehlo := range []string{plain, piped} {
			var transactions [][]string
			withPeer(t, Options{}, []func(*peer){func(p *peer) {
				p.opening(ehlo)
				var to []string
				for {
					line, err := p.r.ReadString('\n')
					switch {
					case err != nil:
						return
					case strings.HasPrefix(line, "MAIL"):
						to = nil
					case strings.HasPrefix(line, "RCPT"):
						if len(to) == 2 {
							p.say(reply + "\r\n")
							continue
						}
						to = append(to, strings.TrimSpace(strings.TrimPrefix(line, "RCPT TO:")))
					case strings.HasPrefix(line, "DATA"):
						transactions = append(transactions, to)
						p.say("354 go\r\n")
						continue
					case line != ".\r\n":
						continue
					}
					p.say("250 ok\r\n")
				}
			}}, func(w *world) {
				var dots []string
				d := mail("x\r\n", all...)
				d.BeforeDot = func(_ context.Context, accepted []int, soFar []RcptResult) error {
					final := 0
					for _, r := range soFar {
						if r.Accepted() {
							final++
						}
					}
					dots = append(dots, fmt.Sprint(accepted, final))
					return nil
				}
				w.want(w.deliver(d), "dot 250", "dot 250", "dot 250", "dot 250", "dot 250")
				if got := fmt.Sprint(dots); got != "[[0 1] 0 [2 3] 2 [4] 4]" {
					t.Errorf("dots %s", got)
				}
				if w.net.Dials() != 1 {
					t.Error("on another session")
				}
			})
			if got := fmt.Sprint(transactions); got != "[[<a@x> <b@x>] [<c@x> <d@x>] [<e@x>]]" {
				t.Errorf("transactions %s", got)
			}
		}
	}
	// Nobody at all is accepted: that is an answer, not an invitation.
	inWorld(t, sink.Options{Faults: faults(t, "rcpt=452 4.5.3 too many")}, Options{}, func(w *world) {
		w.want(w.deliver(mail(letter, all...)), "rcpt 452", "rcpt 452", "rcpt 452", "rcpt 452", "rcpt 452")
	})
	// The message is refused: those left over need not hear it again.
	inWorld(t, sink.Options{Faults: faults(t, "rcpt:b@x=452 4.5.3 too many", "dot=451 no")}, Options{}, func(w *world) {
		w.want(w.deliver(mail(letter, "a@x", "b@x")), "dot 451", "rcpt 452")
	})
	// The second transaction is lost: the first stays delivered.
	inWorld(t, sink.Options{Faults: faults(t, "rcpt:b@x#1=452 4.5.3 too many", "dot#2=close")}, Options{}, func(w *world) {
		w.want(w.deliver(mail(letter, "a@x", "b@x")), "dot 250", "dot in doubt")
	})
	// The session ends between the two: it is replaced.
	inWorld(t, sink.Options{Faults: faults(t, "rcpt:b@x#1=452 4.5.3 too many", "mail#2=421 enough")}, Options{}, func(w *world) {
		w.want(w.deliver(mail(letter, "a@x", "b@x")), "dot 250", "dot 250")
	})
}

// TestManyRecipients: flights are bounded, so that neither side's buffers fill
// while both write.
func TestManyRecipients(t *testing.T) {
	var all []string
	for i := range 7000 {
		all = append(all, fmt.Sprintf("%s%d@example.com", strings.Repeat("x", 50), i))
	}
	inWorld(t, sink.Options{}, Options{}, func(w *world) {
		for _, r := range w.deliver(mail(letter, all...)).Rcpts {
			if !r.Accepted() {
				t.Fatalf("got %v", r)
			}
		}
		if got := w.sink.Messages(); len(got) != 1 || !slices.Equal(got[0].To, all) {
			t.Error("not everybody got it")
		}
	})
}

// TestUnfit: what the upstream has announced it cannot take is not sent, and
// costs it nothing.
func TestUnfit(t *testing.T) {
	inWorld(t, sink.Options{Without: []string{"8BITMIME"}, Size: 1000}, Options{}, func(w *world) {
		eightBit := mail("\xe4\r\n", "b@example.com")
		eightBit.EightBit = true
		big := mail(strings.Repeat("x\r\n", 400), "b@example.com")
		for want, d := range map[string]Delivery{"mail 554": eightBit, "mail 552": big} {
			res := w.deliver(d)
			w.want(res, want)
			r := res.Rcpts[0]
			if v, s := classify(r.Stage, r.Reply, r.Err, ""); v != Next || s != ScopeMessage && s != ScopeSize || res.Served {
				t.Errorf("%s %s, served %v", v, s, res.Served)
			}
		}
		w.want(w.deliver(mail(letter, "b@example.com")), "dot 250")
		if n, m := w.sink.Conns(), w.sink.Count(); n != 1 || m != 1 {
			t.Errorf("%d connections, %d messages", n, m)
		}
	})
}

// TestParameters: only what is offered is used.
func TestParameters(t *testing.T) {
	for _, c := range []struct {
		without  []string
		eightBit bool
		want     string
	}{
		{nil, false, "SIZE=36"},
		{nil, true, "SIZE=36 BODY=8BITMIME"},
		{[]string{"SIZE"}, true, "BODY=8BITMIME"},
		{[]string{"SIZE", "8BITMIME"}, false, ""},
	} {
		inWorld(t, sink.Options{Without: c.without}, Options{}, func(w *world) {
			d := mail(letter, "b@example.com")
			d.EightBit = c.eightBit
			w.want(w.deliver(d), "dot 250")
			if got := w.sink.Messages()[0].Params; got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

// TestHurry: with another upstream at hand, all that comes before the first
// reply to MAIL takes 18 s together, whatever the endpoints and replacements.
func TestHurry(t *testing.T) {
	e := Endpoint{Mode: Insecure, Host: host, Port: "25"}
	for name, c := range map[string]struct {
		faults    []string
		endpoints []Endpoint
		silent    bool
		hurried   string
		patient   string
	}{
		"black hole":         {nil, []Endpoint{e}, true, "connect error 10s", "connect error 1m0s"},
		"three black holes":  {nil, []Endpoint{e, e, e}, true, "connect error 10s", "connect error 1m0s"}, // side by side
		"silent greeting":    {[]string{"greeting=hang"}, []Endpoint{e}, false, "greeting error 15s", "greeting error 5m0s"},
		"slow step by step":  {[]string{"greeting=delay 7s", "ehlo=delay 7s", "mail=delay 7s"}, []Endpoint{e}, false, "mail error 18s", "dot 250 21s"},
		"slow after MAIL":    {[]string{"mail=delay 16s", "rcpt=delay 50s", "data=delay 50s", "dot=delay 9m"}, []Endpoint{e}, false, "dot 250 10m56s", "dot 250 10m56s"},
		"two that are dead":  {[]string{"greeting=hang"}, []Endpoint{e, e}, false, "greeting error 16s", "greeting error 5m1s"},
		"the second is good": {[]string{"greeting%1=hang"}, []Endpoint{e, e}, false, "dot 250 1s", "dot 250 1s"},
	} {
		for want, hurry := range map[string]bool{c.hurried: true, c.patient: false} {
			t.Run(fmt.Sprint(name, " ", hurry), func(t *testing.T) {
				inWorld(t, sink.Options{Faults: faults(t, c.faults...)}, Options{Endpoints: c.endpoints}, func(w *world) {
					w.net.Silence(host+":25", c.silent)
					d := mail(letter, "b@example.com")
					d.Hurry = hurry
					res := w.deliver(d)
					if got := fmt.Sprint(brief(res.Rcpts[0]), " ", res.Took.Truncate(time.Second)); got != want {
						t.Errorf("got %s, want %s", got, want)
					}
				})
			})
		}
	}
}

// TestLoginIsNotCut: neither the end of the time nor a failed probe cuts an
// AUTH under way. What it brought is used by the next delivery.
func TestLoginIsNotCut(t *testing.T) {
	for _, giveUp := range []bool{false, true} {
		inWorld(t, sink.Options{Users: map[string]string{"ann": "pw"}, Faults: faults(t, "ehlo=delay 14s", "auth=delay 14s")}, Options{
			Endpoints: []Endpoint{{Mode: Insecure, Host: "localhost", Port: "25"}}, Username: "ann", Password: password("pw"),
		}, func(w *world) {
			w.route()
			d := mail(letter, "b@example.com")
			gone := make(chan struct{})
			d.Hurry, d.GiveUp = !giveUp, gone
			if giveUp {
				time.AfterFunc(20*time.Second, func() { close(gone) })
			}
			res := w.deliver(d)
			if res.Took.Truncate(time.Second) != 28*time.Second || res.Rcpts[0].Err == nil {
				t.Errorf("took %v: %v", res.Took, res.Rcpts[0])
			}
			if errors.Is(res.Rcpts[0].Err, ErrGivenUp) != giveUp {
				t.Errorf("got %v", res.Rcpts[0].Err)
			}
			d.GiveUp = nil
			w.want(w.deliver(d), "dot 250")
			if w.sink.Conns() != 1 {
				t.Error("the login was thrown away")
			}
		})
	}
}

// TestLoginIsStopped: ctx cuts even an AUTH, for the process may end.
func TestLoginIsStopped(t *testing.T) {
	inWorld(t, sink.Options{Users: map[string]string{"ann": "pw"}, Faults: faults(t, "auth=hang")}, Options{
		Endpoints: []Endpoint{{Mode: Insecure, Host: "localhost", Port: "25"}}, Username: "ann", Password: password("pw"),
	}, func(w *world) {
		w.route()
		ctx, cancel := context.WithTimeout(w.t.Context(), time.Second)
		defer cancel()
		res := w.up.Deliver(ctx, mail(letter, "b@example.com"))
		if res.Took.Truncate(time.Second) != time.Second || !errors.Is(res.Stopped, context.DeadlineExceeded) {
			t.Errorf("took %v, stopped by %v", res.Took, res.Stopped)
		}
	})
}

// TestLateLoginMayBeStale: what a late login brought is a kept session like
// others, and replaced when it has died.
func TestLateLoginMayBeStale(t *testing.T) {
	inWorld(t, sink.Options{Faults: faults(t, "mail#1=421 idle")}, Options{}, func(w *world) {
		c, err := w.up.connect(w.t.Context(), w.t.Context(), newBudget(false, time.Now()), unwatched())
		if err != nil {
			t.Fatal(err)
		}
		w.up.idle.put(c)
		w.want(w.deliver(mail(letter, "b@example.com")), "dot 250")
	})
}

// TestLastBlock: where the write that holds the dot does not get all of it out,
// nothing was taken and nothing is in doubt.
func TestLastBlock(t *testing.T) {
	body := strings.Repeat(strings.Repeat("x", 76)+"\r\n", 1500) // two writes; the second one blocks
	for fault, want := range map[string]string{"hang": "body error", "552 5.3.4 no; hang": "body 552", "250 ok; hang": "body error"} {
		inWorld(t, sink.Options{Faults: faults(t, "body="+fault)}, Options{}, func(w *world) {
			w.want(w.deliver(mail(body, "b@example.com")), want)
		})
	}
}

// TestNoMoreAfterRefusal: an upstream that says no to a large message early is
// spared the rest.
func TestNoMoreAfterRefusal(t *testing.T) {
	long := strings.Repeat(strings.Repeat("x", 76)+"\r\n", 50000)
	var rest string
	withPeer(t, Options{}, []func(*peer){func(p *peer) {
		p.opening(piped)
		p.hear("DATA")
		p.say("250 ok\r\n250 ok\r\n354 go\r\n")
		p.hear("x")
		p.say("552 5.3.4 too big\r\n")
		rest = p.rest()
	}}, func(w *world) {
		w.want(w.deliver(mail(long, "b@example.com")), "body 552")
	})
	if len(rest) > len(long)/2 {
		t.Errorf("%d of %d octets were sent", len(rest), len(long))
	}
}

// TestGiveUp: a failed probe ends the wait of sessions being set up, at each
// stage up to the reply to MAIL, and nothing later.
func TestGiveUp(t *testing.T) {
	for stage, want := range map[string]string{
		"greeting": "greeting error 10s", "ehlo": "ehlo error 10s", "mail": "mail error 10s",
		"rcpt": "dot 250 30s", "data": "dot 250 30s", "dot": "dot 250 30s",
	} {
		inWorld(t, sink.Options{Faults: faults(t, stage+"=delay 30s")}, Options{}, func(w *world) {
			d := mail(letter, "b@example.com")
			gone := make(chan struct{})
			d.GiveUp = gone
			time.AfterFunc(10*time.Second, func() { close(gone) })
			res := w.deliver(d)
			if got := fmt.Sprint(brief(res.Rcpts[0]), " ", res.Took.Truncate(time.Second)); got != want {
				t.Errorf("%s: got %s, want %s", stage, got, want)
			}
			if r := res.Rcpts[0]; r.Err != nil && !errors.Is(r.Err, ErrGivenUp) || res.Stopped != nil {
				t.Errorf("%s: got %v, stopped by %v", stage, r.Err, res.Stopped)
			}
		})
	}
	inWorld(t, sink.Options{}, Options{}, func(w *world) {
		w.net.Silence(host+":25", true)
		d := mail(letter, "b@example.com")
		gone := make(chan struct{})
		close(gone)
		d.GiveUp = gone
		if r := w.deliver(d).Rcpts[0]; !errors.Is(r.Err, ErrGivenUp) || r.Stage != Connect {
			t.Errorf("got %v", r)
		}
	})
}

// TestProbe: all endpoints at once, one is enough, and no login.
func TestProbe(t *testing.T) {
	good := Endpoint{Mode: Insecure, Host: host, Port: "25"}
	dead, hole := good, good
	dead.Port, hole.Port = "26", "27"
	for want, endpoints := range map[string][]Endpoint{
		"<nil> 0s":           {good},
		"<nil> 0s ":          {hole, dead, good},
		"connect: ECONN 0s":  {dead},
		"connect: TIME 5s":   {hole, dead},
		"connect: TIME 5s  ": {dead, hole},
	} {
		inWorld(t, sink.Options{}, Options{Endpoints: endpoints}, func(w *world) {
			w.net.Silence(host+":27", true)
			ctx, cancel := context.WithTimeout(w.t.Context(), 5*time.Second)
			defer cancel()
			begin := time.Now()
			err := w.up.Probe(ctx)
			took := time.Since(begin).Truncate(time.Second)
			if ok := err == nil; ok != strings.HasPrefix(want, "<nil>") || !strings.Contains(want, fmt.Sprint(" ", took)) {
				t.Errorf("got %v after %v, want %s", err, took, want)
			}
			if e := (*Error)(nil); err != nil && (!errors.As(err, &e) || e.Stage != Connect) {
				t.Errorf("got %#v", err)
			}
			if err == nil && len(endpoints) > 1 { // and the next delivery knows
				res := w.deliver(mail(letter, "b@example.com"))
				if res.Took > time.Second || res.Endpoint != good.address() {
					t.Errorf("took %v by %s", res.Took, res.Endpoint)
				}
			}
		})
	}
	inWorld(t, sink.Options{Faults: faults(t, "ehlo=hang")}, Options{}, func(w *world) {
		ctx, cancel := context.WithTimeout(w.t.Context(), 5*time.Second)
		defer cancel()
		err := w.up.Probe(ctx)
		e := (*Error)(nil)
		if !errors.As(err, &e) || e.Stage != Hello || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v", err)
		}
		if v, s := classify(e.Stage, e.Reply, e.Err, ""); v != Next || s != ScopeNetwork {
			t.Errorf("%s %s", v, s)
		}
	})
}

// TestConcurrent has many deliveries share one upstream.
func TestConcurrent(t *testing.T) {
	inWorld(t, sink.Options{}, Options{}, func(w *world) {
		done := make(chan Result)
		const workers, each = 8, 20
		for range workers {
			go func() {
				for range each {
					done <- w.deliver(mail(letter, "b@example.com"))
				}
			}()
		}
		for range workers * each {
			w.want(<-done, "dot 250")
		}
		if n, m := w.sink.Conns(), w.sink.Count(); n > workers || m != workers*each {
			t.Errorf("%d connections, %d messages", n, m)
		}
	})
}

// TestSecondTransaction: the time for all before the first reply to MAIL is not
// that of a second transaction, however long the first one took.
func TestSecondTransaction(t *testing.T) {
	inWorld(t, sink.Options{Faults: faults(t, "rcpt:b@example.com#1=452 4.5.3 too many", "dot#1=delay 20s")}, Options{}, func(w *world) {
		d := mail(letter, "a@example.com", "b@example.com")
		d.Hurry = true
		w.want(w.deliver(d), "dot 250", "dot 250")
		if w.sink.Count() != 2 {
			t.Errorf("%d transactions", w.sink.Count())
		}
	})
}

// TestEndIsNoLesson: a session that the end of ctx closes, be it with the last
// reply, is not kept, and teaches nothing about the peer.
func TestEndIsNoLesson(t *testing.T) {
	for range 50 {
		inWorld(t, sink.Options{Faults: faults(t, "rcpt#1=550 no")}, Options{}, func(w *world) {
			ctx, cancel := context.WithCancel(w.t.Context())
			d := mail(letter, "b@example.com")
			d.Begin = func() bool {
				cancel()
				return true
			}
			w.up.Deliver(ctx, d)
			time.Sleep(5 * time.Second)
			w.want(w.deliver(mail(letter, "b@example.com")), "dot 250")
			if w.up.idle.limit != idleLimit {
				t.Errorf("kept for %v from now on", w.up.idle.limit)
			}
		})
	}
}
