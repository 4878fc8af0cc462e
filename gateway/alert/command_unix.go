//go:build unix

package alert

import (
	"os/exec"
	"syscall"
)

// ownGroup makes what the command started end with it when it is killed.
func ownGroup(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
}
