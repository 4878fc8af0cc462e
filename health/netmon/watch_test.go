package netmon

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// machine is an operating system in a bubble.
type machine struct {
	t        *testing.T
	w        *Watcher
	resolver string
	events   chan event

	mu      sync.Mutex
	is      Snapshot
	err     error
	looks   []time.Duration // since the start
	asleep  time.Duration
	deaf    bool // no events can be had
	follows int

	start time.Time
	told  []telling
	pause time.Duration // tell takes that long
}

type telling struct {
	at time.Duration
	Delta
}

// watch runs a Watcher on a machine whose network is text, until the bubble's
// function is done.
func watch(t *testing.T, text string, script func(m *machine)) {
	synctest.Test(t, func(t *testing.T) {
		m := &machine{t: t, resolver: filepath.Join(t.TempDir(), "resolv.conf"), events: make(chan event), start: time.Now()}
		m.set(text)
		m.w = newWatcher(Options{Resolver: m.resolver}, system{
			look: func() ([]Interface, []Route, error) {
				m.mu.Lock()
				defer m.mu.Unlock()
				m.looks = append(m.looks, time.Since(m.start))
				var ifs []Interface
				for _, i := range m.is.Interfaces {
					i.Addrs = slices.Clone(i.Addrs)
					ifs = append(ifs, i)
				}
				return ifs, slices.Clone(m.is.Routes), m.err
			},
			follow: func() (<-chan event, func(), error) {
				m.mu.Lock()
				defer m.mu.Unlock()
				m.follows++
				if m.deaf {
					return nil, nil, errors.New("not permitted")
				}
				return m.events, func() {}, nil
			},
			clock: func() reading {
				m.mu.Lock()
				defer m.mu.Unlock()
				mono := time.Since(m.start)
				return reading{boot: mono + m.asleep, mono: mono}
			},
		})
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error)
		go func() {
			ended <- m.w.Run(ctx, func(d Delta) {
				m.mu.Lock()
				m.told = append(m.told, telling{time.Since(m.start), d})
				pause := m.pause
				m.mu.Unlock()
				time.Sleep(pause)
			})
		}()
		synctest.Wait()
		m.do(func() { m.looks = nil })
		script(m)
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
}

// set changes the network without a word.
func (m *machine) set(text string) {
	m.t.Helper()
	s := network(text)
	m.mu.Lock()
	defer m.mu.Unlock()
	m.is = s
	m.write(s.Resolver)
}

func (m *machine) write(resolver string) {
	m.t.Helper()
	if err := os.WriteFile(m.resolver, []byte(resolver+"\n"), 0o600); err != nil {
		m.t.Fatal(err)
	}
}

func (m *machine) do(change func()) {
	m.mu.Lock()
	defer m.mu.Unlock()
	change()
}

// change sets the network, and says so.
func (m *machine) change(text, lost string) {
	m.t.Helper()
	m.set(text)
	m.events <- event{lost: lost}
}

func (m *machine) wait(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

// tells checks what was told since the last call, one line each: when, major,
// first reason.
func (m *machine) tells(want ...string) {
	m.t.Helper()
	m.mu.Lock()
	defer m.mu.Unlock()
	var got []string
	for _, d := range m.told {
		size := "minor"
		if d.Major {
			size = "major"
		}
		got = append(got, d.at.String()+" "+size+" "+d.Why[0])
	}
	m.told = nil
	if !slices.Equal(got, want) {
		m.t.Errorf("told\n\t%s\nshould be\n\t%s", strings.Join(got, "\n\t"), strings.Join(want, "\n\t"))
	}
}

func TestWatchTellsSoon(t *testing.T) {
	watch(t, home, func(m *machine) {
		m.wait(time.Second)
		m.change(cafe, "")
		m.wait(time.Second)
		m.tells("1.05s major the default route is via 192.168.7.1 on wlan0, no longer via 192.168.1.1 on eth0")
		if _, ok := m.w.Snapshot().find("wlan0"); !ok {
			t.Error("the snapshot is old")
		}
	})
}

func TestWatchIsQuietWithoutChange(t *testing.T) {
	watch(t, home, func(m *machine) {
		for range 20 {
			m.events <- event{}
			m.wait(7 * time.Second)
		}
		m.tells()
	})
}

// A burst is looked at soon after it began, and then every 100 ms: the network
// may be complete long before the noise is over.
func TestWatchBurst(t *testing.T) {
	watch(t, "", func(m *machine) {
		m.wait(time.Second)
		for i := range 100 {
			if i == 60 {
				m.set(home)
			}
			m.events <- event{}
			m.wait(5 * time.Millisecond)
		}
		m.wait(200 * time.Millisecond)
		want := []time.Duration{1050, 1150, 1250, 1350, 1450, 1550}
		if len(m.looks) != len(want) {
			t.Fatalf("looked at %v", m.looks)
		}
		for i, at := range m.looks {
			if at != want[i]*time.Millisecond {
				t.Errorf("looked at %v", m.looks)
			}
		}
		m.tells("1.35s major there is a network")
	})
}

// The same address on another network: two looks see the same, the events know
// better. Without what they say nothing would be told, as the control shows.
func TestWatchCountsLives(t *testing.T) {
	for _, lost := range []string{"eth0", ""} {
		watch(t, home, func(m *machine) {
			m.wait(time.Second)
			m.change("", lost)
			m.change(home, "")
			m.wait(time.Second)
			if lost == "" {
				m.tells()
				return
			}
			m.tells("1.05s major eth0 was cut off for a moment")
			if i, _ := m.w.Snapshot().find("eth0"); i.Lives != 1 {
				t.Errorf("eth0 is in its life %d", i.Lives)
			}
		})
	}
}

// Lives outlast the interface, and need no event where a look sees the loss.
func TestWatchCountsLivesByLooking(t *testing.T) {
	watch(t, home, func(m *machine) {
		m.do(func() { m.deaf = true })
		close(m.events)
		m.wait(time.Second)
		for range 3 {
			m.set("")
			m.wait(10 * time.Second)
			m.set(home)
			m.wait(10 * time.Second)
		}
		if i, _ := m.w.Snapshot().find("eth0"); i.Lives != 3 {
			t.Errorf("eth0 is in its life %d", i.Lives)
		}
	})
}

// While tell takes its time the network goes on: the next telling is of all
// that happened since.
func TestWatchSlowListener(t *testing.T) {
	watch(t, home, func(m *machine) {
		m.do(func() { m.pause = 10 * time.Second })
		m.wait(time.Second)
		m.change(cafe, "")
		m.wait(time.Second) // tell is under way now
		m.change("", "wlan0")
		m.wait(time.Second)
		m.change("nameserver 9.9.9.9", "")
		m.wait(time.Second)
		m.change(home, "")
		m.wait(time.Minute)
		m.tells(
			"1.05s major the default route is via 192.168.7.1 on wlan0, no longer via 192.168.1.1 on eth0",
			"11.05s major the default route is via 192.168.1.1 on eth0, no longer via 192.168.7.1 on wlan0",
		)
	})
}

// There and back again while tell takes its time is told for the life that was
// lost meanwhile.
func TestWatchSlowListenerAndBack(t *testing.T) {
	watch(t, home, func(m *machine) {
		m.do(func() { m.pause = 10 * time.Second })
		m.wait(time.Second)
		m.change(cafe, "eth0")
		m.wait(time.Second)
		m.change(home, "wlan0")
		m.wait(time.Second)
		m.change(cafe, "eth0")
		m.wait(time.Minute)
		m.tells(
			"1.05s major the default route is via 192.168.7.1 on wlan0, no longer via 192.168.1.1 on eth0",
			"11.05s major wlan0 was cut off for a moment",
		)
	})
}

func TestWatchSleep(t *testing.T) {
	watch(t, home, func(m *machine) {
		m.wait(time.Second)
		m.do(func() { m.asleep += 3 * time.Hour })
		m.wait(10 * time.Second)
		m.tells("5s major slept for 3 h")
		m.do(func() { m.asleep += 12 * time.Second })
		m.wait(10 * time.Second)
		m.tells("15s minor slept for 12 s")
		m.do(func() { m.asleep += time.Minute })
		m.wait(time.Second)
		m.change(cafe, "") // comes before the clocks are compared
		m.wait(10 * time.Second)
		m.tells("22.05s major slept for 60 s")
	})
}

// Naps that nobody could be told of add up.
func TestWatchSleepAddsUp(t *testing.T) {
	watch(t, home, func(m *machine) {
		m.do(func() { m.pause = 25 * time.Second })
		m.wait(time.Second)
		m.change(cafe, "")
		m.wait(time.Second)
		for range 3 {
			m.do(func() { m.asleep += 12 * time.Second })
			m.wait(5 * time.Second)
		}
		m.wait(time.Minute)
		m.tells(
			"1.05s major the default route is via 192.168.7.1 on wlan0, no longer via 192.168.1.1 on eth0",
			"26.05s major slept for 36 s",
		)
	})
}

// The resolver file is written after the routes are there, without an event.
func TestWatchResolver(t *testing.T) {
	watch(t, home, func(m *machine) {
		m.wait(21 * time.Second)
		m.change(strings.ReplaceAll(home, ".20/", ".21/"), "")
		m.wait(12 * time.Second)
		m.write("nameserver 192.168.1.254")
		m.wait(150 * time.Millisecond)
		m.tells(
			"21.05s major eth0 has the address 192.168.1.21/24 now, no longer 192.168.1.20/24",
			"33.05s major the name server is 192.168.1.254, no longer 192.168.1.1",
		)
		// Long after any change only the poll sees it.
		m.wait(time.Until(m.start.Add(91 * time.Second)))
		m.write("# away\nnameserver 192.168.1.1 # again")
		m.wait(8 * time.Second)
		m.tells()
		m.wait(2 * time.Second)
		m.tells("1m40s major the name server is 192.168.1.1, no longer 192.168.1.254")
	})
}

// A file that is away for a moment, or for good.
func TestWatchResolverGone(t *testing.T) {
	watch(t, home, func(m *machine) {
		if err := os.Remove(m.resolver); err != nil {
			t.Fatal(err)
		}
		m.wait(10 * time.Second)
		m.tells("10s major there is no name server any more")
	})
}

// Without events it polls, and asks for events again.
func TestWatchWithoutEvents(t *testing.T) {
	watch(t, home, func(m *machine) {
		m.do(func() { m.deaf = true })
		close(m.events)
		m.wait(time.Second)
		m.set(cafe)
		m.wait(10 * time.Second)
		m.tells("10s major the default route is via 192.168.7.1 on wlan0, no longer via 192.168.1.1 on eth0")
		m.do(func() { m.deaf, m.events = false, make(chan event) })
		m.wait(10 * time.Second)
		m.change(home, "")
		m.wait(time.Second)
		m.tells("21.05s major the default route is via 192.168.1.1 on eth0, no longer via 192.168.7.1 on wlan0")
	})
}

// Events that were lost may have said anything: it subscribes anew and looks.
func TestWatchOverrun(t *testing.T) {
	watch(t, home, func(m *machine) {
		m.wait(time.Second)
		old := m.events
		m.do(func() { m.events = make(chan event) })
		m.set(cafe)
		close(old)
		m.wait(time.Second)
		m.tells("1.05s major the default route is via 192.168.7.1 on wlan0, no longer via 192.168.1.1 on eth0")
		m.change(home, "")
		m.wait(time.Second)
		m.tells("2.05s major the default route is via 192.168.1.1 on eth0, no longer via 192.168.7.1 on wlan0")
		if m.follows != 2 {
			t.Errorf("subscribed %d times", m.follows)
		}
	})
}

// A look that fails is no loss of the network.
func TestWatchLookFails(t *testing.T) {
	watch(t, home, func(m *machine) {
		m.do(func() { m.err = errors.New("too many open files") })
		m.wait(time.Second)
		m.change(cafe, "eth0")
		m.wait(time.Second)
		m.tells()
		m.do(func() { m.err = nil })
		m.wait(10 * time.Second)
		m.tells("10s major the default route is via 192.168.7.1 on wlan0, no longer via 192.168.1.1 on eth0")
	})
}

func TestWatchEndsAfterTell(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start, told := time.Now(), 0
		w := newWatcher(Options{Resolver: filepath.Join(t.TempDir(), "none")}, system{
			look: func() ([]Interface, []Route, error) {
				if time.Since(start) > time.Second {
					return nil, nil, nil
				}
				s := network("eth0 10.0.0.1/24")
				return s.Interfaces, s.Routes, nil
			},
			clock: func() reading { return reading{} },
		})
		ctx, cancel := context.WithTimeout(t.Context(), 12*time.Second)
		defer cancel()
		if err := w.Run(ctx, func(Delta) { told++; time.Sleep(5 * time.Second) }); err != nil {
			t.Error(err)
		}
		if took := time.Since(start); took != 15*time.Second || told != 1 {
			t.Errorf("told %d times, ended after %v", told, took)
		}
	})
}

// Names that come and go without ever having an address are forgotten.
func TestWatchForgetsContainers(t *testing.T) {
	watch(t, home, func(m *machine) {
		l := newLoop(m.w, make(chan struct{}, 1))
		for i := range 100 {
			l.lost[fmt.Sprint("veth", i)] = true
			l.look()
		}
		l.lost["eth0"] = true
		l.look()
		if len(l.lives) != 1 || l.lives["eth0"] != 1 {
			t.Errorf("%d are remembered", len(l.lives))
		}
	})
}
