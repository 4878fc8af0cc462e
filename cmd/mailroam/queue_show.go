package main

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"mailroam/gateway/admin"
	"mailroam/queue"
)

func (a *app) queueShowCommand() *cobra.Command {
	var s selector
	var asJSON bool
	c := &cobra.Command{
		Use:   "show [ID…]",
		Short: "Show everything about messages, with every attempt",
		Long: `Show everything about messages: who gets it, what was tried when and where, what
the upstreams said, and why the next step was chosen. Of a held notice the text
is shown too. It works on a stopped gateway.`,
		Example: "  mailroam queue show --to bob@example.net",
		RunE: func(c *cobra.Command, args []string) error {
			sel, err := s.selection(c, args)
			if err != nil {
				return err
			}
			if !sel.All && !sel.Narrow() {
				return noneMeant(c)
			}
			desk, done, err := a.desk(c.Context())
			if err != nil {
				return err
			}
			defer done()
			ms := []queue.Message{}
			for m, err := range desk.Messages(c.Context(), sel) {
				if err != nil {
					return err
				}
				ms = append(ms, m)
			}
			if asJSON {
				return printJSON(a.out, ms)
			}
			if len(ms) == 0 {
				fmt.Fprintln(a.out, "No message matches.")
			}
			for i, m := range ms {
				if i > 0 {
					fmt.Fprintln(a.out)
				}
				a.showMessage(m, time.Now())
				if err := a.showNotice(c.Context(), desk, m); err != nil {
					return err
				}
			}
			return nil
		},
	}
	s.bind(c)
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return c
}

// noneMeant refuses to act on everything by accident.
func noneMeant(c *cobra.Command) error {
	return usage(c, "say which messages: IDs, --from, --to, --state or --older, or --all for every one")
}

func (a *app) showMessage(m queue.Message, now time.Time) {
	state := stateCell(m)
	fmt.Fprintf(a.out, "%s  %s\n", a.colour.in(bold, m.ID.String()), a.colour.in(state.style, state.text))
	facts := table{colour: a.colour, indent: "  "}
	fact := func(name, text string) { facts.add(cell{name, dim}, cell{text: text}) }
	fact("from", sender(m))
	fact("accepted", ago(m.Accepted, now)+client(m))
	fact("size", octets(m.Size))
	switch m.State {
	case queue.Queued:
		fact("next try", nextTry(m, now))
	case queue.Held:
		fact("held", safe(m.Held.Reason)+", since "+ago(m.Held.Since, now))
		fact("", "let it go: "+a.command("queue", "release", m.ID.String())+"   end it: "+a.command("queue", "drop", m.ID.String()))
	case queue.Done:
		fact("ended", ago(m.Ended, now))
	}
	for _, r := range m.Refusals {
		fact("refused", fmt.Sprintf("by %s until %s: %s", safe(r.Upstream), clock(r.Until, now), reply(r.Answer.Code, r.Answer.Enhanced, r.Answer.Text)))
	}
	facts.print(a.out)

	to := table{colour: a.colour, indent: "  "}
	for _, r := range m.Recipients {
		to.add(cell{"to", dim}, cell{text: safe(r.Address)}, rcptCell(r), cell{text: answered(r, now)})
	}
	to.print(a.out)
	a.timeline(m.Attempts, now).print(a.out)
}

func client(m queue.Message) string {
	if m.Client.Addr == "" {
		return ""
	}
	return ", from " + safe(m.Client.Addr) + " (" + safe(m.Client.Helo) + ")"
}

// nextTry says what a queued message waits for.
func nextTry(m queue.Message, now time.Time) string {
	if m.Due.After(now) {
		return nextStep(m, now)
	}
	return "as soon as an upstream works that may take it"
}

func rcptCell(r queue.Recipient) cell {
	switch r.State {
	case queue.Pending:
		return cell{string(r.State), yellow}
	case queue.Delivered:
		return cell{string(r.State), green}
	}
	return cell{string(r.State), red}
}

func answered(r queue.Recipient, now time.Time) string {
	text := reply(r.Last.Code, r.Last.Enhanced, r.Last.Text)
	if r.Last.Upstream != "" {
		text = safe(r.Last.Upstream) + ": " + text
	}
	if r.Doubt != nil {
		text = fmt.Sprintf("%s may have it since %s, so it is asked first. %s", safe(r.Doubt.Upstream), clock(r.Doubt.At, now), text)
	}
	return text
}

// timeline is every stored attempt: when, where, how far, what was said, and
// why the next step was chosen.
func (a *app) timeline(attempts []queue.Attempt, now time.Time) *table {
	t := &table{colour: a.colour, indent: "  "}
	if len(attempts) == 0 {
		return t
	}
	t.add(cell{})
	t.heading("TIME", "UPSTREAM", "STAGE", "TOOK", "VERDICT", "REPLY", "WHY")
	for _, at := range attempts {
		t.add(attemptCells(at, now)...)
	}
	return t
}

func attemptCells(at queue.Attempt, now time.Time) []cell {
	verdict := cell{at.Verdict, yellow}
	switch at.Verdict {
	case "delivered":
		verdict.style = green
	case "bounce":
		verdict.style = red
	}
	if at.Interrupted {
		verdict.text += ", interrupted"
	}
	where := at.Upstream
	if at.Endpoint != "" {
		where += " (" + at.Endpoint + ")"
	}
	return []cell{
		{text: clock(at.At, now)},
		{text: safe(where)},
		{text: at.Stage},
		{text: span(at.Took)},
		verdict,
		{text: reply(at.Code, at.Enhanced, at.Text)},
		{text: safe(at.Why)},
	}
}

// maxNotice bounds what is shown of a held notice.
const maxNotice = 16 << 10

// showNotice prints the text of a held notice: nobody else will ever read it.
func (a *app) showNotice(ctx context.Context, desk admin.Desk, m queue.Message) error {
	if m.State != queue.Held || m.ReversePath != "" {
		return nil
	}
	body, err := desk.Body(ctx, m.ID)
	if err != nil {
		return fmt.Errorf("reading the notice: %w", err)
	}
	defer func() { _ = body.Close() }()
	text, err := io.ReadAll(io.LimitReader(body, maxNotice))
	if err != nil {
		return fmt.Errorf("reading the notice: %w", err)
	}
	fmt.Fprintln(a.out)
	for line := range strings.Lines(string(text)) {
		fmt.Fprintln(a.out, "  | "+queue.Printable(strings.TrimRight(line, "\r\n"), 998))
	}
	return nil
}
