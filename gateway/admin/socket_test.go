package admin

import (
	"context"
	"errors"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestSocketIsOursAlone(t *testing.T) {
	path := SocketPath(t.TempDir())
	l, err := Listen(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 || info.Mode().Type() != fs.ModeSocket {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("after closing: %v", err)
	}
}

// stale leaves a socket behind as a killed process does.
func stale(t *testing.T, path string) {
	t.Helper()
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	l.(*net.UnixListener).SetUnlinkOnClose(false)
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestStaleSocketIsReplaced(t *testing.T) {
	path := SocketPath(t.TempDir())
	stale(t, path)
	if err := NewClient(path).Ping(t.Context()); !errors.Is(err, ErrNotRunning) {
		t.Errorf("ping of a stale socket: %v", err)
	}
	l, err := Listen(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if err := NewClient(path).Ping(t.Context()); err != nil {
		t.Error(err)
	}
	if _, err := Listen(t.Context(), path); !errors.Is(err, ErrAnswered) {
		t.Errorf("beside a living one: %v", err)
	}
	if err := NewClient(path).Ping(t.Context()); err != nil {
		t.Errorf("the living one was disturbed: %v", err)
	}
}

func TestWhatIsNoSocketStays(t *testing.T) {
	dir := t.TempDir()
	file := SocketPath(dir)
	if err := os.WriteFile(file, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	link := filepath.Join(dir, "link")
	if err := os.Symlink(file, link); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{file, link, dir} {
		if _, err := Listen(t.Context(), path); err == nil || !strings.Contains(err.Error(), "in the way") {
			t.Errorf("%s: %v", path, err)
		}
	}
	if text, err := os.ReadFile(file); err != nil || string(text) != "precious" {
		t.Errorf("the file is now %q, %v", text, err)
	}
}

func TestLongPath(t *testing.T) {
	path := "/" + strings.Repeat("d", MaxSocketPath)
	if _, err := Listen(t.Context(), path); err == nil || !strings.Contains(err.Error(), "shorter data_dir") {
		t.Error(err)
	}
}

func TestRunEndsWithItsContext(t *testing.T) {
	path := SocketPath(t.TempDir())
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- New(path, Options{}).Run(ctx) }()
	stop()
	if err := <-ended; err != nil && !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the socket is still there: %v", err)
	}
}
