package main

import (
	"github.com/spf13/cobra"

	"mailroam/queue"
)

func (a *app) queueHoldCommand() *cobra.Command {
	return a.actCommand(action{
		verb:  queue.OpHold,
		short: "Keep messages back until they are released",
		long: `Keep messages back until "queue release" lets them go. A message that is being
sent is stopped before its last step if there is time, else held when this
attempt ends without delivery.`,
		example: "  mailroam queue hold --to @example.net",
		did:     "held",
		skipped: "held already, or finished",
	})
}
