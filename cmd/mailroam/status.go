package main

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"mailroam/gateway/admin"
	"mailroam/queue"
)

func (a *app) statusCommand() *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use:   "status",
		Short: "Say how the gateway is: upstreams, network, queue",
		Long: `Say how the running gateway is. What needs a person comes first: held mail, and
what runs on second choice, with what to do about it.`,
		Example: "  mailroam status\n  mailroam status --json",
		Args:    noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			_, client, err := a.client()
			if err != nil {
				return err
			}
			s, err := client.Status(c.Context())
			if err != nil {
				return err
			}
			if asJSON {
				return printJSON(a.out, s)
			}
			a.printStatus(s, time.Now())
			return nil
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return c
}

func (a *app) printStatus(s admin.Status, now time.Time) {
	if s.Gateway.Alert != "" {
		fmt.Fprintf(a.out, "%s\n\n", a.colour.in(red, queue.Printable(s.Gateway.Alert, 1000)))
	}
	a.printHeld(s, now)
	for _, line := range s.Advice {
		fmt.Fprintln(a.out, a.colour.in(yellow, queue.Printable(line, 1000)))
	}
	if len(s.Advice) > 0 {
		fmt.Fprintln(a.out)
	}
	ups := table{colour: a.colour}
	ups.heading("UPSTREAM", "STATE", "SINCE", "ENDPOINT", "WHY")
	for _, u := range s.Upstreams {
		since := ""
		if !u.Since.IsZero() {
			since = ago(u.Since, now)
		}
		ups.add(cell{safe(u.Name), bold}, upstreamCell(u.State), cell{text: since}, cell{text: safe(u.Endpoint)}, cell{text: safe(u.Why)})
	}
	ups.print(a.out)

	fmt.Fprintln(a.out)
	facts := table{colour: a.colour}
	fact := func(name, text string) { facts.add(cell{name, dim}, cell{text: text}) }
	fact("queue", counts(s.Queue, now))
	if n := s.Queue.Quarantined; n > 0 {
		fact("", a.colour.in(red, count(n, "damaged message")+" set aside; the log names them"))
	}
	fact("network", networkText(s.Network))
	fact("gateway", fmt.Sprintf("mailroam %s on %s, pid %d, up %s", s.Gateway.Version, s.Gateway.Hostname, s.Gateway.PID, span(now.Sub(s.Gateway.Started))))
	if len(s.Gateway.Listen) > 0 {
		fact("listening", strings.Join(s.Gateway.Listen, ", "))
	} else {
		fact("listening", a.colour.in(yellow, "not yet"))
	}
	facts.print(a.out)
}

// printHeld comes first: a held notice is mail about lost mail, and nothing
// but this tells anybody of it.
func (a *app) printHeld(s admin.Status, now time.Time) {
	if len(s.Held) == 0 {
		return
	}
	fmt.Fprintln(a.out, a.colour.in(red, fmt.Sprintf("Held until you decide: %s", count(s.Queue.Held, "message"))))
	t := table{colour: a.colour, indent: "  "}
	for _, m := range s.Held {
		kind := "message"
		if m.ReversePath == "" {
			kind = "notice"
		}
		t.add(cell{m.ID.String(), bold}, cell{text: kind}, cell{text: correspondents(m)}, cell{text: span(now.Sub(m.Held.Since)) + " ago"}, cell{text: safe(m.Held.Reason)})
	}
	t.print(a.out)
	id := s.Held[0].ID.String()
	fmt.Fprintf(a.out, "  read it: %s   let it go: %s   end it: %s\n\n",
		a.command("queue", "show", id), a.command("queue", "release", id), a.command("queue", "drop", id))
}

func upstreamCell(state string) cell {
	switch state {
	case "up":
		return cell{state, green}
	case "down", "cooling":
		return cell{state, red}
	}
	return cell{state, yellow}
}

func counts(s queue.Stats, now time.Time) string {
	text := fmt.Sprintf("%d queued, %d leased, %d held, %d in doubt, %d done; %s", s.Queued, s.Leased, s.Held, s.InDoubt, s.Done, octets(s.Bytes))
	if !s.Oldest.IsZero() && s.Queued+s.Leased+s.Held > 0 {
		text += ", the oldest " + span(now.Sub(s.Oldest)) + " old"
	}
	return text
}

func networkText(raw json.RawMessage) string {
	var n struct {
		Online *bool `json:"online"`
	}
	switch err := json.Unmarshal(raw, &n); {
	case err != nil || n.Online == nil:
		return "unknown"
	case *n.Online:
		return "online"
	}
	return "offline: mail waits, and nothing is counted against it"
}
