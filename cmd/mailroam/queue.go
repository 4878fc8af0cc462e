package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"mailroam/gateway"
	"mailroam/gateway/admin"
	"mailroam/queue"
)

func (a *app) queueCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "queue",
		Short: "See and change the mail that is queued",
		Long: `See and change the mail that is queued. All commands choose messages the same
way: by any unambiguous parts of their IDs, or by --from, --to, --message-id,
--state and --older, of which all must match; --all means every unfinished
message. Finished ones can be found with --state done for as long as queue.keep
says.`,
		Example: "  mailroam queue list --state queued,held\n  mailroam queue show --state done --message-id 20260701.4@example.com",
		RunE:    group,
	}
	c.AddCommand(a.queueListCommand(), a.queueShowCommand(), a.queueHoldCommand(), a.queueReleaseCommand(),
		a.queueRetryCommand(), a.queueFailCommand(), a.queueDropCommand())
	return c
}

// selector is the filter that all queue commands share.
type selector struct {
	all       bool
	from, to  string
	messageID string
	states    []string
	older     age
}

// inDoubt is not a state of its own for the store, but it is for people.
const inDoubt = "in-doubt"

var stateNames = []string{string(queue.Queued), string(queue.Leased), string(queue.Held), string(queue.Done), inDoubt}

// bind adds the filter's flags and how operands complete.
func (s *selector) bind(c *cobra.Command) {
	f := c.Flags()
	f.BoolVar(&s.all, "all", false, "every unfinished message")
	f.StringVar(&s.from, "from", "", "`part` of the sender's address; '<>' for notices")
	f.StringVar(&s.to, "to", "", "`part` of a recipient's address")
	f.StringVar(&s.messageID, "message-id", "", "`part` of the Message-ID")
	f.StringSliceVar(&s.states, "state", nil, "`state`: "+strings.Join(stateNames, ", "))
	f.Var(&s.older, "older", "accepted at least this `long` ago (90s, 15m, 2h, 3d)")
	_ = c.RegisterFlagCompletionFunc("state", cobra.FixedCompletions(stateNames, cobra.ShellCompDirectiveNoFileComp))
}

// selection is what the flags and operands of c say.
func (s *selector) selection(c *cobra.Command, ids []string) (admin.Selection, error) {
	sel := admin.Selection{IDs: ids, All: s.all, From: s.from, To: s.to, MessageID: strings.Trim(s.messageID, "<>")}
	for _, id := range ids {
		if !looksLikeID(id) {
			return sel, usage(c, "%q is no part of a message ID, which is made of letters and digits", queue.Printable(id, 64))
		}
	}
	for _, name := range s.states {
		switch {
		case name == inDoubt:
			sel.Doubt = true
		case slices.Contains(stateNames, name):
			sel.States = append(sel.States, queue.State(name))
		default:
			return sel, usage(c, "there is no state %q (there are %s)", name, strings.Join(stateNames, ", "))
		}
	}
	if s.older > 0 {
		sel.Before = time.Now().Add(-time.Duration(s.older))
	}
	return sel, nil
}

// noMatch says that nothing was found, and where else it may be: who looks for a
// message seldom knows how far it is.
func (a *app) noMatch(sel admin.Selection) {
	fmt.Fprintln(a.out, "No message matches.")
	if len(sel.IDs) == 0 && len(sel.States) == 0 && !sel.Doubt && sel.Narrow() {
		fmt.Fprintln(a.out, "Only unfinished ones were looked at; for the finished ones add --state done.")
	}
}

func looksLikeID(s string) bool {
	return s != "" && len(s) <= 26 && strings.IndexFunc(s, func(r rune) bool {
		return r < '0' || r > '9' && r < 'A' || r > 'Z' && r < 'a' || r > 'z'
	}) < 0
}

// age is a duration that also knows days.
type age time.Duration

func (d *age) String() string {
	if *d == 0 {
		return ""
	}
	return time.Duration(*d).String()
}

func (d *age) Type() string { return "duration" }

func (d *age) Set(s string) error {
	if days, ok := strings.CutSuffix(s, "d"); ok {
		if n, err := strconv.ParseFloat(days, 64); err == nil && n >= 0 && n < 36500 {
			*d = age(n * 24 * float64(time.Hour))
			return nil
		}
	} else if v, err := time.ParseDuration(s); err == nil && v >= 0 {
		*d = age(v)
		return nil
	}
	return errors.New("want a duration such as 90s, 15m, 2h or 3d")
}

// desk reads the queue: through the running gateway, or from the disk when
// none runs.
func (a *app) desk(ctx context.Context) (admin.Desk, func(), error) {
	cfg, client, err := a.client()
	if err != nil {
		return nil, nil, err
	}
	if err := client.Ping(ctx); err == nil || !errors.Is(err, admin.ErrNotRunning) {
		return client, func() {}, err
	}
	store, err := gateway.OpenQueue(cfg)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, nil, &failure{
			code: exNoInput, what: fmt.Errorf("there is no queue in %s yet", cfg.DataDir),
			next: "start the gateway: " + a.command("serve"),
		}
	case err != nil:
		return nil, nil, err
	}
	return admin.Direct{Store: store}, func() { _ = store.Close() }, nil
}
