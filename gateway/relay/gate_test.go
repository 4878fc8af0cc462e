package relay

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"mailroam/gateway/sink"
)

// account is how an upstream with one account is reached in the clear.
func account(pw func(context.Context) (string, error)) Options {
	return Options{Endpoints: []Endpoint{{Mode: Insecure, Host: "localhost", Port: "25"}}, Username: "ann", Password: pw}
}

// counted counts the calls of a password's source: one a login.
func counted(n *atomic.Int32, pw string) func(context.Context) (string, error) {
	return func(context.Context) (string, error) { n.Add(1); return pw, nil }
}

// together delivers n messages side by side and gives the results.
func (w *world) together(n int, d Delivery) []Result {
	res := make([]Result, n)
	var all sync.WaitGroup
	for i := range n {
		all.Go(func() { res[i] = w.deliver(d) })
	}
	all.Wait()
	return res
}

// TestWrongPasswordCostsOneLogin: what one login was told, all are told who had
// set out before.
func TestWrongPasswordCostsOneLogin(t *testing.T) {
	for _, reply := range []string{"535 5.7.8 no", "454 4.7.0 not now", "421 4.7.0 go away"} {
		for _, delay := range []string{"", "delay 50ms; "} {
			var logins atomic.Int32
			inWorld(t, sink.Options{Users: map[string]string{"ann": "pw"}, Faults: faults(t, "auth="+delay+reply)}, account(counted(&logins, "pw")), func(w *world) {
				w.route()
				for _, res := range w.together(16, mail(letter, "b@example.com")) {
					r := res.Rcpts[0]
					if w.want(res, "auth "+reply[:3]); r.Reply.String() != reply {
						t.Errorf("got %v", r)
					}
				}
				if n := logins.Load(); n != 1 {
					t.Errorf("%q: %d logins", reply, n)
				}
				// Who sets out after the answer asks anew: it is others who say when.
				w.want(w.deliver(mail(letter, "b@example.com")), "auth "+reply[:3])
				if n := logins.Load(); n != 2 {
					t.Errorf("%q: %d logins in the end", reply, n)
				}
			})
		}
	}
}

// TestLateToTheGate: one whose connection was slow to come up set out before the
// refusal, too; hedges, logins of the health checks and deliveries share the
// gate.
func TestLateToTheGate(t *testing.T) {
	var logins atomic.Int32
	inWorld(t, sink.Options{Users: map[string]string{"ann": "other"}, Faults: faults(t, "ehlo%1=delay 3s", "ehlo%3=delay 3s", "auth=delay 1s")}, account(counted(&logins, "pw")), func(w *world) {
		w.route()
		var all sync.WaitGroup
		for _, login := range []func() error{
			func() error { return w.up.Login(w.t.Context()) },
			func() error { return w.up.Warm(w.t.Context(), false) },
			func() error {
				r := w.deliver(mail(letter, "b@example.com")).Rcpts[0]
				return &Error{Stage: r.Stage, Reply: r.Reply, Err: r.Err}
			},
		} {
			all.Go(func() {
				if fault, ok := errors.AsType[*Error](login()); !ok || fault.Reply.Code != 535 || fault.Stage != Auth {
					t.Errorf("got %v", fault)
				}
			})
		}
		all.Wait()
		if n := logins.Load(); n != 1 {
			t.Errorf("%d logins", n)
		}
	})
}

// TestNoRefusal: who had no password, or lost its connection, was told nothing
// by the upstream, and the next one tries.
func TestNoRefusal(t *testing.T) {
	var asked atomic.Int32
	inWorld(t, sink.Options{Users: map[string]string{"ann": "pw"}}, account(func(context.Context) (string, error) {
		time.Sleep(time.Second)
		if asked.Add(1) == 1 {
			return "", errTest
		}
		return "pw", nil
	}), func(w *world) {
		w.route()
		count := map[string]int{}
		for _, res := range w.together(4, mail(letter, "b@example.com")) {
			count[brief(res.Rcpts[0])]++
		}
		if fmt.Sprint(count) != "map[auth error:1 dot 250:3]" {
			t.Errorf("no password: %v", count)
		}
	})
	inWorld(t, sink.Options{Users: map[string]string{"ann": "pw"}, Faults: faults(t, "auth%1=delay 1s; close")}, account(password("pw")), func(w *world) {
		w.route()
		count := map[string]int{}
		for _, res := range w.together(4, mail(letter, "b@example.com")) {
			count[brief(res.Rcpts[0])]++
		}
		if fmt.Sprint(count) != "map[auth error:1 dot 250:3]" {
			t.Errorf("lost: %v", count)
		}
	})
}

// onLoopback serves on an IP address, so that there is a way that can change.
func (w *world) onLoopback() (done func()) {
	l, err := w.net.Listen("tcp", "127.0.0.1:25")
	if err != nil {
		w.t.Fatal(err)
	}
	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			serving.Go(func() { w.sink.ServeConn(c) })
		}
	})
	w.up.opts.Dial = w.net.DialTo("127.0.0.1:25")
	return func() {
		w.up.CloseIdle()
		_ = l.Close()
		w.sink.Cut()
		serving.Wait()
	}
}

// TestWaitAtTheGate: what ends a set-up ends its wait for others' logins.
func TestWaitAtTheGate(t *testing.T) {
	way := atomic.Value{}
	for name, c := range map[string]struct {
		change func(*Delivery, *world) context.Context
		want   string
		is     error
	}{
		"no time left": {func(d *Delivery, w *world) context.Context { d.Hurry = true; return w.t.Context() }, "auth error 18s", ErrQueued},
		"given up": {func(d *Delivery, w *world) context.Context {
			gone := make(chan struct{})
			d.GiveUp = gone
			time.AfterFunc(3*time.Second, func() { close(gone) })
			return w.t.Context()
		}, "auth error 3s", ErrGivenUp},
		"stopped": {func(d *Delivery, w *world) context.Context {
			ctx, cancel := context.WithCancelCause(w.t.Context())
			time.AfterFunc(3*time.Second, func() { cancel(errTest) })
			return ctx
		}, "auth error 3s", errTest},
		"roamed": {func(d *Delivery, w *world) context.Context {
			time.AfterFunc(3*time.Second, func() {
				way.Store("café")
				w.up.Roam("café")
			})
			return w.t.Context()
		}, "auth error 3s", ErrRoamed},
		"patient": {func(d *Delivery, w *world) context.Context { return w.t.Context() }, "dot 250 30s", nil},
	} {
		t.Run(name, func(t *testing.T) {
			ro := account(password("pw"))
			way.Store("home")
			ro.Path = func(_, _ netip.Addr) string { return way.Load().(string) }
			inWorld(t, sink.Options{Users: map[string]string{"ann": "pw"}, Faults: faults(t, "auth%1=delay 30s")}, ro, func(w *world) {
				defer w.onLoopback()()
				var all sync.WaitGroup
				defer all.Wait()
				all.Go(func() { w.deliver(mail(letter, "b@example.com")) })
				time.Sleep(time.Millisecond)
				d := mail(letter, "b@example.com")
				ctx := c.change(&d, w)
				res := w.up.Deliver(ctx, d)
				got := fmt.Sprint(brief(res.Rcpts[0]), " ", res.Took.Round(100*time.Millisecond))
				if !strings.HasPrefix(got, c.want) || c.is != nil && !errors.Is(res.Rcpts[0].Err, c.is) {
					t.Errorf("got %s (%v), want %s", got, res.Rcpts[0].Err, c.want)
				}
			})
		})
	}
}

// TestHungLogin: a session that hangs in its login holds up the others for a
// while, not for as long as it is given itself; then they are one by one again.
func TestHungLogin(t *testing.T) {
	inWorld(t, sink.Options{Users: map[string]string{"ann": "pw"}, Faults: faults(t, "auth%1=delay 10m", "auth%2=delay 1s", "auth%3=delay 1s", "auth%4=delay 1s")}, account(password("pw")), func(w *world) {
		w.route()
		count := map[string]int{}
		var mu sync.Mutex
		var all sync.WaitGroup
		for range 4 {
			all.Go(func() {
				res := w.deliver(mail(letter, "b@example.com"))
				mu.Lock()
				defer mu.Unlock()
				count[fmt.Sprint(brief(res.Rcpts[0]), " ", res.Took.Round(time.Second))]++
			})
			time.Sleep(time.Millisecond) // the first is the first at the gate
		}
		all.Wait()
		if fmt.Sprint(count) != "map[auth error 5m0s:1 dot 250 31s:1 dot 250 32s:1 dot 250 33s:1]" {
			t.Errorf("%v", count)
		}
	})
}

// TestCutBeforeTheGate: who lost its way just before it came to the gate does not
// wait there.
func TestCutBeforeTheGate(t *testing.T) {
	way := atomic.Value{}
	way.Store("home")
	ro := account(password("pw"))
	ro.Path = func(_, _ netip.Addr) string { return way.Load().(string) }
	inWorld(t, sink.Options{Users: map[string]string{"ann": "pw"}}, ro, func(w *world) {
		defer w.onLoopback()()
		ctx, b := w.t.Context(), newBudget(true, time.Now())
		c, fault := w.up.race(ctx, b, unwatched())
		if fault != nil {
			t.Fatal(fault)
		}
		other, _, _ := w.up.gate.take(0)
		way.Store("café")
		w.up.Roam("café")
		began := time.Now()
		if _, fault = w.up.ready(ctx, ctx, c, b, unwatched(), 0); fault == nil || fault.Err != ErrRoamed || time.Since(began) > 0 {
			t.Errorf("%v after %v", fault, time.Since(began))
		}
		w.up.gate.end(other, nil)
	})
}

// TestRamp: sessions that log in one by one are not far behind those that would
// side by side: the n-th waits for n logins, and those before it work.
func TestRamp(t *testing.T) {
	inWorld(t, sink.Options{Users: map[string]string{"ann": "pw"}, Faults: faults(t, "auth=delay 50ms", "dot=delay 200ms")}, account(password("pw")), func(w *world) {
		w.route()
		began, ready := time.Now(), make([]time.Duration, 16)
		var all sync.WaitGroup
		for i := range 16 {
			all.Go(func() {
				d := mail(letter, "b@example.com")
				d.Begin = func() bool { ready[i] = time.Since(began); return true }
				w.want(w.deliver(d), "dot 250")
			})
		}
		all.Wait()
		last := time.Duration(0)
		for _, d := range ready {
			last = max(last, d)
		}
		t.Logf("16 sessions with 50 ms of AUTH: the last is ready after %v", last.Round(time.Millisecond))
		if last > 16*50*time.Millisecond+100*time.Millisecond {
			t.Errorf("the last is ready after %v", last)
		}
	})
}
