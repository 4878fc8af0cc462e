package peers

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"time"
)

// Mailroam is our own binary, running `serve`.
type Mailroam struct {
	*process
	dir string
}

// BuildMailroam returns the binary to test: the one MAILROAM_BIN names, or one
// built into dir from the sources this package belongs to.
func BuildMailroam(ctx context.Context, dir string) (string, error) {
	if bin := os.Getenv("MAILROAM_BIN"); bin != "" {
		return filepath.Abs(bin)
	}
	bin := filepath.Join(dir, "mailroam")
	if out, err := exec.CommandContext(ctx, "go", "build", "-o", bin, "mailroam/cmd/mailroam").CombinedOutput(); err != nil {
		return "", fmt.Errorf("building mailroam: %w: %s", err, out)
	}
	return bin, nil
}

// WithMailroam runs m, a package's tests, with the binary to test in *bin, and
// gives the exit code.
func WithMailroam(m interface{ Run() int }, bin *string) int {
	dir, err := os.MkdirTemp("", "mailroam-e2e")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	if *bin, err = BuildMailroam(context.Background(), dir); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return m.Run()
}

// StartMailroam runs `bin serve` with the config in dir, which must listen on
// addr, with stderr going to a file. wrap is a command to run it by, such as
// strace with its options. The caller must Close it.
func StartMailroam(ctx context.Context, bin, dir, addr, config string, wrap ...string) (*Mailroam, error) {
	return StartMailroamWhere(ctx, nil, bin, dir, addr, config, wrap...)
}

// StartMailroamWhere is StartMailroam for one that wrap puts into a network
// namespace: dial reaches addr from inside.
func StartMailroamWhere(ctx context.Context, dial Dial, bin, dir, addr, config string, wrap ...string) (*Mailroam, error) {
	m := &Mailroam{dir: dir}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	file := filepath.Join(dir, "config.toml")
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		return nil, err
	}
	log, err := os.Create(m.logFile())
	if err != nil {
		return nil, err
	}
	defer log.Close()
	args := slices.Concat(wrap, []string{bin, "serve", "--config", file})
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Stdout, cmd.Stderr = log, log
	if m.process, err = start(cmd); err != nil {
		return nil, err
	}
	if err := m.ready(ctx, dial, addr, time.Minute); err != nil {
		return nil, errors.Join(err, m.Close(), errors.New(m.Log()))
	}
	return m, nil
}

func (m *Mailroam) logFile() string { return filepath.Join(m.dir, "log") }

// Log is what the gateway has logged so far.
func (m *Mailroam) Log() string {
	b, _ := os.ReadFile(m.logFile())
	return string(b)
}

// Close ends the gateway by SIGTERM, which has 10 s for what is being sent, and a
// minute for the answer to a dot.
func (m *Mailroam) Close() error { return m.close(75 * time.Second) }

// Kill ends the gateway by SIGKILL, at once. The log then holds all that it
// wrote.
func (m *Mailroam) Kill() {
	_ = m.cmd.Process.Kill()
	<-m.done
}
