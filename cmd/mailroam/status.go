package main

import (
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
		Long: `Say how the running gateway is. What needs a person comes first: held mail, a
network that lets nothing through, and what runs on second choice, with what to
do about it. Of each upstream there is its state and for how long, the endpoint
in use, when it last answered well and when it is probed next.`,
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
				return printJSON(a.out, shownStatus{s, shownMessages(s.Held)})
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
	a.printUpstreams(s.Upstreams, now)

	fmt.Fprintln(a.out)
	facts := table{colour: a.colour}
	fact := func(name, text string) { facts.add(cell{name, dim}, cell{text: text}) }
	fact("queue", counts(s.Queue, now))
	if n := s.Queue.Quarantined; n > 0 {
		fact("", a.colour.in(red, count(n, "damaged message")+" set aside; the log names them"))
	}
	fact("network", networkText(s.Network, now))
	fact("gateway", fmt.Sprintf("mailroam %s on %s, pid %d, up %s", s.Gateway.Version, s.Gateway.Hostname, s.Gateway.PID, span(now.Sub(s.Gateway.Started))))
	if len(s.Gateway.Listen) > 0 {
		fact("listening", strings.Join(s.Gateway.Listen, ", "))
	} else {
		fact("listening", a.colour.in(yellow, "not yet"))
	}
	facts.print(a.out)
}

// printUpstreams gives each a line that fits a terminal, and what is wrong with
// it one below.
func (a *app) printUpstreams(list []admin.Upstream, now time.Time) {
	ups := table{colour: a.colour}
	ups.heading("UPSTREAM", "STATE", "FOR", "ENDPOINT", "LAST GOOD", "NEXT PROBE")
	for _, u := range list {
		since, good, next := "", "never", ""
		if !u.Since.IsZero() {
			since = span(now.Sub(u.Since))
		}
		if !u.LastGood.IsZero() {
			good = span(now.Sub(u.LastGood)) + " ago"
		}
		if !u.NextProbe.IsZero() {
			next = "in " + span(u.NextProbe.Sub(now))
		}
		ups.add(cell{safe(u.Name), bold}, upstreamCell(u.State), cell{text: since}, cell{text: endpoint(u.Endpoint)}, cell{text: good}, cell{text: next})
		if u.Why != "" {
			ups.add(cell{}, cell{text: safe(u.Why)})
		}
		if text := limits(u, now); text != "" {
			ups.add(cell{}, cell{text: text})
		}
		for _, text := range blocked(u, now) {
			ups.add(cell{}, cell{text: text})
		}
	}
	ups.print(a.out)
}

// limits says what is left of each limit, and how many connections it was seen
// to take.
func limits(u admin.Upstream, now time.Time) string {
	var parts []string
	for _, b := range u.Budget {
		article := "a"
		if b.Per == "hour" {
			article = "an"
		}
		part := fmt.Sprintf("%d of %d %s %s", b.Left, b.Limit, article, b.Per)
		if !b.More.IsZero() {
			part += " (more in " + span(b.More.Sub(now)) + ")"
		}
		parts = append(parts, part)
	}
	text := ""
	if len(parts) > 0 {
		text = "recipients left: " + strings.Join(parts, ", ")
	}
	if n := u.Learned.Connections; n > 0 {
		text = strings.TrimPrefix(text+fmt.Sprintf("; takes %s at a time", count(n, "connection")), "; ")
	}
	return text
}

// blocked says for which senders the upstream relays nothing, a few of them.
func blocked(u admin.Upstream, now time.Time) (lines []string) {
	const most = 3
	for i, b := range u.Blocked {
		if i == most {
			return append(lines, fmt.Sprintf("and nothing for %d more", len(u.Blocked)-most))
		}
		lines = append(lines, fmt.Sprintf("relays nothing for %s, asked again in %s: %s", path(b.Sender), span(b.Until.Sub(now)), safe(b.Why)))
	}
	return lines
}

// endpoint is the one in use, or the first of several and how many there are
// more.
func endpoint(s string) string {
	first, rest, several := strings.Cut(s, ", ")
	if several {
		first += fmt.Sprintf(" +%d", strings.Count(rest, ", ")+1)
	}
	return safe(first)
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
	fmt.Fprintf(a.out, "  read it: %s\n  let it go: %s\n  end it: %s\n\n",
		a.command("queue", "show", id), a.command("queue", "release", id), a.command("queue", "drop", id))
}

func upstreamCell(state string) cell {
	switch state {
	case "up", "limited":
		return cell{state, green}
	case "down", "cooling":
		return cell{state, red}
	}
	return cell{state, yellow}
}

func counts(s queue.Stats, now time.Time) string {
	text := fmt.Sprintf("%d queued, %d leased, %d held, %d in doubt, %d done; %s", s.Queued, s.Leased, s.Held, s.InDoubt, s.Done, octets(s.Bytes))
	if s.Barred > 0 {
		text += fmt.Sprintf(", %d refused by all", s.Barred)
	}
	if !s.Oldest.IsZero() && s.Queued+s.Leased+s.Held > 0 {
		text += ", the oldest " + span(now.Sub(s.Oldest)) + " old"
	}
	return text
}

// networkText says how the network is; why, and what to do about it, is advice,
// which comes first.
func networkText(n admin.Network, now time.Time) string {
	text := map[string]string{"": "unknown", "portal": "captive portal?"}[n.State]
	if text == "" {
		text = safe(n.State)
	}
	if !n.Online && !n.Since.IsZero() {
		text += " (for " + span(now.Sub(n.Since)) + ")"
	}
	if n.Manager != "" && (!n.Online || n.Manager != "full") {
		text += "; NetworkManager says " + safe(n.Manager)
	}
	return text
}
