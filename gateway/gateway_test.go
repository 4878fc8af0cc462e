package gateway

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net"
	"net/smtp"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"mailroam/gateway/admin"
	"mailroam/gateway/sink"
	"mailroam/queue"
	"mailroam/queue/bolt"
)

// practice runs a sink on loopback and reports each message it takes.
func practice(t *testing.T, took chan<- string, name string) (addr string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	srv := sink.New(sink.Options{Name: name, OnMessage: func(sink.Message) { took <- name }})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- srv.Serve(ctx, l) }()
	t.Cleanup(func() { cancel(); <-done })
	return l.Addr().String()
}

// parsed is a configuration with the given upstreams, name and address in turn.
// On a busy machine the first choice may be slow: it is not passed over for that.
func parsed(t *testing.T, dir string, upstreams ...string) *Config {
	t.Helper()
	text := fmt.Sprintf("hostname = \"gw.example.org\"\ndata_dir = %q\n[[listen]]\naddress = \"127.0.0.1:0\"\n[health]\nhedge = \"off\"\n", dir)
	for i := 0; i < len(upstreams); i += 2 {
		text += fmt.Sprintf("[[upstream]]\nname = %q\nurls = [\"smtp+insecure://%s\"]\n", upstreams[i], upstreams[i+1])
	}
	cfg, err := Parse(filepath.Join(dir, "config.toml"), []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return cfg
}

// running starts a gateway and stops it at the end of the test.
func running(t *testing.T, cfg *Config) (g *Gateway, stop func() error) {
	t.Helper()
	g, err := New(cfg, "test", slog.New(slog.NewTextHandler(t.Output(), nil)))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- g.Run(ctx) }()
	var err2 error
	stopped := false
	stop = func() error {
		if !stopped {
			stopped = true
			cancel()
			err2 = <-done
		}
		return err2
	}
	t.Cleanup(func() {
		if err := stop(); err != nil {
			t.Error(err)
		}
	})
	select {
	case <-g.Ready():
	case <-time.After(time.Minute):
		t.Fatal("not ready after a minute")
	}
	return g, stop
}

func submit(t *testing.T, g *Gateway) {
	t.Helper()
	if err := smtp.SendMail(g.Addrs()[0].String(), nil, "ann@example.com", []string{"bob@example.net"}, []byte("Subject: x\r\n\r\nhello\r\n")); err != nil {
		t.Fatal(err)
	}
}

func wantNext(t *testing.T, took <-chan string, want string) {
	t.Helper()
	select {
	case got := <-took:
		if got != want {
			t.Errorf("%s took the message, want %s", got, want)
		}
	case <-time.After(time.Minute):
		t.Fatalf("no message reached %s", want)
	}
}

func TestReload(t *testing.T) {
	took := make(chan string, 10)
	a, b := practice(t, took, "a"), practice(t, took, "b")
	dir := t.TempDir()
	g, _ := running(t, parsed(t, dir, "a", a))
	submit(t, g)
	wantNext(t, took, "a")

	kept := g.upstreams["a"].relay
	g.Reload(parsed(t, dir, "b", b, "a", a))
	if g.upstreams["a"].relay != kept {
		t.Error("an upstream that did not change lost its client and its connections")
	}
	submit(t, g)
	wantNext(t, took, "b")

	g.Reload(parsed(t, dir, "a", b)) // the same name, another server
	if g.upstreams["a"].relay == kept {
		t.Error("an upstream that changed kept its old client")
	}
	submit(t, g)
	wantNext(t, took, "b")
}

// TestRestartKeepsMail: what waits survives an orderly stop.
func TestRestartKeepsMail(t *testing.T) {
	took := make(chan string, 10)
	dir := t.TempDir()
	cfg := parsed(t, dir, "gone", "127.0.0.1:1")
	g, stop := running(t, cfg)
	submit(t, g)
	began := time.Now()
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(began); took > 30*time.Second {
		t.Errorf("stopping took %v", took)
	}
	store, err := OpenQueue(cfg)
	if err != nil {
		t.Fatal(err)
	}
	stats, err := store.Stats(t.Context())
	if err != nil || stats.Queued != 1 || stats.InDoubt != 0 {
		t.Errorf("after the stop: %+v %v", stats, err)
	}
	if err := store.Close(); err != nil {
		t.Fatal(err)
	}
	running(t, parsed(t, dir, "a", practice(t, took, "a")))
	wantNext(t, took, "a")
}

// TestSickDisk: after three failures of the disk within ten minutes clients
// are turned away and status still answers.
func TestSickDisk(t *testing.T) {
	took := make(chan string, 10)
	dir := t.TempDir()
	cfg := parsed(t, dir, "a", practice(t, took, "a"))
	_, stop := running(t, cfg)
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	var times []bolt.Poisoning
	for range 3 {
		times = append(times, bolt.Poisoning{Time: time.Now(), Error: "input/output error"})
	}
	file, err := json.Marshal(map[string]any{"verified": false, "times": times})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "poisoned"), file, 0o600); err != nil {
		t.Fatal(err)
	}
	g, _ := running(t, cfg)
	err = smtp.SendMail(g.Addrs()[0].String(), nil, "ann@example.com", []string{"bob@example.net"}, []byte("\r\n"))
	if err == nil || !strings.HasPrefix(err.Error(), "421 ") {
		t.Errorf("a client hears %v, want a 421", err)
	}
	c := admin.NewClient(filepath.Join(dir, "control.sock"))
	if s, err := c.Status(t.Context()); err != nil || len(s.Upstreams) != 1 {
		t.Errorf("status: %+v %v", s, err)
	}
}

// TestSecondInstance: the queue has one owner, whose pid is named.
func TestSecondInstance(t *testing.T) {
	took := make(chan string, 10)
	dir := t.TempDir()
	cfg := parsed(t, dir, "a", practice(t, took, "a"))
	running(t, cfg)
	quickest := time.Hour
	for range 5 { // the machine may be busy with something else
		began := time.Now()
		_, err := New(cfg, "test", slog.New(slog.DiscardHandler))
		if err == nil || !strings.Contains(err.Error(), fmt.Sprint(os.Getpid())) {
			t.Fatalf("%v, want an error that names %d", err, os.Getpid())
		}
		if quickest = min(quickest, time.Since(began)); quickest <= time.Second {
			break
		}
	}
	if quickest > time.Second {
		t.Errorf("the refusal took %v", quickest)
	}
}

func TestRoom(t *testing.T) {
	free, known := int64(1<<30), true
	var log strings.Builder
	d := &door{log: slog.New(slog.NewTextHandler(&log, nil)), space: func() (int64, int64, bool) { return free, 1 << 30, known }}
	for _, step := range []struct {
		free   int64
		size   int64
		want   error
		alerts int
	}{
		{1 << 30, 1 << 20, nil, 0},
		{1 << 30, 1 << 60, queue.ErrFull, 0}, // only this one is too large
		{reserve, 0, nil, 0},
		{reserve - 1, 0, queue.ErrFull, 1},
		{0, 5, queue.ErrFull, 1}, // told once
		{reserve, 1, queue.ErrFull, 2},
		{1 << 30, 1, nil, 2},
	} {
		free = step.free
		if err := d.admit(step.size); err != step.want {
			t.Errorf("%d octets with %d free: %v, want %v", step.size, step.free, err, step.want)
		}
		if n := strings.Count(log.String(), "msg=alert"); n != step.alerts {
			t.Errorf("%d octets with %d free: %d alerts so far, want %d: %s", step.size, step.free, n, step.alerts, log.String())
		}
	}
	if free, known = 0, false; d.admit(1) != nil {
		t.Error("refused without knowing")
	}
}

// A disk that fills while the gateway runs is told at the door, which a client
// meets long before a write fails.
func TestFullDiskIsTold(t *testing.T) {
	var log strings.Builder
	g, err := New(parsed(t, t.TempDir(), "work", "127.0.0.1:1"), "test", slog.New(slog.NewTextHandler(&log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	defer g.store.Close()
	g.door.space = func() (int64, int64, bool) { return 0, 1 << 30, true }
	if err := g.msaOptions(Listen{}).Admit(1); err != queue.ErrFull || !strings.Contains(log.String(), fullDisk) || g.alert() != fullDisk {
		t.Errorf("%v, log %s", err, log.String())
	}
}
