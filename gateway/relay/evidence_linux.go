package relay

import "golang.org/x/sys/unix"

// tcpClose and tcpCloseWait are states of TCP (RFC 9293 3.3.2), by Linux's
// numbers in tcp_states.h.
const (
	tcpClose     = 7
	tcpCloseWait = 8
)

// evidence asks the kernel how far the octet got that was written as the dot-th.
// Linux keeps its counters when a connection is reset or given up, until it is
// closed.
func (w *wire) evidence(dot int64) evidence {
	if w.raw == nil {
		return inDoubt
	}
	c := tcp{later: int(w.wrote - dot)}
	var err error
	look := func(fd uintptr) {
		var info *unix.TCPInfo
		if info, err = unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO); err != nil {
			return
		}
		c.dead, c.ended, c.unsent = info.State == tcpClose, info.State == tcpCloseWait, int(info.Notsent_bytes)
		c.waiting, err = unix.IoctlGetInt(int(fd), unix.SIOCOUTQ)
	}
	if w.raw.Control(look) != nil || err != nil {
		return inDoubt
	}
	return c.tell()
}

// unheard says that what was sent last, and again, is not acknowledged.
func (w *wire) unheard() (deaf bool) {
	if w.raw == nil {
		return false
	}
	_ = w.raw.Control(func(fd uintptr) {
		info, err := unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO)
		deaf = err == nil && info.Unacked > 0 && info.Retransmits >= unheardResends
	})
	return deaf
}
