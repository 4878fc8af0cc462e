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

// scene is a gateway with two upstreams.
type scene struct {
	t       *testing.T
	gateway *peers.Mailroam
	addr    string
	names   []string
	sinks   []*sink.Server
	addrs   []string
	arrived chan arrival
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
	return time.Now()
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
	s.sinks[0].Cut()
	at := s.submit("one")
	a := s.next(5 * time.Second)
	t.Logf("at the %s after %v", s.names[a.at], a.when.Sub(at))
	if a.at != 1 || a.when.Sub(at) > time.Second {
		t.Errorf("the message was at the %s after %v, want the second within 1 s", s.names[a.at], a.when.Sub(at))
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
	a := s.next(25 * time.Second)
	t.Logf("the first message is at the %s after %v", s.names[a.at], a.when.Sub(at).Round(time.Millisecond))
	if a.at != 1 || a.when.Sub(at) > 20*time.Second {
		t.Errorf("the first message was at the %s after %v, want the second within 20 s", s.names[a.at], a.when.Sub(at))
	}
	at = time.Now()
	for n := range 200 {
		s.submit(fmt.Sprint("batch ", n))
	}
	var last arrival
	for range 200 {
		if last = s.next(10 * time.Second); last.at != 1 {
			t.Errorf("%q went to the %s", last.id, s.names[last.at])
		}
	}
	t.Logf("200 more messages took %v", last.when.Sub(at).Round(time.Millisecond))
	if took := last.when.Sub(at); took > 10*time.Second {
		t.Errorf("200 more messages took %v: they waited for the dead upstream, too", took)
	}
}

// TestReturnAfterBothWereGone: waiting mail leaves within two seconds of the
// return of one of them.
func TestReturnAfterBothWereGone(t *testing.T) {
	s := stage(t)
	s.sinks[0].Cut()
	s.sinks[1].Cut()
	for n := range 20 {
		s.submit(fmt.Sprint("waits ", n))
	}
	select {
	case a := <-s.arrived:
		t.Fatalf("%q arrived at a dead upstream", a.id)
	case <-time.After(20 * time.Second): // the outage itself
	}
	if err := s.sinks[1].Restore(); err != nil {
		t.Fatal(err)
	}
	back := time.Now()
	var last arrival
	for range 20 {
		last = s.next(5 * time.Second)
	}
	t.Logf("the last of 20 arrived %v after the return", last.when.Sub(back).Round(time.Millisecond))
	if took := last.when.Sub(back); took > 2*time.Second {
		t.Errorf("waiting mail left %v after the return, want 2 s at most", took)
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
	deadline := time.Now().Add(5 * time.Second)
	for err = syscall.Bind(fd, here); errors.Is(err, syscall.EADDRINUSE) && time.Now().Before(deadline); err = syscall.Bind(fd, here) {
		time.Sleep(time.Millisecond)
	}
	if err = errors.Join(err, syscall.Listen(fd, 0)); err != nil {
		t.Fatal(err)
	}
	for range 10 {
		c, err := net.DialTimeout("tcp", addr, 300*time.Millisecond)
		if err != nil {
			return // full: this one was not answered
		}
		t.Cleanup(func() { c.Close() })
	}
	t.Skip("this kernel takes connections beyond the backlog, so there is no black hole without root")
}
