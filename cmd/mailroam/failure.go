package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"mailroam/gateway/admin"
	"mailroam/queue"
)

// Exit codes, as in sysexits(3).
const (
	exOK          = 0
	exUsage       = 64 // the command line is wrong
	exData        = 65 // what it names is not fit to act on
	exNoInput     = 66 // what it names is not there
	exUnavailable = 69 // a service is not there, or refused for good
	exSoftware    = 70 // our fault
	exCantCreate  = 73
	exIO          = 74
	exTempFail    = 75 // try again later
	exNoPerm      = 77
	exConfig      = 78
	exInterrupted = 130 // what a shell says of SIGINT
)

// failure is an error with its exit code and the next thing to do, mostly a
// command.
type failure struct {
	code int
	what error
	next string
}

func (f *failure) Error() string {
	text := strings.TrimSuffix(f.what.Error(), ".")
	if f.next != "" {
		text += "; " + f.next
	}
	return text
}

func (f *failure) Unwrap() error { return f.what }

// usage is a wrong command line.
func usage(c *cobra.Command, format string, args ...any) error {
	return &failure{code: exUsage, what: fmt.Errorf(format, args...), next: "see: " + c.CommandPath() + " --help"}
}

// exit prints what went wrong and gives the exit code.
func (a *app) exit(err error) int {
	if err == nil {
		return exOK
	}
	if errors.Is(err, context.Canceled) {
		return exInterrupted
	}
	f, ok := errors.AsType[*failure](err)
	if !ok {
		f = a.judge(err)
	}
	fmt.Fprintf(a.err, "mailroam: %s\n", queue.Printable(f.Error(), 4000))
	return f.code
}

// judge gives errors from below their code and the next command.
func (a *app) judge(err error) *failure {
	if id, ok := errors.AsType[*admin.IDError](err); ok {
		return a.judgeID(id)
	}
	for _, known := range []struct {
		is   error
		code int
		next string
	}{
		{admin.ErrNotRunning, exUnavailable, "start it: " + a.command("serve")},
		{admin.ErrAnswered, exTempFail, "see it: " + a.command("status")},
		{queue.ErrBusy, exTempFail, "stop that one, or see what it does: " + a.command("status")},
		{queue.ErrNewer, exData, "run the mailroam that wrote it, or a newer one; this one is: mailroam version"},
		{queue.ErrNotFound, exNoInput, "see: " + a.command("queue", "list")},
		{queue.ErrFull, exTempFail, "make room on that disk, then try again; see: df -h"},
		{queue.ErrPoisoned, exIO, "look at the disk (dmesg), then start again: " + a.command("serve")},
		{queue.ErrCorrupt, exIO, "look at the disk (dmesg); see what is left: " + a.command("queue", "list")},
		{syscall.EADDRINUSE, exUnavailable, "stop the program that has the port (ss -ltnp names it), or change [[listen]] address"},
		{syscall.EADDRNOTAVAIL, exUnavailable, "change [[listen]] address to one this machine has (ip addr names them)"},
		{syscall.ENOSPC, exIO, "make room on that disk; see: df -h"},
		{fs.ErrPermission, exNoPerm, "run it as the user that owns those files, or see who that is: ls -ld"},
		{syscall.EROFS, exCantCreate, "choose a data_dir that can be written"},
	} {
		if errors.Is(err, known.is) {
			return &failure{code: known.code, what: err, next: known.next}
		}
	}
	if path, ok := errors.AsType[*fs.PathError](err); ok {
		switch path.Op {
		case "mkdir":
			return &failure{code: exCantCreate, what: err, next: "choose another data_dir, or make the folder yourself"}
		default:
			return &failure{code: exIO, what: err, next: "check: ls -ld " + shellWord(path.Path)}
		}
	}
	return &failure{code: exSoftware, what: err, next: "see how it is: " + a.command("status")}
}

func (a *app) judgeID(e *admin.IDError) *failure {
	part := queue.Printable(e.Part, 64)
	if errors.Is(e, admin.ErrNotFound) {
		return &failure{
			code: exNoInput, what: fmt.Errorf("no message has %q in its ID", part),
			next: "see which there are: " + a.command("queue", "list"),
		}
	}
	for _, m := range e.Candidates {
		fmt.Fprintf(a.err, "%s  %s  %s\n", m.ID, m.State, correspondents(m))
	}
	few := fmt.Sprintf("%q is in the ID of %d messages", part, len(e.Candidates))
	if len(e.Candidates) == admin.MaxCandidates {
		few = fmt.Sprintf("%q is in the ID of %d messages or more", part, len(e.Candidates))
	}
	return &failure{code: exData, what: errors.New(few), next: "use more of the one you mean: " + a.command("queue", "show", e.Candidates[0].ID.String())}
}
