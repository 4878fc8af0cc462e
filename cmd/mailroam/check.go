package main

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"mailroam/gateway"
	"mailroam/gateway/admin"
)

func (a *app) checkCommand() *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use:   "check",
		Short: "Read the config and say everything that is wrong with it",
		Long: `Read the config and say everything that is wrong with it, each with its line,
its key and what to do. When it is good, say what it means. Nothing is started
and nothing is sent; the exit code is 0, or 78 when something is wrong.`,
		Example: "  mailroam check",
		Args:    noArgs,
		RunE: func(*cobra.Command, []string) error {
			if asJSON {
				return a.checkJSON()
			}
			cfg, err := a.load()
			if err != nil {
				return err
			}
			a.printConfig(cfg)
			return nil
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return c
}

// printConfig says what a good config means.
func (a *app) printConfig(cfg *gateway.Config) {
	fmt.Fprintf(a.out, "%s is good.\n\n", cfg.Path)
	for _, w := range cfg.Warnings {
		fmt.Fprintf(a.out, "%s %s\n\n", a.colour.in(yellow, "worth a look:"), w)
	}
	about := table{colour: a.colour}
	about.add(cell{"hostname", dim}, cell{text: cfg.Hostname})
	about.add(cell{"data_dir", dim}, cell{text: cfg.DataDir})
	for _, l := range cfg.Listen {
		var from []string
		for _, p := range l.Allow {
			from = append(from, p.String())
		}
		about.add(cell{"listen", dim}, cell{text: l.Address + ", for " + strings.Join(from, ", ")})
	}
	// The command's arguments and the webhook's URL may hold tokens.
	var told []string
	if c := cfg.Alert.Command; len(c) > 0 {
		told = append(told, "the program "+safe(c[0]))
	}
	if !cfg.Alert.Webhook.IsZero() {
		told = append(told, "a webhook")
	}
	if len(told) > 0 {
		about.add(cell{"alerts", dim}, cell{text: "to " + strings.Join(told, " and ")})
	}
	about.print(a.out)

	fmt.Fprintln(a.out, "\nMail leaves by the first of these that works:")
	ups := table{colour: a.colour, indent: "  "}
	ups.heading("", "UPSTREAM", "ENDPOINTS", "LOGIN", "SENDERS")
	for i, u := range cfg.Upstreams {
		var urls []string
		for _, e := range u.URLs {
			urls = append(urls, e.Raw)
		}
		login, senders := "none", "anyone"
		if u.Auth != "none" {
			login = u.Username
		}
		if len(u.Senders) > 0 {
			senders = strings.Join(u.Senders, ", ")
		}
		for _, w := range u.Rewrite {
			senders += fmt.Sprintf("; %s as %s", w.Pattern, w.Address)
		}
		if len(u.Recipients) > 0 && !slices.Contains(u.Recipients, "*") {
			senders += "; only to " + strings.Join(u.Recipients, ", ")
		}
		ups.add(cell{text: fmt.Sprint(i + 1)}, cell{u.Name, bold}, cell{text: strings.Join(urls, ", ")}, cell{text: login}, cell{text: senders})
	}
	ups.print(a.out)
}

// checked is what `check --json` prints.
type checked struct {
	Config    string            `json:"config"`
	Problems  gateway.Problems  `json:"problems"`
	Warnings  gateway.Problems  `json:"warnings"`
	Listen    []string          `json:"listen"`
	Upstreams []checkedUpstream `json:"upstreams"`
	Control   string            `json:"control"`
}

type checkedUpstream struct {
	Name string   `json:"name"`
	URLs []string `json:"urls"`
}

func (a *app) checkJSON() error {
	path, err := gateway.FindConfig(a.config)
	if err != nil {
		return &failure{code: exConfig, what: err}
	}
	result := checked{
		Config: path, Problems: gateway.Problems{}, Warnings: gateway.Problems{},
		Listen: []string{}, Upstreams: []checkedUpstream{},
	}
	cfg, err := gateway.Load(path)
	if problems, ok := errors.AsType[gateway.Problems](err); ok {
		result.Problems = problems
		if err := printJSON(a.out, result); err != nil {
			return err
		}
		return a.badConfig(path, problems)
	}
	if err != nil {
		return &failure{code: exConfig, what: err, next: "name another file with --config"}
	}
	result.Config, result.Control = cfg.Path, admin.SocketPath(cfg.DataDir)
	result.Warnings = append(result.Warnings, cfg.Warnings...)
	for _, l := range cfg.Listen {
		result.Listen = append(result.Listen, l.Address)
	}
	for _, u := range cfg.Upstreams {
		up := checkedUpstream{Name: u.Name}
		for _, e := range u.URLs {
			up.URLs = append(up.URLs, e.Raw)
		}
		result.Upstreams = append(result.Upstreams, up)
	}
	return printJSON(a.out, result)
}
