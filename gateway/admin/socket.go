package admin

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

// SocketPath is where a gateway with this data directory listens.
func SocketPath(dataDir string) string { return filepath.Join(dataDir, "control.sock") }

// MaxSocketPath is the longest path a socket can have everywhere: sun_path
// holds 108 octets on Linux and 104 on the BSDs, with a final NUL.
const MaxSocketPath = 103

// ErrAnswered says that another gateway listens on the socket.
var ErrAnswered = errors.New("another mailroam answers there")

// Listen opens the control socket for this user alone. What a killed gateway
// left behind is removed, but only if it is a socket and nobody answers.
func Listen(ctx context.Context, path string) (net.Listener, error) {
	if len(path) > MaxSocketPath {
		return nil, fmt.Errorf("opening the control socket: %s is longer than the %d octets a socket's path can have; choose a shorter data_dir", path, MaxSocketPath)
	}
	if err := removeStale(ctx, path); err != nil {
		return nil, fmt.Errorf("opening the control socket: %w", err)
	}
	lc := net.ListenConfig{Control: onlyOurs}
	l, err := lc.Listen(ctx, "unix", path)
	if err != nil {
		return nil, fmt.Errorf("opening the control socket: %w", err)
	}
	// Where the mode set before the bind does not count, and whatever the umask.
	if err := os.Chmod(path, 0o600); err != nil {
		_ = l.Close()
		return nil, fmt.Errorf("opening the control socket: %w", err)
	}
	return l, nil
}

func removeStale(ctx context.Context, path string) error {
	info, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if info.Mode().Type() != fs.ModeSocket {
		return fmt.Errorf("%s is in the way and no socket; move it", path)
	}
	d := net.Dialer{Timeout: time.Second}
	c, err := d.DialContext(ctx, "unix", path)
	if err == nil {
		_ = c.Close()
		return fmt.Errorf("%s: %w", path, ErrAnswered)
	}
	// Only a refusal proves that nobody listens; a full backlog does not.
	if !errors.Is(err, syscall.ECONNREFUSED) {
		return err
	}
	return os.Remove(path)
}
