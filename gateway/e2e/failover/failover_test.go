//go:build linux

package failover

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/smtp"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"mailroam/gateway/e2e/peers"
	"mailroam/gateway/sink"
)

// binary is the mailroam under test, built once.
var binary string

func TestMain(m *testing.M) { os.Exit(peers.WithMailroam(m, &binary)) }

// hedge is health.hedge as it is by default: what it costs a message, at least, to
// ask an upstream that is silent.
const hedge = 2 * time.Second

// scene is a gateway with two upstreams.
type scene struct {
	t       *testing.T
	gateway *peers.Mailroam
	addr    string
	names   []string
	sinks   []*sink.Server
	addrs   []string
	arrived chan arrival
	sent    int // by submit
}

type arrival struct {
	at   int // index of the upstream
	when time.Time
	id   string
}

// stage starts two upstreams and the gateway, and returns when the gateway
// knows that both are up.
func stage(t *testing.T) *scene {
	t.Helper()
	t.Parallel() // these tests wait more than they work
	s := &scene{t: t, names: []string{"first", "second"}, arrived: make(chan arrival, 1000)}
	var config strings.Builder
	port, err := peers.FreePort()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	s.addr = fmt.Sprintf("127.0.0.1:%d", port)
	fmt.Fprintf(&config, "hostname = \"gw.example.org\"\ndata_dir = %q\n[[listen]]\naddress = %q\n", filepath.Join(dir, "data"), s.addr)
	for i, name := range s.names {
		l, err := peers.Listen()
		if err != nil {
			t.Fatal(err)
		}
		srv := sink.New(sink.Options{Name: name, OnMessage: func(m sink.Message) {
			subject, _, _ := strings.Cut(string(m.Body[strings.Index(string(m.Body), "Subject: ")+9:]), "\r\n")
			s.arrived <- arrival{i, time.Now(), subject}
		}})
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan error, 1)
		go func() { done <- srv.Serve(ctx, l) }()
		t.Cleanup(func() { cancel(); <-done })
		s.sinks, s.addrs = append(s.sinks, srv), append(s.addrs, l.Addr().String())
		fmt.Fprintf(&config, "[[upstream]]\nname = %q\nurls = [\"smtp+insecure://%s\"]\n", name, l.Addr())
	}
	if s.gateway, err = peers.StartMailroam(t.Context(), binary, dir, s.addr, config.String()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.gateway.Close(); err != nil {
			t.Error(err)
		}
		if t.Failed() {
			t.Log(s.gateway.Log())
		}
	})
	s.waitLog("upstream=first state=up", 1)
	s.waitLog("upstream=second state=up", 1)
	return s
}

// waitLog polls the log of the other process for the n-th line with part.
func (s *scene) waitLog(part string, n int) {
	s.t.Helper()
	for deadline := time.Now().Add(30 * time.Second); strings.Count(s.gateway.Log(), part) < n; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			s.t.Fatalf("the log does not say %q %d times", part, n)
		}
	}
}

func (s *scene) submit(subject string) (accepted time.Time) {
	s.t.Helper()
	body := fmt.Sprintf("Subject: %s\r\n\r\nhello\r\n", subject)
	if err := smtp.SendMail(s.addr, nil, "ann@example.com", []string{"bob@example.net"}, []byte(body)); err != nil {
		s.t.Fatal(err)
	}
	s.sent++
	return time.Now()
}

// settled waits until the gateway has written down that all was delivered: who
// cuts an upstream before loses the answer to what has just arrived.
func (s *scene) settled() {
	s.t.Helper()
	s.waitLog("msg=delivered ", s.sent)
}

// median of an odd number of times: one moment in which this machine stood still
// is no fault of the gateway's.
func median(all []time.Duration) time.Duration {
	slices.Sort(all)
	return all[len(all)/2]
}

func (s *scene) next(within time.Duration) arrival {
	s.t.Helper()
	select {
	case a := <-s.arrived:
		return a
	case <-time.After(within):
		s.t.Fatalf("no mail arrived within %v", within)
		return arrival{}
	}
}

func TestFirstRefuses(t *testing.T) {
	s := stage(t)
	var waits []time.Duration
	for n := range 3 {
		s.sinks[0].Cut()
		at := s.submit(fmt.Sprint("refused ", n))
		a := s.next(30 * time.Second)
		if a.at != 1 {
			t.Fatalf("%q was at the %s, which is dead", a.id, s.names[a.at])
		}
		waits = append(waits, a.when.Sub(at))
		if err := s.sinks[0].Restore(); err != nil {
			t.Fatal(err)
		}
		for deadline := time.Now().Add(time.Minute); a.at != 0; time.Sleep(100 * time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatal("the first is back, and gets no mail")
			}
			s.submit("is it back")
			a = s.next(30 * time.Second)
		}
		s.settled()
	}
	t.Logf("at the second after %v", waits)
	if m := median(waits); m > time.Second {
		t.Errorf("messages were at the second after %v, want within 1 s", waits)
	}
}

// TestFirstIsSilent: it accepts connections and says nothing, and nobody has
// noticed yet.
func TestFirstIsSilent(t *testing.T) {
	s := stage(t)
	hang, err := sink.ParseFault("greeting=hang")
	if err != nil {
		t.Fatal(err)
	}
	s.sinks[0].SetFaults(hang)
	s.oneWait(t)
}

// TestFirstIsABlackHole: not even a SYN is answered.
func TestFirstIsABlackHole(t *testing.T) {
	s := stage(t)
	s.sinks[0].Cut()
	blackHole(t, s.addrs[0])
	s.oneWait(t)
}

// oneWait: the discovery costs one wait, the next 200 messages cost nothing.
func (s *scene) oneWait(t *testing.T) {
	at := s.submit("discovers")
	a := s.next(60 * time.Second)
	t.Logf("the first message is at the %s after %v", s.names[a.at], a.when.Sub(at).Round(time.Millisecond))
	if a.at != 1 || a.when.Sub(at) > 20*time.Second {
		t.Errorf("the first message was at the %s after %v, want the second within 20 s", s.names[a.at], a.when.Sub(at))
	}
	const batch = 200
	accepted := map[string]time.Time{}
	for n := range batch {
		id := fmt.Sprint("batch ", n)
		accepted[id] = s.submit(id)
	}
	var waited []time.Duration // each for itself: how fast mail is accepted is the disk's matter
	for range batch {
		a := s.next(60 * time.Second)
		if a.at != 1 {
			t.Errorf("%q went to the %s", a.id, s.names[a.at])
		}
		waited = append(waited, a.when.Sub(accepted[a.id]))
	}
	slices.Sort(waited)
	t.Logf("of %d more messages half waited %v at most, nine in ten %v, all %v", batch, waited[batch/2], waited[batch*9/10], waited[batch-1])
	if waited[batch*9/10] > hedge {
		t.Errorf("%d more messages waited %v: for the dead upstream, too", batch, waited)
	}
}

// TestReturnAfterBothWereGone: waiting mail leaves within two seconds of the
// return of one of them. A slow disk gets as long again as it took to accept it.
func TestReturnAfterBothWereGone(t *testing.T) {
	s := stage(t)
	s.sinks[0].Cut()
	var waits, late []time.Duration
	for n, outage := range []time.Duration{20 * time.Second, 10 * time.Second, 10 * time.Second} {
		s.sinks[1].Cut()
		began := time.Now()
		for m := range 20 {
			s.submit(fmt.Sprint("waits ", n, m))
		}
		accepting := time.Since(began)
		select {
		case a := <-s.arrived:
			t.Fatalf("%q arrived at a dead upstream", a.id)
		case <-time.After(outage):
		}
		if err := s.sinks[1].Restore(); err != nil {
			t.Fatal(err)
		}
		back := time.Now()
		var last arrival
		for range 20 {
			last = s.next(30 * time.Second)
		}
		wait := last.when.Sub(back)
		waits, late = append(waits, wait), append(late, wait-accepting)
		s.settled()
	}
	t.Logf("the last of 20 arrived %v after the return", waits)
	if median(late) > 2*time.Second {
		t.Errorf("waiting mail left %v after the return, want 2 s at most", waits)
	}
}

// blackHole listens on addr in a way that no further connection comes about: a
// listener with no backlog, which is full. The kernel then drops each SYN.
func blackHole(t *testing.T, addr string) {
	t.Helper()
	tcp, err := net.ResolveTCPAddr("tcp4", addr)
	if err != nil {
		t.Fatal(err)
	}
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { syscall.Close(fd) })
	if err := syscall.SetsockoptInt(fd, syscall.SOL_SOCKET, syscall.SO_REUSEADDR, 1); err != nil {
		t.Fatal(err)
	}
	// The listener that was just closed lives on in a child that a test beside
	// this one is starting, until it runs its own program.
	here := &syscall.SockaddrInet4{Port: tcp.Port, Addr: [4]byte(tcp.IP.To4())}
	deadline := time.Now().Add(30 * time.Second)
	for err = syscall.Bind(fd, here); errors.Is(err, syscall.EADDRINUSE) && time.Now().Before(deadline); err = syscall.Bind(fd, here) {
		time.Sleep(time.Millisecond)
	}
	if err = errors.Join(err, syscall.Listen(fd, 0)); err != nil {
		t.Fatal(err)
	}
	for range 10 {
		c, err := net.DialTimeout("tcp", addr, time.Second)
		if err != nil {
			return // full: this one was not answered
		}
		t.Cleanup(func() { c.Close() })
	}
	t.Skip("this kernel takes connections beyond the backlog, so there is no black hole without root")
}
