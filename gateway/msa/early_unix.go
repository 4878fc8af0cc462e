//go:build unix

package msa

import (
	"net"
	"syscall"

	"golang.org/x/sys/unix"
)

// spokeEarly says whether input waits on nc, without waiting for it.
func spokeEarly(nc net.Conn) bool {
	sc, ok := nc.(syscall.Conn)
	if !ok {
		return false
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return false
	}
	var b [1]byte
	n := 0
	err = raw.Read(func(fd uintptr) bool {
		n, _, _ = unix.Recvfrom(int(fd), b[:], unix.MSG_PEEK|unix.MSG_DONTWAIT)
		return true
	})
	return err == nil && n > 0
}
