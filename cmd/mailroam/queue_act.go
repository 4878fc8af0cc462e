package main

import (
	"fmt"

	"github.com/spf13/cobra"

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
				return printJSON(a.out, done)
			}
			a.printAffected(v, done)
			return nil
		},
	}
	s.bind(c)
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return c
}

// maxListed bounds the IDs that are printed one by one.
const maxListed = 20

func (a *app) printAffected(v action, done queue.Affected) {
	if done.Matched == 0 {
		fmt.Fprintln(a.out, "No message matches.")
		return
	}
	fmt.Fprintf(a.out, "%s %s.\n", count(done.Changed, "message"), v.did)
	if len(done.IDs) <= maxListed {
		for _, id := range done.IDs {
			fmt.Fprintln(a.out, "  "+id.String())
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
