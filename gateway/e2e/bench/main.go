//go:build linux

// Command bench measures the gateway and Debian's Postfix side by side, as
// relays between the same loader and the same sink, on one disk.
//
// Loader and sink are this program, so that one clock sees a message accepted
// and arriving. The loader is the same for both relays: TCP_NODELAY, one write
// for each turn of the dialogue (a command; the whole message with its dot), no
// pipelining, and it waits for the reply to QUIT as clients do. Both relays run
// their default configuration with their logs in files and every sync done;
// Postfix gets relayhost=[sink] and no AUTH from 127/8, as in its own
// documentation. Within a round each line is measured at both relays in turn,
// the first of them changing from round to round; the table gives medians over
// the rounds, with the least and the most.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"mailroam/gateway/e2e/peers"
)

type options struct {
	rounds int
	quick  bool
	json   bool
	dir    string
	binary string
	only   string
	noPeer bool
}

func main() {
	var o options
	flag.IntVar(&o.rounds, "rounds", 5, "rounds; the table gives medians over them")
	flag.BoolVar(&o.quick, "quick", false, "one short round, less than 2 minutes")
	flag.BoolVar(&o.json, "json", false, "print JSON, with every round's value, instead of the table")
	flag.StringVar(&o.dir, "dir", "/var/tmp", "where the queues live; must be on the disk to measure")
	flag.StringVar(&o.binary, "binary", "bin/mailroam", "the gateway")
	flag.StringVar(&o.only, "only", "", "measure only the lines whose name contains this")
	flag.BoolVar(&o.noPeer, "no-postfix", false, "measure the gateway alone")
	flag.Parse()
	if o.quick {
		o.rounds = 1
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, o); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, o options) (err error) {
	binary, err := filepath.Abs(o.binary)
	if err != nil {
		return err
	}
	if _, err := os.Stat(binary); err != nil {
		return fmt.Errorf("no gateway to measure (make build): %w", err)
	}
	dir, err := os.MkdirTemp(o.dir, "mailroam-bench-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	if err := os.Chmod(dir, 0o755); err != nil { // the user postfix walks through it
		return err
	}
	b := &bench{options: o, binary: binary, dir: dir, began: time.Now(), table: newTable()}
	b.withPostfix = !o.noPeer
	if err := peers.HavePostfix(); err != nil && b.withPostfix {
		fmt.Fprintln(os.Stderr, "bench: without Postfix to compare with:", err)
		b.withPostfix = false
	}
	b.facts = machine(ctx, binary, dir)
	failed := b.measure(ctx) // what was measured before that is still worth printing
	return errors.Join(failed, b.print())
}
