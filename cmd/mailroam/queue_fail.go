package main

import (
	"github.com/spf13/cobra"

	"mailroam/queue"
)

func (a *app) queueFailCommand() *cobra.Command {
	return a.actCommand(action{
		verb:    queue.OpFail,
		short:   "Give messages up and tell their senders",
		long:    `Give messages up now: their senders get a notice that says so.`,
		example: "  mailroam queue fail --to @example.invalid",
		did:     "failed, with a notice to each sender",
		skipped: "being sent (hold it first), or finished",
	})
}
