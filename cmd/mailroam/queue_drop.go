package main

import (
	"github.com/spf13/cobra"

	"mailroam/queue"
)

func (a *app) queueDropCommand() *cobra.Command {
	return a.actCommand(action{
		verb:  queue.OpDrop,
		short: "Give messages up and tell nobody",
		long: `Give messages up and tell nobody. A message that is being sent is stopped before
its last step if there is time, else dropped when this attempt ends without
delivery.`,
		example: "  mailroam queue drop --from '<>' --state held",
		did:     "dropped",
		skipped: "finished",
	})
}
