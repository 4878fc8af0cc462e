package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"mailroam/gateway/admin"
	"mailroam/queue"
)

// action is a verb of the queue as a command.
type action struct {
	verb    queue.Verb
	short   string
	long    string
	example string
	did     string // "held": what is said of messages that were changed
	skipped string // why others were not
	besides string // what --all does besides, "" for nothing
}

// actCommand makes the command for a verb: they differ in words only.
func (a *app) actCommand(v action) *cobra.Command {
	var s selector
	var asJSON bool
	c := &cobra.Command{
		Use:     string(v.verb) + " [ID…]",
		Short:   v.short,
		Long:    v.long,
		Example: v.example,
		RunE: func(c *cobra.Command, args []string) error {
			sel, err := s.selection(c, args)
			if err != nil {
				return err
			}
			if !sel.All && !sel.Narrow() {
				return noneMeant(c)
			}
			_, client, err := a.client()
			if err != nil {
				return err
			}
			done, err := client.Apply(c.Context(), v.verb, sel)
			if err != nil {
				return err
			}
			if asJSON {
				if done.IDs == nil {
					done.IDs = []queue.ID{} // a script loops over it
				}
				return printJSON(a.out, done)
			}
			a.printAffected(v, done, wished(c.Context(), client, v.verb, done))
			if sel.All && v.besides != "" {
				fmt.Fprintln(a.out, v.besides)
			}
			return nil
		},
	}
	s.bind(c)
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return c
}

// maxListed bounds the IDs that are printed one by one.
const maxListed = 20

// wished finds those that are still being sent: until the next dot or the end
// of the attempt the verb is only a wish.
func wished(ctx context.Context, client *admin.Client, verb queue.Verb, done queue.Affected) map[queue.ID]bool {
	if queue.WantOf(verb) == queue.WantNothing || len(done.IDs) == 0 || len(done.IDs) > maxListed {
		return nil // or none is printed
	}
	var s admin.Selection
	for _, id := range done.IDs {
		s.IDs = append(s.IDs, id.String())
	}
	still := map[queue.ID]bool{}
	for m, err := range client.Messages(ctx, s) {
		if err != nil {
			return still
		}
		still[m.ID] = m.State == queue.Leased
	}
	return still
}

func (a *app) printAffected(v action, done queue.Affected, wished map[queue.ID]bool) {
	if done.Matched == 0 {
		fmt.Fprintln(a.out, "No message matches.")
		return
	}
	fmt.Fprintf(a.out, "%s %s.\n", count(done.Changed, "message"), v.did)
	if len(done.IDs) <= maxListed {
		for _, id := range done.IDs {
			line := "  " + id.String()
			if wished[id] {
				line += "  is being sent: " + v.did + " unless this attempt delivers it"
			}
			fmt.Fprintln(a.out, line)
		}
	}
	if left := done.Matched - done.Changed; left > 0 {
		was := "it was"
		if left > 1 {
			was = "they were"
		}
		fmt.Fprintf(a.out, "%s left as %s: %s.\n", count(left, "message"), was, v.skipped)
	}
}
