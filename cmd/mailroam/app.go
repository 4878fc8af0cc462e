package main

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"mailroam/gateway"
	"mailroam/gateway/admin"
)

// app is what all commands share.
type app struct {
	out, err io.Writer
	colour   paint
	width    int    // of the terminal, 0: there is none
	program  string // how it was called, for command lines that work
	config   string // the flag
}

func (a *app) root() *cobra.Command {
	root := &cobra.Command{
		Use:   "mailroam",
		Short: "The way out for your mail: queue it safely, send it by the first upstream that works",
		Long: `mailroam takes mail over SMTP from the programs, people and devices around it,
keeps it safe on disk, and hands it to the first working server of your list.

New here? "mailroam demo" shows it at work, with nothing to configure.`,
		Example:       "  mailroam check",
		SilenceUsage:  true, // errors are one sentence; help is one command away
		SilenceErrors: true, // exit prints them
		Version:       buildVersion(),
		Args:          cobra.ArbitraryArgs, // group judges them
		RunE:          group,
		CompletionOptions: cobra.CompletionOptions{
			DisableDefaultCmd: true,
		},
	}
	root.SetOut(a.out)
	root.SetErr(a.err)
	root.SetVersionTemplate("mailroam {{.Version}}\n")
	root.SetFlagErrorFunc(func(c *cobra.Command, err error) error {
		return usage(c, "%w", err)
	})
	root.PersistentFlags().StringVar(&a.config, "config", "",
		"config `file` (default $MAILROAM_CONFIG, then\n$XDG_CONFIG_HOME/mailroam/config.toml, then\n/etc/mailroam/config.toml)")
	_ = root.MarkPersistentFlagFilename("config", "toml")
	root.SetHelpCommand(helpCommand())
	root.AddCommand(
		a.serveCommand(), a.checkCommand(), a.probeCommand(), a.statusCommand(), a.routeCommand(), a.explainCommand(), a.queueCommand(), a.sendTestCommand(),
		a.demoCommand(), a.sinkCommand(), a.versionCommand(), a.completionCommand(),
	)
	return root
}

// group runs a command that only holds others.
func group(c *cobra.Command, args []string) error {
	if len(args) == 0 {
		return c.Help()
	}
	next := "see: " + c.CommandPath() + " --help"
	if names := c.SuggestionsFor(args[0]); len(names) > 0 {
		next = "did you mean: " + c.CommandPath() + " " + names[0]
	}
	return &failure{code: exUsage, what: fmt.Errorf("there is no command %q", c.CommandPath()+" "+args[0]), next: next}
}

// noArgs is for commands without operands.
func noArgs(c *cobra.Command, args []string) error {
	if len(args) > 0 {
		return usage(c, "%q takes no operand, but got %q", c.CommandPath(), args[0])
	}
	return nil
}

// load reads the config, whichever it is.
func (a *app) load() (*gateway.Config, error) {
	path, err := gateway.FindConfig(a.config)
	if err != nil {
		return nil, &failure{code: exConfig, what: err}
	}
	cfg, err := gateway.Load(path)
	if problems, ok := errors.AsType[gateway.Problems](err); ok {
		for _, p := range problems {
			fmt.Fprintln(a.err, p)
		}
		return nil, a.badConfig(path, problems)
	}
	if err != nil {
		return nil, &failure{code: exConfig, what: err, next: "name another file with --config"}
	}
	return cfg, nil
}

// badConfig sums up problems that were printed.
func (a *app) badConfig(path string, problems gateway.Problems) error {
	next := "correct the file and look again: " + a.command("check")
	return &failure{code: exConfig, what: fmt.Errorf("%s in %s", count(len(problems), "problem"), path), next: next}
}

// client speaks to the gateway that the config describes.
func (a *app) client() (*gateway.Config, *admin.Client, error) {
	cfg, err := a.load()
	if err != nil {
		return nil, nil, err
	}
	return cfg, admin.NewClient(admin.SocketPath(cfg.DataDir)), nil
}

// command writes a command line that works for this user: with the --config
// that this one was given.
func (a *app) command(args ...string) string {
	line := append([]string{shellWord(a.program)}, args...)
	if a.config != "" {
		line = append(line, "--config", shellWord(a.config))
	}
	return strings.Join(line, " ")
}

// shellWord quotes s for a shell where it must be.
func shellWord(s string) string {
	plain := func(r rune) bool {
		return r < 0x80 && (r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("-_./:@%+=,", r))
	}
	if s != "" && strings.IndexFunc(s, func(r rune) bool { return !plain(r) }) < 0 {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}
