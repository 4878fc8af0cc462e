package main

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"mailroam/gateway"
)

func (a *app) serveCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "serve",
		Short: "Run the gateway in the foreground",
		Long: `Run the gateway in the foreground. It logs to stderr, one line per event, and
takes mail as soon as its port answers. SIGTERM or SIGINT let what is being sent
come to its end and then stop it, SIGHUP makes it read the config again; a new
config that is wrong is logged, and the old one stays.`,
		Example: "  mailroam serve",
		Args:    noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			return a.serve(c.Context())
		},
	}
}

func (a *app) serve(ctx context.Context) error {
	cfg, err := a.load()
	if err != nil {
		return err
	}
	log := newLogger(a.err, cfg.Log)
	for _, w := range cfg.Warnings {
		log.Warn("alert", "text", w.OneLine())
	}
	g, err := gateway.New(cfg, buildVersion(), log)
	if err != nil {
		return err
	}
	hup := make(chan os.Signal, 1)
	signal.Notify(hup, syscall.SIGHUP)
	defer signal.Stop(hup)
	ended := make(chan error, 1)
	go func() { ended <- g.Run(ctx) }()
	for {
		select {
		case err := <-ended:
			return err
		case <-hup:
			next, err := gateway.Load(cfg.Path)
			if err != nil {
				log.Error("alert", "text", "the new config is wrong, the old one stays: "+firstWrong(err))
				continue
			}
			g.Reload(next)
		}
	}
}

// firstWrong is what is wrong with a config in a line of the log: `check` says
// all of it.
func firstWrong(err error) string {
	problems, ok := errors.AsType[gateway.Problems](err)
	if !ok || len(problems) == 0 {
		return err.Error()
	}
	text := problems[0].OneLine()
	if more := len(problems) - 1; more > 0 {
		text += "; and " + count(more, "problem") + " more"
	}
	return text
}

func newLogger(w io.Writer, c gateway.LogConfig) *slog.Logger {
	var level slog.Level
	_ = level.UnmarshalText([]byte(c.Level)) // the config was checked
	o := &slog.HandlerOptions{Level: level}
	if c.Format == "json" {
		o.ReplaceAttr = inMilliseconds
		return slog.New(slog.NewJSONHandler(w, o))
	}
	return slog.New(slog.NewTextHandler(w, o))
}

// inMilliseconds writes spans in JSON, which has no units, as took_ms has them
// elsewhere.
func inMilliseconds(_ []string, a slog.Attr) slog.Attr {
	if a.Value.Kind() == slog.KindDuration {
		return slog.Int64(a.Key, a.Value.Duration().Milliseconds())
	}
	return a
}
