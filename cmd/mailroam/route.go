package main

import (
	"cmp"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode"

	"github.com/spf13/cobra"

	"mailroam/gateway"
	"mailroam/gateway/admin"
	"mailroam/queue"
)

func (a *app) routeCommand() *cobra.Command {
	var size, author string
	var content queue.Content
	var asJSON bool
	c := &cobra.Command{
		Use:   "route FROM TO",
		Short: "Say which upstream would get a message, and why not the others",
		Long: `Say which upstream would get a message from one address to another, and why not
the others. FROM is the sender of the envelope, '<>' for a notice; who the From:
line names is the same unless --author says otherwise. Each upstream has its
line, in order of preference: whether it may carry the message, how it is now,
and under which address it would be sent. Without a running gateway the config
alone is asked.`,
		Example: "  mailroam route ann@example.com bob@example.net\n  mailroam route ann@example.com bob@example.net --size 40MB --author eve@example.org",
		Args: func(c *cobra.Command, args []string) error {
			if len(args) != 2 {
				return usage(c, "%q takes two addresses: the sender and a recipient", c.CommandPath())
			}
			return nil
		},
		RunE: func(c *cobra.Command, args []string) error {
			octets := int64(0)
			if size != "" {
				n, ok := gateway.ParseSize(size)
				if !ok {
					return usage(c, "--size %q is no size: write it like 500KB, 10MB or 25MiB", queue.Printable(size, 64))
				}
				octets = n
			}
			from, to := bare(args[0]), bare(args[1])
			if to == "" {
				return usage(c, "a message goes to somebody: name a recipient after the sender")
			}
			for _, address := range []string{from, to, bare(author)} {
				if address != "" && !mayBeAddress(address) {
					return usage(c, "%q is no mail address like ann@example.net", queue.Printable(address, 100))
				}
			}
			if !strings.Contains(to, "@") && !strings.EqualFold(to, "postmaster") { // RFC 5321 4.1.1.3
				return usage(c, "%q has no domain: a recipient is whole, like bob@example.net", queue.Printable(to, 100))
			}
			if author != "" {
				content.Authors = []string{bare(author)}
			} else if from != "" {
				content.Authors = []string{from}
			}
			content.UTF8 = content.UTF8 || !ascii(from+to+author)
			return a.route(c, admin.Question(from, to, content, octets), asJSON)
		},
	}
	f := c.Flags()
	f.StringVar(&size, "size", "", "`octets` of the message (10MB, 25MiB)")
	f.StringVar(&author, "author", "", "`address` that the From: line names (default FROM)")
	f.BoolVar(&content.EightBit, "8bit", false, "it has octets above 127 (8BITMIME)")
	f.BoolVar(&content.UTF8, "utf8", false, "its header has letters beyond ASCII (SMTPUTF8)")
	f.BoolVar(&asJSON, "json", false, "print JSON")
	return c
}

// mayBeAddress also takes a name alone, like root, which default_from is for, and
// letters beyond ASCII (RFC 6531 3.3).
func mayBeAddress(s string) bool {
	s = strings.Map(func(r rune) rune {
		if r >= 0xa0 && unicode.IsPrint(r) {
			return 'x'
		}
		return r
	}, s)
	return bareAddress(s) || bareAddress(s+"@example.net") || strings.HasPrefix(s, `"`) && strings.Contains(s, `"@`)
}

// bare takes the brackets off a path.
func bare(path string) string {
	if in, ok := strings.CutPrefix(path, "<"); ok {
		return strings.TrimSuffix(in, ">")
	}
	return path
}

func ascii(s string) bool { return strings.IndexFunc(s, func(r rune) bool { return r >= 0x80 }) < 0 }

func (a *app) route(c *cobra.Command, m *queue.Message, asJSON bool) error {
	cfg, client, err := a.client()
	if err != nil {
		return err
	}
	running := true
	r, err := client.Route(c.Context(), m)
	if errors.Is(err, admin.ErrNotRunning) {
		running, r = false, gateway.Explain(cfg, m)
	} else if err != nil {
		return err
	}
	if asJSON {
		return printJSON(a.out, r)
	}
	a.printRoute(r, running, time.Now())
	return nil
}

func (a *app) printRoute(r admin.Route, running bool, now time.Time) {
	t := table{colour: a.colour}
	if running {
		t.heading("UPSTREAM", "TURN", "STATE", "")
	} else {
		t.heading("UPSTREAM", "TURN", "")
	}
	for _, c := range r.Upstreams {
		cells := []cell{{safe(c.Name), bold}, turn(c, running)}
		if c.Now != nil {
			cells = append(cells, upstreamCell(c.Now.State))
		}
		t.add(append(cells, cell{text: choiceText(c, now)})...)
	}
	t.print(a.out)
	fmt.Fprintf(a.out, "\n%s\n", verdict(r, running))
}

// turn says when an upstream is asked.
func turn(c admin.Choice, running bool) cell {
	switch {
	case !c.May:
		return cell{"never", red}
	case c.Turn == 0:
		return cell{"not now", yellow}
	case c.Turn == 1 && running:
		return cell{"now", green}
	case c.Turn == 1:
		return cell{"first", green}
	case c.Turn == 2:
		return cell{"next", plain}
	}
	return cell{"later", plain}
}

// choiceText is why an upstream may not be used, or how it would be.
func choiceText(c admin.Choice, now time.Time) string {
	var words []string
	if c.Why != "" {
		words = append(words, safe(c.Why))
	}
	if !c.Blocked.IsZero() {
		words = append(words, "asked again at "+clock(c.Blocked, now))
	} else if c.Now != nil && c.May && c.Now.Until.After(now) {
		words = append(words, "until "+clock(c.Now.Until, now))
	}
	if as := cmp.Or(c.Author, c.ReversePath); as != "" {
		what := "sent as " + safe(as)
		if c.Author == "" {
			what += ", and From: stays"
		}
		words = append(words, what)
	}
	if c.Now != nil && c.May {
		for _, b := range c.Now.Budget {
			words = append(words, fmt.Sprintf("%d of %d recipients left this %s", b.Left, b.Limit, b.Per))
		}
	}
	return strings.Join(words, "; ")
}

// verdict sums it up.
func verdict(r admin.Route, running bool) string {
	first := ""
	for _, c := range r.Upstreams {
		if c.Turn == 1 {
			first = safe(c.Name)
		}
	}
	what := fmt.Sprintf("Mail from %s to %s", path(r.From), safe(r.To))
	switch {
	case r.NoRoute != "":
		return what + " has no way out: " + queue.Printable(r.NoRoute, 1000) + "."
	case !running:
		return what + " goes by " + first + " when the gateway runs. It does not run, so this is what the config says."
	case first == "":
		return what + " waits until one of them can be used."
	}
	return what + " goes by " + first + " now."
}

func path(address string) string {
	if address == "" {
		return "<>"
	}
	return safe(address)
}
