package gateway

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"mailroam/gateway/admin"
	"mailroam/gateway/sink"
	"mailroam/health/netmon"
)

// Mail that leaves by the second choice is told, and so is the way back.
func TestSecondChoiceIsTold(t *testing.T) {
	type told struct {
		Event, Upstream, Text string
		Ended                 bool
	}
	heard := make(chan told, 10)
	hook := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		var e told
		if err := json.NewDecoder(r.Body).Decode(&e); err != nil {
			t.Error(err)
		}
		heard <- e
	}))
	defer hook.Close()
	took := make(chan string, 10)
	dir := t.TempDir()
	config := func(first string) *Config {
		cfg := parsed(t, dir, "a", first, "b", practice(t, took, "b"))
		cfg.Alert.Webhook = Secret{source: fromConfig, value: hook.URL}
		return cfg
	}
	g, _ := running(t, config("127.0.0.1:1"))
	want := func(event, text string, ended bool) {
		t.Helper()
		select {
		case e := <-heard:
			if e.Event != event || e.Upstream != "a" || e.Ended != ended || !strings.Contains(e.Text, text) {
				t.Errorf("told %+v, want %s with %q", e, event, text)
			}
		case <-time.After(time.Minute):
			t.Fatalf("%s was not told", event)
		}
	}
	submit(t, g)
	wantNext(t, took, "b")
	want("second-choice", `Running on choice 2, "b": "a" is `, false)
	// Mail that went by "b" is what makes it news at once, however late it is told
	// here. It is noted after "b" has answered, and nothing tells of that.
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(5 * time.Millisecond) {
		if v, err := g.view(t.Context()); err == nil && !v.Passed["a"].IsZero() {
			break
		} else if time.Now().After(deadline) {
			t.Fatalf("that mail passed by \"a\" is not seen: %+v, %v", v.Passed, err)
		}
	}
	status, err := admin.NewClient(admin.SocketPath(dir)).Status(t.Context())
	if err != nil || len(status.Advice) != 1 || !strings.HasPrefix(status.Advice[0], `Running on choice 2, "b": "a" is `) {
		t.Errorf("advice %q, %v", status.Advice, err)
	}
	g.Reload(config(practice(t, took, "a")))
	want("first-choice", `mail goes by "a" again`, true)
}

// A change of the network is counted and logged once, and mail goes on.
func TestRoamed(t *testing.T) {
	took := make(chan string, 10)
	dir := t.TempDir()
	cfg := parsed(t, dir, "a", practice(t, took, "a"))
	g, _ := running(t, cfg)
	submit(t, g)
	wantNext(t, took, "a")
	c := admin.NewClient(filepath.Join(dir, "control.sock"))
	before, err := c.Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	g.roamed(netmon.Delta{Major: true, New: g.watcher.Snapshot(), Why: []string{"the default route is another one"}})
	submit(t, g)
	wantNext(t, took, "a")
	after, err := c.Status(t.Context())
	if err != nil || after.Network.Generation <= before.Network.Generation || after.Network.State == "" || after.Upstreams[0].Endpoint != before.Upstreams[0].Endpoint {
		t.Errorf("before %+v, after %+v, %v", before.Network, after.Network, err)
	}
}

func TestTargets(t *testing.T) {
	text := "[[upstream]]\nname = \"a\"\nurls = [\"smtps://Mail.Example.com\", \"smtp://mail.example.com.\", \"smtps://192.0.2.1\"]\n"
	for name, url := range map[string]string{"open": "smtp+insecure://192.168.1.1", "here": "smtp+insecure://localhost:2600"} {
		text += fmt.Sprintf("[[upstream]]\nname = %q\nurls = [%q]\n", name, url)
	}
	cfg := parseGood(t, text)
	for _, target := range targets(cfg, connect(cfg, nil, place{network: func() string { return "" }}, newLogins(), slog.New(slog.DiscardHandler))) {
		want := map[string]string{"a": "[mail.example.com 192.0.2.1] false", "open": "[192.168.1.1] true", "here": "[localhost] false"}[target.Name]
		if got := fmt.Sprint(target.Hosts, target.Unproven); got != want {
			t.Errorf("%s: %s, want %s", target.Name, got, want)
		}
	}
}

// After sleep a kept connection is not trusted, however short it was idle by
// the clock that slept as well; a mere bridge ends none.
func TestSleepEndsKeptConnections(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	conns := make(chan int, 10)
	s := sink.New(sink.Options{OnMessage: func(m sink.Message) { conns <- m.Conn }})
	over := make(chan error, 1)
	ctx, cancel := context.WithCancel(context.Background())
	go func() { over <- s.Serve(ctx, l) }()
	t.Cleanup(func() { cancel(); <-over })
	g, _ := running(t, parsed(t, t.TempDir(), "a", l.Addr().String()))
	done := 0
	send := func() (conn int) {
		submit(t, g)
		conn = <-conns
		// The result is written after the session was put aside. Nothing tells
		// of that, so it is looked for.
		for done++; ; time.Sleep(time.Millisecond) {
			if s, err := g.store.Stats(t.Context()); err != nil || s.Done == done {
				return conn
			}
		}
	}
	for _, d := range []netmon.Delta{{}, {Slept: 20 * time.Second}} {
		before := send()
		d.New = g.watcher.Snapshot()
		g.roamed(d)
		if after := send(); (after == before) != (d.Slept == 0) {
			t.Errorf("slept %v: connection %d, then %d", d.Slept, before, after)
		}
	}
}
