package relay

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"mailroam/gateway/sink"
)

func TestPatience(t *testing.T) {
	for _, c := range []struct{ quiet, gap, want time.Duration }{
		{2 * time.Second, 0, 2 * time.Second},
		{2 * time.Second, time.Second, 2 * time.Second},
		{2 * time.Second, 3 * time.Second, 6 * time.Second},
		{2 * time.Second, time.Minute, 10 * time.Second},
		{15 * time.Second, time.Minute, 15 * time.Second},
	} {
		if got := patience(c.quiet, c.gap); got != c.want {
			t.Errorf("after %v of silence %v: got %v, want %v", c.gap, c.quiet, got, c.want)
		}
	}
}

// TestSilenceGoesOn: what was silence at a session that was given up goes on at
// the next one, until that moves, which a name server that answers is not; it is
// no measure of the next one's step.
func TestSilenceGoesOn(t *testing.T) {
	for moves, want := range map[string]string{"nobody": "[2s]", "a name server": "[2.1s]", "the upstream": "[3.6s]"} {
		synctest.Test(t, func(t *testing.T) {
			began := time.Now()
			var told []time.Duration
			w := newWatch(2*time.Second, [stepCount]time.Duration{}, func(Stage) { told = append(told, time.Since(began)) })
			w.enter(mailing)
			time.Sleep(1500 * time.Millisecond)
			w.anew()
			w.enter(finding)
			time.Sleep(100 * time.Millisecond)
			switch moves {
			case "a name server":
				w.lookedUp()
			case "the upstream":
				w.touch()
			}
			time.Sleep(2 * time.Second)
			synctest.Wait()
			if got := fmt.Sprint(told); got != want {
				t.Errorf("%s moves: told at %s, want %s", moves, got, want)
			}
			if gap := w.longest(); gap > 2100*time.Millisecond {
				t.Errorf("%s moves: the step was silent for %v", moves, gap)
			}
			w.stop()
		})
	}
}

// ear notes when it was told of silence, in whole seconds.
type ear struct {
	mu    sync.Mutex // guards times
	began time.Time
	times []string
}

// listen makes d tell it.
func (e *ear) listen(d Delivery) Delivery {
	e.began, e.times = time.Now(), nil
	d.Quiet, d.OnQuiet = 2100*time.Millisecond, func(Stage) { // no multiple of it is a time-out
		e.mu.Lock()
		defer e.mu.Unlock()
		e.times = append(e.times, fmt.Sprint(time.Since(e.began).Truncate(time.Second)))
	}
	return d
}

func (e *ear) heard() string {
	e.mu.Lock()
	defer e.mu.Unlock()
	return strings.Join(e.times, " ")
}

// TestSilence: it is told of, again and again, wherever nothing moves before
// the reply to MAIL. Who answers step by step is not silent.
func TestSilence(t *testing.T) {
	for _, c := range []struct {
		name   string
		is     name
		hole   bool
		faults []string
		told   string
		want   string
	}{
		{"slow lookup", name{addrs: []string{v4}, after: 5 * time.Second}, false, nil, "2s 4s", "dot 250 5s"},
		{"dead lookup", name{after: time.Hour}, false, nil, "2s 4s 6s 8s", "dns error 10s"},
		{"black hole", name{addrs: []string{v4}}, true, nil, "2s 4s 6s 8s", "connect error 10s"},
		{"silent greeting", name{addrs: []string{v4}}, false, []string{"greeting=hang"}, "2s 4s 6s 8s 10s 12s 14s", "greeting error 15s"},
		{"silent MAIL", name{addrs: []string{v4}}, false, []string{"mail=delay 5s", "rcpt=delay 50s"}, "2s 4s", "dot 250 55s"},
		{"slow after MAIL", name{addrs: []string{v4}}, false, []string{"rcpt=delay 50s", "dot=delay 5m"}, "", "dot 250 5m50s"},
		{"step by step", name{addrs: []string{v4}, after: 1900 * time.Millisecond}, false, []string{"greeting=delay 1900ms", "ehlo=delay 1900ms", "mail=delay 1900ms"}, "", "dot 250 7s"},
		{"octet by octet", name{addrs: []string{v4}}, false, []string{"mail=slow"}, "", "dot 250 41s"},
	} {
		t.Run(c.name, func(t *testing.T) {
			inInternet(t, Options{Endpoints: inClear("25")}, func(n *internet) {
				n.setName(host, c.is)
				n.serve(sink.Options{Faults: faults(t, c.faults...)}, v4+":25")
				n.net.Silence(v4+":25", c.hole)
				var e ear
				d := e.listen(mail(letter, "b@example.com"))
				d.Hurry = true
				res := n.deliver(d)
				time.Sleep(time.Minute) // nothing is told any more
				if got := fmt.Sprint(brief(res.Rcpts[0]), " ", res.Took.Truncate(time.Second)); e.heard() != c.told || got != c.want && c.name != "octet by octet" {
					t.Errorf("told at %q, %s; want %q, %s", e.heard(), got, c.told, c.want)
				}
			})
		})
	}
}

// TestSilenceOnKeptSession: a session that died unnoticed is a silence too.
func TestSilenceOnKeptSession(t *testing.T) {
	withPeer(t, Options{}, []func(*peer){serve(1, func(p *peer) { p.rest() }), serve(9, func(*peer) {})}, func(w *world) {
		var e ear
		d := e.listen(mail(letter, "b@example.com"))
		d.Hurry = true
		w.want(w.deliver(d), "dot 250")
		e.began = time.Now()
		w.want(w.deliver(d), "mail error")
		if e.heard() != "2s 4s" {
			t.Errorf("told at %q", e.heard())
		}
	})
}

// TestSlownessIsLearnt: a server that delays its greeting is heard of once, not
// each time; not in another network, and not when it has become faster. What it
// needs for its greeting it does not need for MAIL.
func TestSlownessIsLearnt(t *testing.T) {
	inInternet(t, Options{Endpoints: inClear("25")}, func(n *internet) {
		n.setName(host, name{addrs: []string{v4}})
		s := n.serve(sink.Options{}, v4+":25")
		send := func(why, fault, want string) {
			t.Helper()
			s.SetFaults(faults(t, fault)...)
			var e ear
			n.deliver(e.listen(mail(letter, "b@example.com")))
			if e.heard() != want {
				t.Errorf("%s: told at %q, want %q", why, e.heard(), want)
			}
		}
		const delay = "greeting=delay 5s"
		send("at first", delay, "2s 4s")
		send("a kept session is another matter", "mail=delay 5s", "2s 4s")
		send("learnt for it too", "mail=delay 5s", "")
		send("and forgotten", "quit=250 bye", "")
		send("as at first on a kept session", "mail=delay 5s", "2s 4s")
		n.up.CloseIdle()
		send("learnt", delay, "")
		n.up.CloseIdle()
		if err := n.up.Probe(n.t.Context()); err != nil { // which learns too
			t.Fatal(err)
		}
		send("still known", delay, "")
		n.up.CloseIdle()
		send("it has become fast", "quit=250 bye", "")
		n.up.CloseIdle()
		send("as at first", delay, "2s 4s")
		n.up.CloseIdle()
		n.up.Roam("elsewhere")
		send("elsewhere", delay, "2s 4s")
		n.up.CloseIdle()
		n.up.Roam("elsewhere")
		s.SetFaults(faults(t, delay)...)
		if err := n.up.Probe(n.t.Context()); err != nil {
			t.Fatal(err)
		}
		send("learnt from a probe", delay, "")
	})
}

// TestSlowLoginIsLearnt: apart from the rest.
func TestSlowLoginIsLearnt(t *testing.T) {
	inWorld(t, sink.Options{Users: map[string]string{"ann": "pw"}, Faults: faults(t, "auth=delay 5s")}, Options{
		Endpoints: []Endpoint{{Mode: Insecure, Host: "localhost", Port: "25"}}, Username: "ann", Password: password("pw"),
	}, func(w *world) {
		w.route()
		for _, want := range []string{"2s 4s", ""} {
			var e ear
			w.want(w.deliver(e.listen(mail(letter, "b@example.com"))), "dot 250")
			if e.heard() != want {
				t.Errorf("told at %q, want %q", e.heard(), want)
			}
			w.up.CloseIdle()
		}
	})
}

// TestOnQuietDelaysNothing: however long it takes.
func TestOnQuietDelaysNothing(t *testing.T) {
	inWorld(t, sink.Options{Faults: faults(t, "greeting=delay 3s")}, Options{}, func(w *world) {
		d := mail(letter, "b@example.com")
		done := make(chan struct{})
		d.Quiet, d.OnQuiet = time.Second, func(Stage) { <-done }
		res := w.deliver(d)
		close(done)
		w.want(res, "dot 250")
		if res.Took.Truncate(time.Second) != 3*time.Second {
			t.Errorf("took %v", res.Took)
		}
	})
}

// TestBegin: it is asked once, at the first reply to MAIL, and a no leaves the
// upstream without a word of the message.
func TestBegin(t *testing.T) {
	for _, without := range [][]string{nil, {"PIPELINING"}} {
		for fault, want := range map[string]string{"quit=250 bye": "dot 250", "mail=451 no": "mail 451", "mail=554 no": "mail 554"} {
			for _, yes := range []bool{true, false} {
				inWorld(t, sink.Options{Without: without, Faults: faults(t, fault)}, Options{}, func(w *world) {
					d := mail(letter, "b@example.com", "c@example.com")
					asked := 0
					d.Begin = func() bool { asked++; return yes }
					d.Body = func() func(context.Context) (io.ReadCloser, error) {
						body := d.Body
						return func(ctx context.Context) (io.ReadCloser, error) {
							if !yes {
								t.Error("the body was opened")
							}
							return body(ctx)
						}
					}()
					res := w.deliver(d)
					synctest.Wait()
					if yes {
						w.want(res, want, want)
					} else if w.want(res, "mail error", "mail error"); !errors.Is(res.Rcpts[1].Err, ErrPassedOver) || w.kept() != 0 {
						t.Errorf("got %v, %d kept", res.Rcpts, w.kept())
					}
					if asked != 1 || !res.Served || res.Stopped != nil || w.sink.Count() != map[bool]int{true: 1}[want == "dot 250" && yes] {
						t.Errorf("asked %d times, %+v, %d taken", asked, res, w.sink.Count())
					}
				})
			}
		}
	}
}

// TestBeginIsAskedOnce: not for the next transaction of the same message, and
// not for a kept session that had died.
func TestBeginIsAskedOnce(t *testing.T) {
	inWorld(t, sink.Options{Faults: faults(t, "rcpt:b@x#1=452 4.5.3 too many", "mail#3=421 idle")}, Options{}, func(w *world) {
		asked := 0
		d := mail(letter, "a@x", "b@x")
		d.Begin = func() bool { asked++; return true }
		d.GiveUp = make(chan struct{})
		w.want(w.deliver(d), "dot 250", "dot 250")
		if asked != 1 || w.sink.Conns() != 1 {
			t.Errorf("asked %d times for two transactions, %d connections", asked, w.sink.Conns())
		}
		w.want(w.deliver(d), "dot 250", "dot 250")
		if asked != 2 || w.sink.Conns() != 2 {
			t.Errorf("asked %d times for a replaced session, %d connections", asked-1, w.sink.Conns())
		}
	})
	inWorld(t, sink.Options{Faults: faults(t, "greeting=554 no")}, Options{}, func(w *world) {
		d := mail(letter, "a@x")
		d.Begin = func() bool { t.Error("asked without a reply to MAIL"); return true }
		w.want(w.deliver(d), "greeting 554")
	})
}

// TestGiveUpKept: the wait for MAIL on a kept session ends too, and is not
// mistaken for a session that had died.
func TestGiveUpKept(t *testing.T) {
	inWorld(t, sink.Options{Faults: faults(t, "mail#2=delay 30s")}, Options{}, func(w *world) {
		d := mail(letter, "b@example.com")
		gone := make(chan struct{})
		d.GiveUp = gone
		w.want(w.deliver(d), "dot 250")
		time.AfterFunc(10*time.Second, func() { close(gone) })
		res := w.deliver(d)
		w.want(res, "mail error")
		if !errors.Is(res.Rcpts[0].Err, ErrGivenUp) || res.Took.Truncate(time.Second) != 10*time.Second || res.Served || w.sink.Conns() != 1 {
			t.Errorf("got %+v, %d connections", res, w.sink.Conns())
		}
	})
}

// TestRefusalIsNotHiddenByGiveUp: a refused login is known as one, however late.
func TestRefusalIsNotHiddenByGiveUp(t *testing.T) {
	inWorld(t, sink.Options{Users: map[string]string{"ann": "new"}, Faults: faults(t, "auth=delay 10s")}, Options{
		Endpoints: []Endpoint{{Mode: Insecure, Host: "localhost", Port: "25"}}, Username: "ann", Password: password("old"),
	}, func(w *world) {
		w.route()
		d := mail(letter, "b@example.com")
		gone := make(chan struct{})
		d.GiveUp = gone
		time.AfterFunc(time.Second, func() { close(gone) })
		w.want(w.deliver(d), "auth 535")
	})
}

// TestWarm: a session that waits in the pool is enough; else one is made.
func TestWarm(t *testing.T) {
	inWorld(t, sink.Options{Users: map[string]string{"ann": "pw"}}, Options{
		Endpoints: []Endpoint{{Mode: Insecure, Host: "localhost", Port: "25"}}, Username: "ann", Password: password("pw"),
	}, func(w *world) {
		w.route()
		warm := func(kept, conns int) {
			t.Helper()
			if err := w.up.Warm(w.t.Context(), false); err != nil {
				t.Error(err)
			}
			if w.kept() != kept || w.sink.Conns() != conns {
				t.Errorf("%d kept of %d, want %d of %d", w.kept(), w.sink.Conns(), kept, conns)
			}
		}
		warm(1, 1)
		warm(1, 1)
		w.want(w.deliver(mail(letter, "b@example.com")), "dot 250")
		warm(1, 1)
		time.Sleep(20 * time.Second)
		warm(1, 1)
		time.Sleep(11 * time.Second)
		synctest.Wait()
		if w.kept() != 0 {
			t.Error("being asked for keeps a session young")
		}
		warm(1, 2)
		_ = w.up.idle.idle[0].wire.Conn.Close()
		warm(1, 3)
		w.up.CloseIdle()
		var both sync.WaitGroup
		for range 2 {
			both.Go(func() {
				if err := w.up.Warm(w.t.Context(), false); err != nil {
					t.Error(err)
				}
			})
		}
		both.Wait()
		if err := w.up.Warm(w.t.Context(), true); err != nil || w.kept() != 1 || w.sink.Conns() != 6 {
			t.Errorf("anew: %v, %d kept of %d, want 1 of 6", err, w.kept(), w.sink.Conns())
		}
	})
	inWorld(t, sink.Options{Faults: faults(t, "greeting=hang")}, Options{}, func(w *world) {
		begin := time.Now()
		err := w.up.Warm(w.t.Context(), false)
		if e, ok := errors.AsType[*Error](err); !ok || e.Stage != Greeting || time.Since(begin) != hurried.setup || w.kept() != 0 {
			t.Errorf("got %v after %v", err, time.Since(begin))
		}
	})
}

// TestWarmIsWantedNoMore: an AUTH under way is let end for a while, and what it
// brought is kept.
func TestWarmIsWantedNoMore(t *testing.T) {
	for fault, want := range map[string]struct {
		took time.Duration
		kept int
	}{"greeting=delay 3s": {time.Second, 0}, "auth=delay 3s": {3 * time.Second, 1}, "auth=delay 10s": {6 * time.Second, 0}} {
		inWorld(t, sink.Options{Users: map[string]string{"ann": "pw"}, Faults: faults(t, fault)}, Options{
			Endpoints: []Endpoint{{Mode: Insecure, Host: "localhost", Port: "25"}}, Username: "ann", Password: password("pw"),
		}, func(w *world) {
			w.route()
			ctx, cancel := context.WithTimeout(w.t.Context(), time.Second)
			defer cancel()
			begin := time.Now()
			err := w.up.Warm(ctx, false)
			if took := time.Since(begin).Truncate(time.Second); err == nil || took != want.took || w.kept() != want.kept {
				t.Errorf("%s: %v after %v, %d kept", fault, err, took, w.kept())
			}
		})
	}
}

// TestNoLoginForNobody: an AUTH under way is not cut, but one that has not begun
// when the delivery is given up never does.
func TestNoLoginForNobody(t *testing.T) {
	for wait, want := range map[time.Duration]bool{0: true, time.Second: false} {
		var told string
		withPeer(t, Options{
			Endpoints: []Endpoint{{Mode: Insecure, Host: "localhost", Port: "25"}}, Username: "ann",
			Password: func(context.Context) (string, error) {
				time.Sleep(wait)
				return "pw", nil
			},
		}, []func(*peer){func(p *peer) {
			p.opening("250-mx\r\n250 AUTH PLAIN\r\n")
			if p.hear("AUTH") {
				time.Sleep(time.Second)
				p.say("235 ok\r\n")
			}
			p.rest()
			told = p.told.String()
		}}, func(w *world) {
			w.route()
			giveUp := make(chan struct{})
			time.AfterFunc(500*time.Millisecond, func() { close(giveUp) })
			d := mail(letter, "b@example.com")
			d.GiveUp = giveUp
			if r := w.deliver(d).Rcpts[0]; !errors.Is(r.Err, ErrGivenUp) {
				t.Errorf("got %v", r)
			}
		})
		if strings.Contains(told, "AUTH") != want {
			t.Errorf("password after %v: told %q", wait, told)
		}
	}
}
