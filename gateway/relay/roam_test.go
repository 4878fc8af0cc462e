package relay

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"mailroam/gateway/sink"
)

// TestJudge: what a change of the network comes to, by phase and way.
func TestJudge(t *testing.T) {
	for _, c := range []struct {
		phase       phase
		before, now string
		want        fate
	}{
		{dialling, "", "", isCut},
		{dialling, "", "home", isCut},
		{open, "home", "home", stays},
		{open, "home", "café", isCut},
		{open, "home", "", isCut},
		{open, "", "home", stays},
		{open, "", "", stays},
		{loggingIn, "home", "home", stays},
		{loggingIn, "home", "café", stale},
		{loggingIn, "home", "", isCut},
		{dotted, "home", "home", stays},
		{dotted, "home", "café", stale},
		{dotted, "home", "", stale},
	} {
		if got := c.phase.judge(c.before, c.now); got != c.want {
			t.Errorf("phase %d from %q to %q: got %d, want %d", c.phase, c.before, c.now, got, c.want)
		}
	}
}

// TestRoam: a second into each stage the network changes. Where the way is
// another one then, the delivery ends there and then, unless the dot has left,
// and nobody is charged; where it is the same, nothing happens.
func TestRoam(t *testing.T) {
	const ends = "stopped 1s, 0 taken, 0 kept"
	long := strings.Repeat(strings.Repeat("x", 76)+"\r\n", 5000)
	for _, c := range []struct {
		stage, fault string
		moved, same  string // what becomes of it with another way, and with the same
	}{
		{"dns", "", ends, ends},
		{"connect", "", ends, ends},
		{"greeting", "greeting=delay 10s", ends, "dot 250 10s, 1 taken, 1 kept"},
		{"ehlo", "ehlo=delay 10s", ends, "dot 250 10s, 1 taken, 1 kept"},
		{"mail", "mail=delay 10s", ends, "dot 250 10s, 1 taken, 1 kept"},
		{"rcpt", "rcpt=delay 10s", ends, "dot 250 10s, 1 taken, 1 kept"},
		{"kept", "rcpt#2=delay 10s", "stopped 1s, 1 taken, 0 kept", "dot 250 10s, 2 taken, 1 kept"},
		{"data", "data=delay 10s", ends, "dot 250 10s, 1 taken, 1 kept"},
		{"body", "body=hang", ends, "body error 3m5s, 0 taken, 0 kept"},
		{"before the dot", "", ends, "dot 250 1s, 1 taken, 1 kept"},
		{"dot", "dot=delay 10s", "dot 250 10s, 1 taken, 0 kept", "dot 250 10s, 1 taken, 1 kept"},
		{"lost dot", "dot=delay 10s; close", "dot in doubt 10s, 0 taken, 0 kept", "dot in doubt 10s, 0 taken, 0 kept"},
	} {
		for way, want := range map[string]string{"café": c.moved, "home": c.same} {
			t.Run(fmt.Sprint(c.stage, " ", way), func(t *testing.T) {
				inInternet(t, Options{Endpoints: inClear("25")}, func(n *internet) {
					is := name{addrs: []string{v4}}
					if c.stage == "dns" {
						is.after = time.Hour
					}
					n.setName(host, is)
					var so sink.Options
					if c.fault != "" {
						so.Faults = faults(t, c.fault)
					}
					s := n.serve(so, v4+":25")
					n.net.Silence(v4+":25", c.stage == "connect")
					if c.stage == "kept" {
						n.want(n.deliver(mail(letter, "b@example.com")), "dot 250")
					}
					roam := func() {
						n.setWay(v4, way)
						n.up.Roam("next")
					}
					d := mail(letter, "b@example.com")
					switch c.stage {
					case "body":
						d = mail(long, "b@example.com")
						time.AfterFunc(time.Second, roam)
					case "before the dot":
						d.BeforeDot = func(context.Context, []int, []RcptResult) error {
							time.Sleep(time.Second)
							roam()
							return nil
						}
					default:
						time.AfterFunc(time.Second, roam)
					}
					res := n.deliver(d)
					synctest.Wait()
					r := res.Rcpts[0]
					got := brief(r)
					if res.Stopped != nil {
						got = "stopped"
						if !errors.Is(res.Stopped, ErrStopped) || !errors.Is(res.Stopped, ErrRoamed) || !errors.Is(r.Err, ErrStopped) {
							t.Errorf("stopped by %v: %v", res.Stopped, r)
						}
						if v, s := classify(r.Stage, r.Reply, r.Err, ""); v != Later || s != ScopeNone {
							t.Errorf("charged: %s %s", v, s)
						}
					}
					got += fmt.Sprintf(" %v, %d taken, %d kept", res.Took.Truncate(time.Second), s.Count(), n.kept())
					if got != want {
						t.Errorf("got %s, want %s: %v", got, want, r)
					}
				})
			})
		}
	}
}

// TestRoamAndLogin: an AUTH under way is cut only when its way is gone. What it
// brings over another way than the one we have now is of no use, but a refusal
// is.
func TestRoamAndLogin(t *testing.T) {
	for _, c := range []struct{ way, fault, want string }{
		{"home", "auth=delay 10s", "dot 250 10s false"},
		{"café", "auth=delay 10s", "auth error 10s true"},
		{"café", "auth=delay 10s; 535 no", "auth 535 10s false"},
		{"café", "auth=delay 10s; close", "auth error 10s true"},
		{"", "auth=delay 10s", "auth error 1s true"},
	} {
		e := inClear("25")
		e[0].Mode = Implicit
		id := identity(t, host)
		e[0].Roots = id.Roots
		inInternet(t, Options{Endpoints: e, Username: "ann", Password: password("pw")}, func(n *internet) {
			n.setName(host, name{addrs: []string{v4}})
			n.serve(sink.Options{TLS: id.Server, Implicit: true, Users: map[string]string{"ann": "pw"}, Faults: faults(t, c.fault)}, v4+":25")
			time.AfterFunc(time.Second, func() {
				n.setWay(v4, c.way)
				n.up.Roam("next")
			})
			res := n.deliver(mail(letter, "b@example.com"))
			if got := fmt.Sprint(brief(res.Rcpts[0]), " ", res.Took.Truncate(time.Second), " ", errors.Is(res.Stopped, ErrRoamed)); got != c.want {
				t.Errorf("%s by %q: got %s, want %s: %v", c.fault, c.way, got, c.want, res.Rcpts[0])
			}
		})
	}
}

// TestRoamAndIdle: a kept session is closed when its way is another one, without
// a word, and teaches nothing about the peer; else it stays.
func TestRoamAndIdle(t *testing.T) {
	for way, want := range map[string]int{"home": 1, "café": 2, "": 2} {
		inInternet(t, Options{Endpoints: inClear("25")}, func(n *internet) {
			n.setName(host, name{addrs: []string{v4}})
			s := n.serve(sink.Options{}, v4+":25")
			n.want(n.deliver(mail(letter, "b@example.com")), "dot 250")
			time.Sleep(10 * time.Second)
			n.setWay(v4, way)
			n.up.Roam("next")
			if n.kept() != 2-want {
				t.Errorf("way %q: %d kept", way, n.kept())
			}
			n.want(n.deliver(mail(letter, "b@example.com")), "dot 250")
			if s.Conns() != want || n.up.idle.limit != idleLimit {
				t.Errorf("way %q: %d connections, kept for %v", way, s.Conns(), n.up.idle.limit)
			}
		})
	}
}

// TestWayIsLearntLate: a watcher that had not seen the address yet when the
// connection was made is no reason to cut it, now or when it has.
func TestWayIsLearntLate(t *testing.T) {
	inInternet(t, Options{Endpoints: inClear("25")}, func(n *internet) {
		n.setName(host, name{addrs: []string{v4}})
		n.serve(sink.Options{}, v4+":25")
		n.setWay(v4, "")
		n.want(n.deliver(mail(letter, "b@example.com")), "dot 250")
		for _, c := range []struct {
			way  string
			kept int
		}{{"", 1}, {"home", 1}, {"home", 1}, {"café", 0}} {
			n.setWay(v4, c.way)
			n.up.Roam("next")
			if n.kept() != c.kept {
				t.Errorf("%q: %d kept", c.way, n.kept())
			}
		}
	})
}

// TestRoamInARace: who has found a way goes on; the others are cut, and nobody
// else is started. If that one fails too, nobody is blamed.
func TestRoamInARace(t *testing.T) {
	for fault, want := range map[string]string{"greeting%1=delay 5s": "dot 250 5s", "greeting%1=delay 5s; close": "greeting error 5s"} {
		inInternet(t, Options{Endpoints: inClear("587", "465", "25")}, func(n *internet) {
			n.setName(host, name{addrs: []string{v4}})
			n.serve(sink.Options{Faults: faults(t, fault)}, v4+":587")
			n.hole(v4+":465", v4+":25")
			time.AfterFunc(1050*time.Millisecond, func() { n.up.Roam("next") }) // 465 is being tried, 25 is not yet
			res := n.deliver(mail(letter, "b@example.com"))
			if got := fmt.Sprint(brief(res.Rcpts[0]), " ", res.Took.Truncate(time.Second)); got != want || n.net.Dials() != 2 {
				t.Errorf("got %s after %d dials, want %s", got, n.net.Dials(), want)
			}
			if errors.Is(res.Stopped, ErrRoamed) != (want != "dot 250 5s") {
				t.Errorf("stopped by %v", res.Stopped)
			}
			if n.up.roster.here().winner != (winner{}) {
				t.Error("what was learnt in one network is taken for the next")
			}
		})
	}
}

// TestRoamEndsProbes: what has no way yet ends at once, whoever asked for it.
func TestRoamEndsProbes(t *testing.T) {
	examine := func(u *Upstream, ctx context.Context) (err error) {
		u.Examine(ctx, false, func(f Finding) { err = f.Err })
		return err
	}
	warm := func(u *Upstream, ctx context.Context) error { return u.Warm(ctx, false) }
	for what, ask := range map[string]func(*Upstream, context.Context) error{
		"probe": (*Upstream).Probe, "warm": warm, "login": (*Upstream).Login, "examine": examine,
	} {
		inInternet(t, Options{Endpoints: inClear("25")}, func(n *internet) {
			n.setName(host, name{addrs: []string{v4}})
			n.hole(v4 + ":25")
			begin := time.Now()
			time.AfterFunc(time.Second, func() { n.up.Roam("next") })
			err := ask(n.up, n.t.Context())
			if _, ok := errors.AsType[*Error](err); !ok || !errors.Is(err, ErrRoamed) || time.Since(begin) != time.Second {
				t.Errorf("%s: %v after %v", what, err, time.Since(begin))
			}
		})
	}
}

// TestRoamAtConnect: a change that falls between the connect and the look at its
// way leaves nothing behind.
func TestRoamAtConnect(t *testing.T) {
	inInternet(t, Options{Endpoints: inClear("25")}, func(n *internet) {
		n.setName(host, name{addrs: []string{v4}})
		n.serve(sink.Options{Faults: faults(t, "greeting=hang")}, v4+":25")
		n.up.opts.Dial = func(ctx context.Context, network, addr string) (net.Conn, error) {
			c, err := n.net.Dial(ctx, network, addr)
			n.up.Roam("next")
			return c, err
		}
		res := n.deliver(mail(letter, "b@example.com"))
		synctest.Wait()
		if !errors.Is(res.Stopped, ErrRoamed) || res.Took != 0 || n.seats() != 0 {
			t.Errorf("stopped by %v after %v, %d left", res.Stopped, res.Took, n.seats())
		}
	})
}

// TestNoneEscapes: whatever a change of the network falls together with, every
// session is then on the way of now, or is cut.
func TestNoneEscapes(t *testing.T) {
	inInternet(t, Options{Endpoints: inClear("587", "465")}, func(n *internet) {
		n.setName(host, name{addrs: []string{v6, v4}})
		n.serve(sink.Options{Faults: faults(t, "ehlo=delay 1ms", "mail=delay 1ms", "dot=delay 1ms")}, v4+":465", v4+":587")
		n.hole(v6At+":465", v6At+":587")
		var all sync.WaitGroup
		for range 4 {
			all.Go(func() {
				for range 40 {
					if r := n.deliver(mail(letter, "b@example.com")); !r.Rcpts[0].Accepted() && !errors.Is(r.Stopped, ErrRoamed) {
						t.Errorf("got %v", r.Rcpts[0])
					}
				}
			})
		}
		all.Go(func() {
			for i := range 60 {
				way := fmt.Sprint(i)
				n.setWay(v4, way)
				n.up.Roam(way)
				n.up.roster.mu.Lock()
				for s := range n.up.roster.seats {
					// A change between setWay and Roam may have been seen already.
					if !s.lost && s.phase != dialling && s.way != way {
						t.Errorf("phase %d goes by %s, not %s", s.phase, s.way, way)
					}
				}
				n.up.roster.mu.Unlock()
				time.Sleep(3 * time.Millisecond)
			}
		})
		all.Wait()
	})
}

// TestTwoChanges: an AUTH whose way became another one and is gone with the next
// change is cut by that.
func TestTwoChanges(t *testing.T) {
	e := inClear("25")
	e[0].Mode = Implicit
	id := identity(t, host)
	e[0].Roots = id.Roots
	inInternet(t, Options{Endpoints: e, Username: "ann", Password: password("pw")}, func(n *internet) {
		n.setName(host, name{addrs: []string{v4}})
		n.serve(sink.Options{TLS: id.Server, Implicit: true, Users: map[string]string{"ann": "pw"}, Faults: faults(t, "auth=delay 10s")}, v4+":25")
		for i, way := range []string{"café", ""} {
			time.AfterFunc(time.Duration(i+1)*time.Second, func() {
				n.setWay(v4, way)
				n.up.Roam("next")
			})
		}
		res := n.deliver(mail(letter, "b@example.com"))
		if got := fmt.Sprint(brief(res.Rcpts[0]), " ", res.Took.Truncate(time.Second), " ", errors.Is(res.Stopped, ErrRoamed)); got != "auth error 2s true" {
			t.Errorf("got %s", got)
		}
	})
}
