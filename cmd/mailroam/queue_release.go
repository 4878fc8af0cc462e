package main

import (
	"github.com/spf13/cobra"

	"mailroam/queue"
)

func (a *app) queueReleaseCommand() *cobra.Command {
	return a.actCommand(action{
		verb:  queue.OpRelease,
		short: "Let held messages go, now",
		long: `Let held messages go, now: what you held, and what mailroam held for you. Their
time begins anew. A message that an upstream may already have asks that upstream
first.`,
		example: "  mailroam queue release --state held",
		did:     "released",
		skipped: "not held",
	})
}
