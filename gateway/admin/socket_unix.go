//go:build unix

package admin

import "syscall"

// onlyOurs narrows the mode before the bind, so that there is no moment at
// which others may connect.
func onlyOurs(_, _ string, c syscall.RawConn) error {
	var err error
	if cerr := c.Control(func(fd uintptr) { err = syscall.Fchmod(int(fd), 0o600) }); cerr != nil {
		return cerr
	}
	return err
}
