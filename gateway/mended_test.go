package gateway

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"mailroam/gateway/sink"
	"mailroam/health"
)

func TestMended(t *testing.T) {
	l := newLogins()
	told := "old"
	read := l.noted("work", func(context.Context) (string, error) { return told, nil })
	login := func() {
		if s, err := read(t.Context()); s != told || err != nil {
			t.Fatal(s, err)
		}
	}
	for i, c := range []struct {
		login bool
		file  string
		want  bool
	}{
		{true, "old", false},
		{false, "old", false},
		{false, "ne", false}, // half written
		{false, "new", false},
		{false, "new", true},
		{false, "new", false}, // once
		{true, "new", false},
		{false, "old", false},
		{false, "old", true}, // the provider took the old one back
	} {
		if told = c.file; c.login {
			login()
		}
		if got := l.mended("work", c.file); got != c.want {
			t.Errorf("look %d at %q: %v", i, c.file, got)
		}
	}
	// What was refused before this process began is not known: what the file
	// holds at the first look is taken for it.
	var got []bool
	for _, file := range []string{"x", "x", "y", "y"} {
		got = append(got, l.mended("home", file))
	}
	if want := []bool{false, false, false, true}; !slices.Equal(got, want) {
		t.Errorf("without a login %v, want %v", got, want)
	}
	failing := l.noted("spare", func(context.Context) (string, error) { return "", errors.New("locked") })
	if _, err := failing(t.Context()); err == nil || l.mended("spare", "x") {
		t.Error("a secret that could not be read was told to nobody")
	}
	if l.noted("none", nil) != nil {
		t.Error("who needs no password is asked for one")
	}
}

// A password file that is mended is used without SIGHUP, and no sooner: the
// wrong one is told once.
func TestMendedPasswordFile(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	took := make(chan string, 10)
	s := sink.New(sink.Options{Users: map[string]string{"ann": "right"}, OnMessage: func(sink.Message) { took <- "work" }})
	over := make(chan error, 1)
	ctx, cancel := context.WithCancel(context.Background())
	go func() { over <- s.Serve(ctx, listener) }()
	t.Cleanup(func() { cancel(); <-over })

	dir := t.TempDir()
	file := filepath.Join(dir, "work.pw")
	write := func(password string) {
		if err := os.WriteFile(file, []byte(password+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("wrong")
	cfg := parsed(t, dir, "work", listener.Addr().String())
	u := &cfg.Upstreams[0]
	u.Auth, u.Username, u.Secret = "auto", "ann", Secret{source: fromFile, value: file}
	g, _ := running(t, cfg)
	submit(t, g)
	kind := func() health.Kind { return g.health.Status()[0].Kind }
	for deadline := time.Now().Add(time.Minute); kind() != health.Account; time.Sleep(5 * time.Millisecond) { // nothing tells of it
		if time.Now().After(deadline) {
			t.Fatalf("%+v", g.health.Status())
		}
	}
	g.lookAtSecrets(t.Context())
	g.lookAtSecrets(t.Context())
	if !strings.HasPrefix(g.health.Status()[0].State, health.Cooling) {
		t.Errorf("the same password is tried again: %+v", g.health.Status())
	}
	write("right")
	g.lookAtSecrets(t.Context())
	g.lookAtSecrets(t.Context())
	wantNext(t, took, "work")
}
