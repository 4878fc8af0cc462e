package main

import (
	"context"
	"fmt"
	"io"
	"slices"
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
			cfg, err := a.load()
			if err != nil {
				return err
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
				return printJSON(a.out, shownMessages(ms))
			}
			if len(ms) == 0 {
				a.noMatch(sel)
			}
			for i, m := range ms {
				if i > 0 {
					fmt.Fprintln(a.out)
				}
				a.showMessage(m, cfg.Queue.PolicyHold, time.Now())
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
	return usage(c, "say which messages: IDs, --from, --to, --message-id, --state or --older, or --all for every one")
}

func (a *app) showMessage(m queue.Message, hold time.Duration, now time.Time) {
	state := stateCell(m)
	fmt.Fprintf(a.out, "%s  %s\n", a.colour.in(bold, m.ID.String()), a.colour.in(state.style, state.text))
	a.facts(m, hold, now).print(a.out)
	a.standing(m, now).print(a.out)
	a.timeline(m, now).print(a.out)
}

// facts is what is known of the message as a whole.
func (a *app) facts(m queue.Message, hold time.Duration, now time.Time) *table {
	t := &table{colour: a.colour, indent: "  "}
	fact := func(name, text string) { t.add(cell{name, dim}, cell{text: text}) }
	fact("from", sender(m))
	if len(m.Authors) > 0 && !slices.Equal(m.Authors, []string{m.ReversePath}) {
		fact("author", safe(strings.Join(m.Authors, ", ")))
	}
	if m.MessageID != "" {
		fact("message-id", "<"+safe(m.MessageID)+">")
	}
	fact("accepted", ago(m.Accepted, now)+client(m))
	fact("size", octets(m.Size))
	if n := needs(m); n != "" {
		fact("needs", n)
	}
	if r := wishes(m); r != "" {
		fact("notices", r)
	}
	switch m.State {
	case queue.Queued:
		fact("next try", nextTry(m, now))
	case queue.Held:
		fact("held", safe(m.Held.Reason)+", since "+ago(m.Held.Since, now))
		fact("", "let it go: "+a.command("queue", "release", m.ID.String()))
		fact("", "end it: "+a.command("queue", "drop", m.ID.String()))
	case queue.Done:
		fact("ended", ago(m.Ended, now))
	}
	if m.Barred != 0 && m.State == queue.Queued {
		fact("refused", "by all that may send it, for its sender or by their policy, since "+ago(barredSince(m), now))
		fact("", fmt.Sprintf("if nothing changes, its sender gets it back after %s online from then (queue.policy_hold)", days(hold)))
		fact("", "when it is mended: "+a.command("queue", "retry", m.ID.String()))
		fact("", "give it up now: "+a.command("queue", "fail", m.ID.String()))
	}
	for _, r := range m.Refusals {
		if r.Upstream == m.InDoubt() && r.Answer.Code == 0 {
			continue // it refused nothing, and is asked at the next try
		}
		by := "by " + safe(r.Upstream)
		if m.State != queue.Done { // what is done is asked for no more
			by += " until " + clock(r.Until, now)
		}
		fact("refused", by+": "+safe(r.Answer.String()))
	}
	return t
}

// needs is what not every upstream can do for it.
func needs(m queue.Message) string {
	var list []string
	if m.UTF8 {
		list = append(list, "SMTPUTF8: an address or the header is beyond ASCII")
	}
	if m.RequireTLS {
		list = append(list, "REQUIRETLS: verified TLS all the way")
	}
	return strings.Join(list, "; ")
}

// wishes is what its sender asked for, and was told already.
func wishes(m queue.Message) string {
	var list []string
	if m.Return.Full {
		list = append(list, "all of it comes back in one (RET=FULL)")
	}
	if id := m.Return.EnvID; id != "" {
		list = append(list, "it is called "+safe(id)+" there (ENVID)")
	}
	told := func(r queue.Recipient) bool { return r.Notify.Wants(queue.NotifyDelay) }
	if !m.Warned.IsZero() && slices.ContainsFunc(m.Recipients, told) {
		list = append(list, "told of the delay at "+m.Warned.Local().Format("2006-01-02 15:04:05"))
	}
	return strings.Join(list, "; ")
}

// barredSince is by the clock what the store keeps by time online.
func barredSince(m queue.Message) time.Time {
	since := m.Warned
	for _, at := range slices.Backward(m.Attempts) {
		switch at.Scope {
		case "sender", "policy", "place":
			since = at.At
		}
	}
	if since.IsZero() {
		return m.Accepted
	}
	return since
}

// standing is where each recipient is: what decided, or was said last, and what
// every other upstream said.
func (a *app) standing(m queue.Message, now time.Time) *table {
	t := &table{colour: a.colour, indent: "  "}
	for _, r := range m.Recipients {
		t.add(cell{"to", dim}, cell{text: safe(r.Address)}, rcptCell(r), cell{text: answered(r, now)})
		for _, s := range r.Said {
			if s.Upstream != r.Last.Upstream {
				t.add(cell{}, cell{}, cell{}, cell{text: safe(s.Upstream) + ": " + reply(s.Code, s.Enhanced, s.Text)})
			}
		}
		if asked := asked(r); asked != "" {
			t.add(cell{}, cell{}, cell{}, cell{asked, dim})
		}
	}
	return t
}

// asked is what the sender wants to hear about a recipient (RFC 3461).
func asked(r queue.Recipient) string {
	var list []string
	if r.Notify != 0 {
		list = append(list, "asked for NOTIFY="+r.Notify.String())
	}
	if r.ORcpt != "" {
		list = append(list, "ORCPT="+safe(r.ORcpt))
	}
	return strings.Join(list, " ")
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
		text = fmt.Sprintf("%s may have it since %s, so it is asked first: %s. %s", safe(r.Doubt.Upstream), clock(r.Doubt.At, now), evidence(*r.Doubt), text)
	}
	return text
}

// evidence is how likely it is that an upstream has what it did not confirm.
func evidence(d queue.Doubt) string {
	switch {
	case d.Crash:
		return "mailroam was stopped before the answer came"
	case d.Unacked:
		return "its machine did not even acknowledge the end of it, so probably not"
	default:
		return "all of it was sent, and no answer came"
	}
}

// timeline is every stored attempt: when, where, how far, what was said, and
// below it why the next step was chosen.
func (a *app) timeline(m queue.Message, now time.Time) *table {
	t := &table{colour: a.colour, indent: "  "}
	if len(m.Attempts) == 0 {
		return t
	}
	t.add(cell{})
	t.heading("TIME", "UPSTREAM", "STAGE", "TOOK", "VERDICT", "REPLY")
	for _, at := range m.Attempts {
		rows := attemptRows(at, now)
		rows[0][4].text += whom(m, at.Rcpts)
		t.rows = append(t.rows, rows...)
	}
	return t
}

func attemptRows(at queue.Attempt, now time.Time) [][]cell {
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
	why := safe(at.Why)
	if at.Rule != "" {
		why = strings.TrimLeft(why+" ["+safe(at.Rule)+"]", " ")
	}
	rows := [][]cell{{
		{text: clock(at.At, now)},
		{text: safe(where)},
		{text: at.Stage},
		{text: span(at.Took)},
		verdict,
		{text: reply(at.Code, at.Enhanced, at.Text)},
	}}
	if why != "" {
		rows = append(rows, []cell{{}, {why, dim}})
	}
	return rows
}

// whom says which recipients an attempt is about, where that is not all.
func whom(m queue.Message, rcpts []int) string {
	if rcpts == nil || len(rcpts) == len(m.Recipients) {
		return ""
	}
	if len(rcpts) == 1 && rcpts[0] >= 0 && rcpts[0] < len(m.Recipients) {
		return " for " + safe(m.Recipients[rcpts[0]].Address)
	}
	return fmt.Sprintf(" for %d of %d", len(rcpts), len(m.Recipients))
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
	for _, line := range readable(text) {
		fmt.Fprintln(a.out, strings.TrimRight("  | "+queue.Printable(line, 998), " "))
	}
	return nil
}
