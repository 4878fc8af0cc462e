package main

import (
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"mailroam/gateway"
	"mailroam/queue"
)

func (a *app) explainCommand() *cobra.Command {
	var q gateway.ReplyQuestion
	var asJSON, profiles bool
	c := &cobra.Command{
		Use:   "explain REPLY…",
		Short: "Say what a reply of an upstream would do, and which rule says so",
		Long: `Say what a reply of an upstream would do: to the message, and to the upstream
that said it; and which rule says so, with its source and its day.

Who said it matters: --profile names a provider we know, --upstream an upstream
of your config, with its provider and your own [[rule]]s. With neither, only the
standards and what words mean everywhere count, and no config is needed. When it
was said matters too: without --stage all are shown, from greeting to dot (the
end of the message). Quote the reply as the log has it, on one line or on more.`,
		Example: `  mailroam explain --profile gmail --stage dot "550 5.4.5 Daily user sending limit exceeded"
  mailroam explain --upstream work --stage rcpt --rcpt bob@example.net "550 <bob@example.net>: not here"
  mailroam explain "451 4.7.1 Greylisted, try again in 5 minutes"
  mailroam explain --profiles`,
		Args: func(c *cobra.Command, args []string) error {
			switch {
			case profiles && len(args) > 0:
				return usage(c, "--profiles lists them, and explains no reply")
			case !profiles && len(args) == 0:
				return usage(c, `%q takes a reply, such as "550 5.1.1 no such user"`, c.CommandPath())
			case q.Profile != "" && q.Upstream != "":
				return usage(c, "--upstream has its own profile, so --profile does not go with it")
			}
			return nil
		},
		RunE: func(c *cobra.Command, args []string) error {
			if profiles {
				return a.listProfiles(asJSON)
			}
			q.Reply = strings.ReplaceAll(strings.Join(args, " "), `\n`, "\n")
			return a.explain(c, q, asJSON)
		},
	}
	f := c.Flags()
	f.StringVar(&q.Profile, "profile", "", "the `provider` that said it; --profiles lists them")
	f.StringVar(&q.Upstream, "upstream", "", "the upstream of the config that said it, by its `name`")
	f.StringVar(&q.Stage, "stage", "", "the `stage` at which it was said: greeting, ehlo,\nstarttls, auth, mail, rcpt, data, body or dot")
	f.StringVar(&q.Rcpt, "rcpt", "", "the `address` of the recipient, which a text may name")
	f.BoolVar(&profiles, "profiles", false, "list the providers that are known")
	f.BoolVar(&asJSON, "json", false, "print JSON")
	_ = c.RegisterFlagCompletionFunc("profile", func(*cobra.Command, []string, string) (names []string, _ cobra.ShellCompDirective) {
		list, _ := gateway.ListProfiles()
		for _, p := range list {
			names = append(names, p.Name)
		}
		return names, cobra.ShellCompDirectiveNoFileComp
	})
	return c
}

func (a *app) explain(c *cobra.Command, q gateway.ReplyQuestion, asJSON bool) error {
	if q.Upstream != "" {
		cfg, err := a.load()
		if err != nil {
			return err
		}
		q.Config = cfg
	}
	now := time.Now()
	r, err := gateway.ExplainReply(q, now)
	if no, ok := errors.AsType[*gateway.ChoiceError](err); ok {
		return &failure{code: exUsage, what: fmt.Errorf("there is no %s %q", no.What, safe(no.Name)), next: "there are: " + strings.Join(no.Have, ", ")}
	}
	if err != nil {
		return usage(c, "%w", err)
	}
	if asJSON {
		return printJSON(a.out, r)
	}
	a.printReply(r)
	if q.Rcpt == "" {
		a.hintRecipient(r)
	}
	return nil
}

// printReply prints a block for the stages at which the same happens.
func (a *app) printReply(r gateway.ReplyAnswer) {
	fmt.Fprintln(a.out, a.colour.in(bold, long(strings.TrimSpace(strconv.Itoa(r.Code)+" "+r.Text))))
	switch {
	case r.Upstream != "" && r.Profile != "":
		fmt.Fprintf(a.out, "said by %s (%s)\n", safe(r.Upstream), r.Title)
	case r.Upstream != "":
		fmt.Fprintf(a.out, "said by %s, whose provider has no profile\n", safe(r.Upstream))
	case r.Profile != "":
		fmt.Fprintf(a.out, "said by %s\n", r.Title)
	}
	for i := 0; i < len(r.Stages); {
		first, end := r.Stages[i], i+1
		names, because := first.Stage, because(first)
		for ; end < len(r.Stages) && alike(first, r.Stages[end]); end++ {
			names += ", " + r.Stages[end].Stage
			if r.Stages[end].Rule != first.Rule {
				because = fmt.Sprintf("the code %d at these stages", r.Code)
			}
		}
		i = end
		fmt.Fprintf(a.out, "\n%s %s\n", a.colour.in(dim, "at"), a.colour.in(bold, names))
		t := table{colour: a.colour, indent: "  "}
		t.add(cell{"message", dim}, cell{first.Message, verdictStyle(first.Verdict)})
		t.add(cell{"upstream", dim}, cell{text: first.Upstream})
		if first.Remedy != "" {
			t.add(cell{"do", dim}, cell{text: long(first.Remedy)})
		}
		if first.Scope != "" {
			because += " (" + first.Scope + ")"
		}
		t.add(cell{"because", dim}, cell{text: "of " + because})
		t.print(a.out)
	}
}

// alike says that the same happens.
func alike(x, y gateway.ReplyStage) bool {
	return x.Verdict == y.Verdict && x.Scope == y.Scope && x.Message == y.Message && x.Upstream == y.Upstream && x.Remedy == y.Remedy && x.Source == y.Source
}

func because(s gateway.ReplyStage) string {
	text := long(s.Rule)
	if s.Source != "" {
		text = fmt.Sprintf("the rule %q, %s (%s)", text, s.Source, s.Date)
	}
	return text
}

func verdictStyle(v string) style {
	switch v {
	case "delivered":
		return green
	case "bounce":
		return red
	case "hold", "in-doubt":
		return yellow
	}
	return plain
}

var mailAddress = regexp.MustCompile(`[^\s<>()"',;:]+@[^\s<>()"',;:]+[^\s<>()"',;:.]`)

// hintRecipient: who is named at RCPT is refused for good.
func (a *app) hintRecipient(r gateway.ReplyAnswer) {
	if address := mailAddress.FindString(r.Text); address != "" {
		fmt.Fprintf(a.out, "\n%s\n", a.colour.in(dim, "If it names the recipient, add: --rcpt "+shellWord(queue.Printable(address, 256))))
	}
}

func (a *app) listProfiles(asJSON bool) error {
	list, err := gateway.ListProfiles()
	if err != nil {
		return err
	}
	if asJSON {
		return printJSON(a.out, list)
	}
	t := table{colour: a.colour}
	t.heading("PROFILE", "RULES", "CHECKED", "HOSTS")
	for _, p := range list {
		t.add(cell{p.Name, bold}, cell{text: fmt.Sprintf("%5d", p.Rules)}, cell{p.Checked, dim}, cell{text: strings.Join(p.Hosts, ", ")})
	}
	t.print(a.out)
	fmt.Fprintf(a.out, "\n%s\n", a.colour.in(dim, "An upstream takes the profile of the hosts in its urls; profile = \"…\" names another, \"none\" none."))
	return nil
}
