package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"syscall"
	"testing"

	"mailroam/gateway/admin"
	"mailroam/queue"
)

func TestExitCodes(t *testing.T) {
	wrap := func(err error) error { return fmt.Errorf("doing it: %w", err) }
	for _, tt := range []struct {
		err  error
		code int
		next string // part of it
	}{
		{nil, 0, ""},
		{wrap(context.Canceled), 130, ""},
		{wrap(admin.ErrNotRunning), 69, "mailroam serve --config 'my config'"},
		{wrap(queue.ErrBusy), 75, "mailroam status --config"},
		{wrap(queue.ErrNewer), 65, "mailroam version"},
		{wrap(queue.ErrNotFound), 66, "mailroam queue list"},
		{wrap(queue.ErrFull), 75, "df -h"},
		{wrap(queue.ErrPoisoned), 74, "mailroam serve"},
		{errors.Join(wrap(queue.ErrPoisoned), errors.New("and more")), 74, "mailroam serve"},
		{wrap(&os.SyscallError{Syscall: "bind", Err: syscall.EADDRINUSE}), 69, "ss -ltnp"},
		{wrap(&os.SyscallError{Syscall: "bind", Err: syscall.EACCES}), 77, "ls -ld"},
		{wrap(&fs.PathError{Op: "mkdir", Path: "/x", Err: syscall.ENOTDIR}), 73, "another data_dir"},
		{wrap(&fs.PathError{Op: "open", Path: "/x y", Err: syscall.EROFS}), 73, "data_dir"},
		{wrap(&fs.PathError{Op: "read", Path: "/x y", Err: syscall.EIO}), 74, "ls -ld '/x y'"},
		{wrap(syscall.ENOSPC), 74, "df -h"},
		{errors.New("surprise"), 70, "mailroam status"},
		{&failure{code: 75, what: errors.New("no\x1b[2J"), next: "wait"}, 75, `no\x1b[2J; wait`},
	} {
		var b bytes.Buffer
		a := &app{err: &b, program: "mailroam", config: "my config"}
		if got := a.exit(tt.err); got != tt.code || !strings.Contains(b.String(), tt.next) {
			t.Errorf("%v: exit code %d, want %d; said %q, want %q in it", tt.err, got, tt.code, b.String(), tt.next)
		}
		if lines := strings.Count(b.String(), "\n"); tt.next != "" && lines != 1 {
			t.Errorf("%v: %d lines: %s", tt.err, lines, &b)
		}
	}
}

// What a script reads as the whole output must be the whole output.
func TestOutputThatIsLost(t *testing.T) {
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Skip(err)
	}
	defer full.Close()
	var b bytes.Buffer
	out := &output{to: full}
	a := &app{out: out, err: &b, program: "mailroam"}
	root := a.root()
	root.SetArgs([]string{"version"})
	if code := out.exit(a, root.Execute()); code != exIO || !strings.Contains(b.String(), "writing the output") || !strings.Contains(b.String(), "df -h") {
		t.Errorf("exit code %d, said %q", code, b.String())
	}
}

func TestShellWord(t *testing.T) {
	for in, want := range map[string]string{
		"/etc/mailroam/config.toml": "/etc/mailroam/config.toml",
		"my config":                 "'my config'",
		"it's":                      `'it'\''s'`,
		"$(reboot)":                 "'$(reboot)'",
		"":                          "''",
		"naïve":                     "'naïve'",
	} {
		if got := shellWord(in); got != want {
			t.Errorf("%q becomes %s, want %s", in, got, want)
		}
	}
}
