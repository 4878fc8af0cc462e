package bolt

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"syscall"

	"mailroam/queue"
)

// busy names the process that has the queue, if it is known.
func busy(dir string) error {
	if pid, ok := server(dir); ok {
		return fmt.Errorf("%w: process %d has it open", queue.ErrBusy, pid)
	}
	return fmt.Errorf("%w: another mailroam command has it open", queue.ErrBusy)
}

// server reads which process serves the queue. One that was killed has left its
// number behind.
func server(dir string) (pid int, alive bool) {
	b, err := os.ReadFile(filepath.Join(dir, filePID))
	if err != nil {
		return 0, false
	}
	if pid, err = strconv.Atoi(string(b)); err != nil {
		return 0, false
	}
	p, err := os.FindProcess(pid)
	if err != nil {
		return 0, false
	}
	err = p.Signal(syscall.Signal(0)) // asks only; a process of another user refuses
	return pid, err == nil || errors.Is(err, syscall.EPERM)
}
