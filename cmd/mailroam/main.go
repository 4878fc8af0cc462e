// Command mailroam takes mail over SMTP, keeps it safe, and hands it to the
// first working upstream of an ordered list.
//
// This package holds flags, signals, exit codes and printing, one file per
// command; what a command does lives in package gateway, and what it asks of a
// running gateway goes through the control socket (gateway/admin).
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
)

func main() { os.Exit(run()) }

func run() int {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	// A second signal ends the process at once: whoever asks twice is in a hurry.
	context.AfterFunc(ctx, stop)
	out := &output{to: os.Stdout}
	a := &app{out: out, err: os.Stderr, program: os.Args[0], colour: wantsColour(os.Stdout), width: widthOf(os.Stdout)}
	return out.exit(a, a.root().ExecuteContext(ctx))
}
