//go:build !linux

package relay

import "syscall"

// setUserTimeout does nothing where TCP has no user time-out to set; there the
// deadlines of each step have to do.
func setUserTimeout(_, _ string, _ syscall.RawConn) error { return nil }
