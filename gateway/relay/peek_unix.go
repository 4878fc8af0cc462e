//go:build unix

package relay

import (
	"io"
	"os"

	"golang.org/x/sys/unix"
)

const canPeek = true

// readNow reads what has arrived on a non-blocking descriptor.
func readNow(fd uintptr, p []byte) (int, error) {
	for {
		n, err := unix.Read(int(fd), p)
		switch {
		case err == unix.EINTR:
		case err == unix.EAGAIN:
			return 0, os.ErrDeadlineExceeded
		case err != nil:
			return 0, os.NewSyscallError("read", err)
		case n == 0:
			return 0, io.EOF
		default:
			return n, nil
		}
	}
}
