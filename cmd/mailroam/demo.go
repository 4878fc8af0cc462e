package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"
)

func (a *app) demoCommand() *cobra.Command {
	var once bool
	c := &cobra.Command{
		Use:   "demo",
		Short: "See it work: a gateway and two practice upstreams on this machine",
		Long: `See it work, with nothing to configure and no mail leaving this machine: a
gateway and two practice upstreams on loopback. Messages are sent through it
while the first upstream is cut, comes back, and while both are cut; the
timeline says what became of each. Then all of it stays up for you to try, until
Ctrl-C; the data is temporary and goes with it.`,
		Example: "  mailroam demo --once",
		Args:    noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			return a.demo(c.Context(), once)
		},
	}
	c.Flags().BoolVar(&once, "once", false, "end after the timeline; exit 0 if all went as it should")
	return c
}

func (a *app) demo(ctx context.Context, once bool) error {
	s, err := a.newStage()
	if err != nil {
		return err
	}
	over, end := context.WithCancel(ctx)
	defer end()
	group, play := errgroup.WithContext(over)
	for _, u := range s.upstreams {
		group.Go(func() error { return u.sink.Serve(play, u.listener) })
	}
	group.Go(func() error { return s.gateway.Run(play) })
	group.Go(func() error {
		defer end()
		if err := s.play(play); err != nil {
			return err
		}
		if once {
			return nil
		}
		s.invite()
		return s.attend(play, os.Stdin)
	})
	err = group.Wait()
	if ctx.Err() != nil && errors.Is(err, context.Canceled) {
		err = nil // Ctrl-C is how a demo ends
	}
	if err != nil {
		return &failure{code: exSoftware, what: err, next: "the log is kept: " + s.log.Name()}
	}
	s.remove()
	return nil
}

// invite says how to try it oneself.
func (s *stage) invite() {
	a, addr := s.app, s.address()
	host, port, _ := strings.Cut(addr, ":")
	line := func(what, how string) {
		fmt.Fprintf(a.out, "  %s %s\n", a.colour.in(dim, fmt.Sprintf("%-10s", what)), how)
	}
	fmt.Fprintf(a.out, "\n%s\n", a.colour.in(bold, "Now you: it stays up until Ctrl-C. Send it mail:"))
	line("swaks", fmt.Sprintf("swaks --server %s --from you@example.org --to ann@example.net", addr))
	line("curl", fmt.Sprintf("printf 'Subject: hi\\n\\nhello\\n' | curl --crlf -T - smtp://%s --mail-from you@example.org --mail-rcpt ann@example.net", addr))
	line("msmtp", fmt.Sprintf("printf 'Subject: hi\\n\\nhello\\n' | msmtp --host=%s --port=%s --from=you@example.org ann@example.net", host, port))
	line("itself", s.command("send-test", "ann@example.net"))
	fmt.Fprintln(a.out, a.colour.in(bold, "Look at it:"))
	line("status", s.command("status"))
	line("queue", s.command("queue", "list", "--state", "queued,done"))
	for _, u := range s.upstreams {
		line(u.name, "mail arrives in the Maildir "+u.dir)
	}
	line("log", s.log.Name())
	fmt.Fprintf(a.out, "%s\n\n", a.colour.in(bold, "Cut an upstream, or bring it back: type 1 or 2 and Enter."))
	s.watching.Store(true)
}

// attend does what the person types until ctx ends.
func (s *stage) attend(ctx context.Context, in io.Reader) error {
	typed := make(chan string)
	go func() { // ends with the process: a read of a terminal cannot be cancelled
		for lines := bufio.NewScanner(in); lines.Scan(); {
			select {
			case typed <- strings.TrimSpace(lines.Text()):
			case <-ctx.Done():
				return
			}
		}
	}()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case key := <-typed:
			switch key {
			case "1", "2":
				u := s.upstreams[key[0]-'1']
				if err := u.toggle(); err != nil {
					return err
				}
				s.say(u.standing())
			case "":
			default:
				s.say("type 1 or 2 to cut an upstream or to bring it back, Ctrl-C to end")
			}
		}
	}
}
