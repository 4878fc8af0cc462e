package main

import (
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"mailroam/queue"
)

func (a *app) queueListCommand() *cobra.Command {
	var s selector
	var asJSON bool
	c := &cobra.Command{
		Use:   "list [ID…]",
		Short: "List messages, newest first",
		Long: `List messages, newest first: the unfinished ones, unless --state done asks for
those that are finished. It works on a stopped gateway too.`,
		Example: "  mailroam queue list\n  mailroam queue list --state held --json\n  mailroam queue list --state done --to bob@example.net",
		RunE: func(c *cobra.Command, args []string) error {
			sel, err := s.selection(c, args)
			if err != nil {
				return err
			}
			desk, done, err := a.desk(c.Context())
			if err != nil {
				return err
			}
			defer done()
			var ms []queue.Message
			for m, err := range desk.Messages(c.Context(), sel) {
				if err != nil {
					return err
				}
				ms = append(ms, m)
			}
			if asJSON {
				rows := make([]row, len(ms))
				for i, m := range ms {
					rows[i] = rowOf(m)
				}
				return printJSON(a.out, rows)
			}
			if len(ms) == 0 {
				if sel.Narrow() {
					a.noMatch(sel)
				} else {
					fmt.Fprintln(a.out, "The queue is empty.")
				}
				return nil
			}
			a.listTable(ms, time.Now()).print(a.out)
			return nil
		},
	}
	s.bind(c)
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return c
}

func (a *app) listTable(ms []queue.Message, now time.Time) *table {
	t := &table{colour: a.colour}
	t.heading("ID", "STATE", "AGE", "SIZE", "FROM", "TO", "TRIES", "NEXT", "LAST ANSWER")
	for _, m := range ms {
		t.add(cell{m.ID.String(), bold}, stateCell(m), cell{text: span(now.Sub(m.Accepted))}, cell{text: octets(m.Size)},
			cell{text: sender(m)}, cell{text: recipients(m)}, cell{text: fmt.Sprint(attempts(m))}, cell{text: nextStep(m, now)}, cell{text: lastAnswer(m)})
	}
	t.fit(a.width, 4, 5) // FROM, TO
	return t
}

func stateCell(m queue.Message) cell {
	switch {
	case m.State == queue.Held:
		return cell{"held", red}
	case m.InDoubt() != "":
		return cell{string(m.State) + ", in doubt", yellow}
	case m.Barred != 0:
		return cell{string(m.State) + ", refused by all", red}
	case m.State == queue.Done:
		return cell{ending(m), green}
	}
	return cell{text: string(m.State)}
}

// ending says how a finished message ended: alike for all recipients, or not.
func ending(m queue.Message) string {
	how := ""
	for _, r := range m.Recipients {
		switch {
		case how == "":
			how = string(r.State)
		case how != string(r.State):
			return "done, mixed"
		}
	}
	return how
}

// nextStep says when a queued message is looked at again. A due time in the
// past means that only a working upstream is missing, for however long.
func nextStep(m queue.Message, now time.Time) string {
	switch {
	case m.State != queue.Queued:
		return ""
	case m.Due.After(now):
		return "in " + span(m.Due.Sub(now))
	}
	return "waits"
}

// lastAnswer is the newest thing an upstream said about the message.
func lastAnswer(m queue.Message) string {
	if m.State == queue.Held {
		return safe(m.Held.Reason)
	}
	var last queue.Answer
	for _, r := range m.Recipients {
		if last.At.Before(r.Last.At) {
			last = r.Last
		}
	}
	text := reply(last.Code, last.Enhanced, last.Text)
	if n := len(m.Attempts); text == "" && n > 0 {
		at := m.Attempts[n-1]
		text = reply(at.Code, at.Enhanced, at.Text)
	}
	return text
}

// attempts counts what was tried, also what did not count for the back-off. The
// timeline of a message that was tried often holds the last ones only.
func attempts(m queue.Message) int { return max(len(m.Attempts), m.Tries) }

// upstreamOf names where the message is, or was last tried.
func upstreamOf(m queue.Message) string {
	if at := m.InDoubt(); at != "" {
		return at
	}
	if n := len(m.Attempts); n > 0 {
		return m.Attempts[n-1].Upstream
	}
	return ""
}

// row is one message in `queue list --json`: others build on these names.
type row struct {
	ID        queue.ID    `json:"id"`
	State     queue.State `json:"state"`
	From      string      `json:"from"`
	To        []rowRcpt   `json:"to"`
	Size      int64       `json:"size"`
	MessageID string      `json:"message_id,omitempty"`
	Accepted  time.Time   `json:"accepted"`
	Due       *time.Time  `json:"due"` // null when nothing is due
	Upstream  string      `json:"upstream"`
	Attempts  int         `json:"attempts"`
	Last      string      `json:"last"`
}

type rowRcpt struct {
	Address string          `json:"address"`
	State   queue.RcptState `json:"state"`
}

func rowOf(m queue.Message) row {
	r := row{
		ID: m.ID, State: m.State, From: m.ReversePath, To: []rowRcpt{}, Size: m.Size, MessageID: m.MessageID, Accepted: m.Accepted,
		Upstream: upstreamOf(m), Attempts: attempts(m), Last: lastAnswer(m),
	}
	if !m.Due.IsZero() {
		r.Due = &m.Due
	}
	for _, to := range m.Recipients {
		r.To = append(r.To, rowRcpt{to.Address, to.State})
	}
	return r
}
