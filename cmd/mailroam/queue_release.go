package main

import (
	"github.com/spf13/cobra"

	"mailroam/queue"
)

func (a *app) queueReleaseCommand() *cobra.Command {
	return a.actCommand(action{
		verb:    queue.OpRelease,
		short:   "Let held messages go, now",
		example: "  mailroam queue release --state held",
		did:     "released",
		skipped: "not held",
	})
}
