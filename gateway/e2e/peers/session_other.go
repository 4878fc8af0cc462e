//go:build !unix

package peers

import (
	"os"
	"syscall"
)

// leadSession can do nothing here.
func leadSession(*syscall.SysProcAttr) {}

// killSession kills the process alone: there are no groups here.
func killSession(leader int) {
	if p, err := os.FindProcess(leader); err == nil {
		_ = p.Kill()
	}
}
