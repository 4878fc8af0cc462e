package netmon

import (
	"context"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// inside is set in a test process that has a network of its own.
const inside = "NETMON_TEST_INSIDE"

// apart says that the test runs in network and mount namespaces of its own.
// Otherwise it runs the test once more in a process that has them, reports how
// that went, and says no. They end with the process.
func apart(t *testing.T) bool {
	t.Helper()
	if os.Getenv(inside) != "" {
		return true
	}
	if os.Geteuid() != 0 {
		t.Skip("only root can make a network namespace")
	}
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v", "-test.count=1")
	cmd.Env = append(os.Environ(), inside+"=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET | syscall.CLONE_NEWNS, Pdeathsig: syscall.SIGKILL}
	out, err := cmd.CombinedOutput()
	switch {
	case len(out) == 0 && err != nil:
		t.Skipf("no network namespace can be made here: %v", err)
	case err != nil:
		t.Errorf("in a network namespace: %v\n%s", err, out)
	default:
		t.Logf("in a network namespace:\n%s", out)
	}
	return false
}

// must is for what the kernel is told to do.
func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// cable makes two connected interfaces, both up, and gives the near one.
func cable(t *testing.T, near, far string) netlink.Link {
	t.Helper()
	must(t, netlink.LinkAdd(&netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: near}, PeerName: far}))
	for _, name := range []string{far, near} {
		l, err := netlink.LinkByName(name)
		must(t, err)
		must(t, netlink.LinkSetUp(l))
	}
	l, err := netlink.LinkByName(near)
	must(t, err)
	return l
}

func address(t *testing.T, text string) *netlink.Addr {
	t.Helper()
	a, err := netlink.ParseAddr(text)
	must(t, err)
	if a.IP.To4() == nil {
		a.Flags = unix.IFA_F_NODAD
	}
	return a
}

func defaultVia(l netlink.Link, gw string, metric int) *netlink.Route {
	return &netlink.Route{LinkIndex: l.Attrs().Index, Gw: net.ParseIP(gw), Priority: metric, Family: netlink.FAMILY_V4}
}

// live is a Watcher of the real kernel.
type live struct {
	*Watcher
	t        *testing.T
	resolver string
	deltas   chan Delta
}

func listen(t *testing.T) *live {
	t.Helper()
	l := &live{t: t, resolver: t.TempDir() + "/resolv.conf", deltas: make(chan Delta, 100)}
	l.Watcher = New(Options{Poll: time.Hour, Resolver: l.resolver}) // no poll helps the events
	follow := l.sys.follow
	if follow == nil {
		t.Fatal("the kernel's events cannot be had")
	}
	l.sys.clock = func() reading { return reading{} } // that this machine slept is not what the tests ask for
	var once sync.Once
	subscribed := make(chan struct{})
	l.sys.follow = func() (<-chan event, func(), error) {
		defer once.Do(func() { close(subscribed) })
		return follow()
	}
	ctx, cancel := context.WithCancel(t.Context())
	var run sync.WaitGroup
	run.Go(func() { _ = l.Run(ctx, func(d Delta) { l.deltas <- d }) })
	t.Cleanup(func() {
		cancel()
		run.Wait()
	})
	<-subscribed
	return l
}

// until collects what is told up to the first snapshot that is as wanted.
func (l *live) until(what string, wanted func(Snapshot) bool) (told []Delta) {
	l.t.Helper()
	start := time.Now()
	timeout := time.After(30 * time.Second)
	for {
		select {
		case d := <-l.deltas:
			told = append(told, d)
			if wanted(d.New) {
				l.t.Logf("%s: told after %v: %q", what, time.Since(start).Round(time.Millisecond), why(told))
				return told
			}
		case <-timeout:
			l.t.Fatalf("%s: not told; told were %q; the network is %+v", what, why(told), l.Snapshot())
		}
	}
}

// soon wants a change to be told within a second, by the median of some rounds:
// one slow moment of the machine is not the watcher's.
func soon(t *testing.T, took []time.Duration) {
	t.Helper()
	slices.Sort(took)
	if took[len(took)/2] > time.Second {
		t.Errorf("told %v after it came", took)
	}
}

// mark makes a minor change and collects what is told up to it: what the kernel
// said before is told by then.
func (l *live) mark(name string) []Delta {
	l.t.Helper()
	must(l.t, netlink.AddrAdd(cable(l.t, name, name+"-far"), address(l.t, "172.31.0.1/24")))
	return l.until(name, func(s Snapshot) bool { _, ok := s.find(name); return ok })
}

func (l *live) lives(name string) int {
	i, _ := l.Snapshot().find(name)
	return i.Lives
}

func why(deltas []Delta) (all []string) {
	for _, d := range deltas {
		all = append(all, strings.Join(d.Why, "; "))
	}
	return all
}

func major(deltas []Delta) bool {
	for _, d := range deltas {
		if d.Major {
			return true
		}
	}
	return false
}

func has(addr string) func(Snapshot) bool {
	return func(s Snapshot) bool { return s.holds(netip.MustParseAddr(addr)) }
}

func hasDefault(s Snapshot) bool { return len(s.ways(false)) > 0 }
