package main

import (
	"context"
	"errors"
	"fmt"
	"net/textproto"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"mailroam/gateway"
	"mailroam/gateway/admin"
	"mailroam/queue"
)

func (a *app) sendTestCommand() *cobra.Command {
	var from string
	var timeout time.Duration
	var asJSON bool
	c := &cobra.Command{
		Use:   "send-test ADDRESS",
		Short: "Send a test message and follow it",
		Long: `Send a test message through the running gateway, by its SMTP port as any program
would, and follow it: every attempt is printed until the message is delivered or
it is clear why not. A message that is not delivered in time stays queued.`,
		Example: "  mailroam send-test ann@example.net",
		Args: func(c *cobra.Command, args []string) error {
			if len(args) != 1 {
				return usage(c, "name the one address that gets the test message")
			}
			if !bareAddress(args[0]) {
				return usage(c, "%q is no mail address like ann@example.net", queue.Printable(args[0], 100))
			}
			if from != "" && !bareAddress(from) {
				return usage(c, "--from %q is no mail address like ann@example.net", queue.Printable(from, 100))
			}
			return nil
		},
		RunE: func(c *cobra.Command, args []string) error {
			cfg, client, err := a.client()
			if err != nil {
				return err
			}
			if from == "" {
				from = likelySender(cfg)
			}
			s, err := client.Status(c.Context())
			if err != nil {
				return err
			}
			id, addr, err := a.sendTest(c.Context(), s.Gateway, letter{
				from: from, to: args[0], subject: "mailroam test message",
				lines: []string{"This is a test message, sent by the command mailroam send-test.", "You can delete it."},
			})
			if err != nil {
				return err
			}
			if !asJSON {
				fmt.Fprintf(a.out, "%s  accepted on %s, from %s to %s\n", a.colour.in(bold, id.String()), addr, safe(from), safe(args[0]))
			}
			show := a.printAttempt
			if asJSON {
				show = nil
			}
			m, err := a.follow(c.Context(), client, id, timeout, show)
			if err != nil {
				return err
			}
			if asJSON {
				if err := printJSON(a.out, shownMessage(m)); err != nil {
					return err
				}
			}
			return a.verdict(m, timeout, asJSON)
		},
	}
	c.Flags().StringVar(&from, "from", "", "sender's `address` (default: one that the first\nupstream may send for)")
	c.Flags().DurationVar(&timeout, "timeout", time.Minute, "how `long` to follow it")
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON: the message with its attempts, at the end")
	return c
}

// sendTest submits l to the first listener.
func (a *app) sendTest(ctx context.Context, g admin.Info, l letter) (queue.ID, string, error) {
	if len(g.Listen) == 0 {
		return queue.ID{}, "", &failure{
			code: exTempFail, what: errors.New("the gateway takes no mail yet"),
			next: "see why: " + a.command("status"),
		}
	}
	addr, err := dialable(g.Listen[0])
	if err != nil {
		return queue.ID{}, "", err
	}
	id, err := submit(ctx, addr, l)
	if refused, ok := errors.AsType[*textproto.Error](err); ok {
		f := &failure{code: exUnavailable, what: fmt.Errorf("the gateway on %s refused the message: %s", addr, safe(refused.Error()))}
		if refused.Code/100 == 4 {
			f.code, f.next = exTempFail, "see how it is: "+a.command("status")
		} else {
			f.next = "see who may send what: " + a.command("check")
		}
		return id, addr, f
	}
	if err != nil {
		return id, addr, &failure{
			code: exUnavailable, what: fmt.Errorf("submitting to %s: %w", addr, err),
			next: "see how it is: " + a.command("status"),
		}
	}
	return id, addr, nil
}

// likelySender is an address that the first upstream should send for.
func likelySender(cfg *gateway.Config) string {
	u := cfg.Upstreams[0]
	for _, s := range append([]string{u.DefaultFrom, u.Username}, u.Senders...) {
		if bareAddress(s) {
			return s
		}
	}
	if len(u.Senders) > 0 && bareAddress("postmaster"+u.Senders[0]) {
		return "postmaster" + u.Senders[0]
	}
	return "postmaster@" + cfg.Hostname
}

// lookEvery is how often a followed message is looked up.
const lookEvery = 100 * time.Millisecond

// follow looks until the message needs no more looking at, or for as long as
// timeout says, and shows each attempt once.
func (a *app) follow(ctx context.Context, client *admin.Client, id queue.ID, timeout time.Duration, show func(queue.Attempt)) (queue.Message, error) {
	late := time.After(timeout)
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	var seen []queue.Attempt
	for {
		m, err := one(ctx, client, id)
		if err != nil {
			return m, err
		}
		for _, at := range m.Attempts {
			if show != nil && !slices.ContainsFunc(seen, func(s queue.Attempt) bool { return s.At.Equal(at.At) && s.Upstream == at.Upstream }) {
				show(at)
			}
		}
		seen = m.Attempts
		if m.State == queue.Done || m.State == queue.Held {
			return m, nil
		}
		select {
		case <-ctx.Done():
			return m, ctx.Err()
		case <-late:
			return m, nil
		case <-tick.C:
		}
	}
}

func one(ctx context.Context, desk admin.Desk, id queue.ID) (queue.Message, error) {
	for m, err := range desk.Messages(ctx, admin.Selection{IDs: []string{id.String()}}) {
		return m, err
	}
	return queue.Message{}, queue.ErrNotFound
}

func (a *app) printAttempt(at queue.Attempt) {
	t := table{colour: a.colour, indent: "  ", rows: attemptRows(at, time.Now())}
	t.print(a.out)
}

// verdict says how it ended, and is the command's error if that is not well.
func (a *app) verdict(m queue.Message, timeout time.Duration, quiet bool) error {
	to := m.Recipients[0]
	show := "see: " + a.command("queue", "show", m.ID.String())
	switch {
	case m.State == queue.Done && to.State == queue.Delivered:
		if !quiet {
			fmt.Fprintf(a.out, "%s to %s by %s after %s\n", a.colour.in(green, "delivered"), safe(to.Address), safe(to.Last.Upstream), span(m.Ended.Sub(m.Accepted)))
		}
		return nil
	case m.State == queue.Done:
		return &failure{code: exUnavailable, what: fmt.Errorf("the message %s: %s", to.State, answered(to, time.Now())), next: show}
	case m.State == queue.Held:
		return &failure{code: exTempFail, what: fmt.Errorf("the message is held: %s", safe(m.Held.Reason)), next: show}
	}
	why := "no upstream that may take it works"
	if to.Last.Text != "" || to.Last.Code > 0 {
		why = answered(to, time.Now())
	}
	return &failure{
		code: exTempFail, what: fmt.Errorf("not delivered within %s, and still queued: %s", span(timeout), why),
		next: "see what is wrong: " + a.command("status"),
	}
}
