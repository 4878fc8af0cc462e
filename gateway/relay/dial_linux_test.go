package relay

import (
	"net"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// TestUserTimeout: our own connections do not wait a quarter of an hour for a
// peer that is gone.
func TestUserTimeout(t *testing.T) {
	e := onTCP(t, func(l net.Listener) {
		if c, err := l.Accept(); err == nil {
			_ = c.Close()
		}
	})
	c, err := New(Options{}).opts.Dial(t.Context(), "tcp", e.address())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	raw, err := c.(syscall.Conn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	var ms int
	if e := raw.Control(func(fd uintptr) {
		ms, err = unix.GetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT)
	}); e != nil || err != nil || ms != 30_000 {
		t.Errorf("the user time-out is %d ms, %v, %v", ms, e, err)
	}
}
