package main

import (
	"github.com/spf13/cobra"

	"mailroam/queue"
)

func (a *app) queueRetryCommand() *cobra.Command {
	return a.actCommand(action{
		verb:  queue.OpRetry,
		short: "Try messages now instead of later",
		long: `Try messages now instead of later, and forget that upstreams refused them.
"queue retry --all" flushes the queue, and lets upstreams be asked again that
refused a sender, or mail by policy, also where none waits for it. Held mail
stays held, and a message that an upstream may already have asks that upstream
first.`,
		example: "  mailroam queue retry --all",
		did:     "due now",
		skipped: "held, being sent, or finished",
		besides: "Upstreams that refused a sender, or mail by policy, are asked again.",
	})
}
