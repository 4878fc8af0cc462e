//go:build linux

package lab

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"sync"

	"golang.org/x/sys/unix"
)

// What must not be seen outside proven TLS: it is unlike anything else that is
// sent.
const (
	password = "heron-purple-Password-93"
	sender   = "kestrel.sender"
	secret   = "the-otter-in-the-body-sleeps"
)

// needles are the secrets as they could be seen on a wire: AUTH encodes a
// password, at any of three offsets.
func needles() [][]byte {
	all := [][]byte{[]byte(password), []byte(sender), []byte(secret)}
	for offset := range 3 {
		padded := append(bytes.Repeat([]byte{0}, offset), password...)
		padded = padded[:len(padded)/3*3] // what follows would change the last letters
		encoded := base64.StdEncoding.EncodeToString(padded)
		all = append(all, []byte(encoded[(offset*4+2)/3:]))
	}
	return all
}

// scanner counts needles in a stream that comes in pieces.
type scanner struct {
	needles [][]byte
	tail    []byte
}

func (s *scanner) scan(b []byte) (found int) {
	const longest = 64
	all := append(s.tail, b...)
	for _, n := range s.needles {
		for at := 0; ; {
			i := bytes.Index(all[at:], n)
			if i < 0 {
				break
			}
			at += i + len(n)
			if at > len(s.tail) { // else it was counted with the last piece
				found++
			}
		}
	}
	s.tail = append([]byte{}, all[max(0, len(all)-longest):]...)
	return found
}

// tap sees every frame that a router and its stations exchange.
type tap struct {
	fd int

	mu      sync.Mutex
	flows   map[string]*scanner
	octets  int // of TCP payload from the stations
	found   int
	missed  bool // the kernel dropped frames before we saw them
	needles [][]byte
}

func startTap(n netns, dev string) (*tap, error) {
	t := &tap{flows: map[string]*scanner{}, needles: needles()}
	err := n.do(func() error {
		const all = unix.ETH_P_ALL>>8 | unix.ETH_P_ALL<<8&0xff00 // in network order
		fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, all)
		if err != nil {
			return err
		}
		link, err := ifindex(fd, dev)
		if err != nil {
			return err
		}
		t.fd = fd
		_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 64<<20)
		return unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: all, Ifindex: link})
	})
	if err != nil {
		return nil, fmt.Errorf("tapping %s of %s: %w", dev, n, err)
	}
	go t.listen()
	return t, nil
}

func ifindex(fd int, dev string) (int, error) {
	req, err := unix.NewIfreq(dev)
	if err != nil {
		return 0, err
	}
	if err := unix.IoctlIfreq(fd, unix.SIOCGIFINDEX, req); err != nil {
		return 0, err
	}
	return int(req.Uint32()), nil
}

func (t *tap) listen() {
	frame := make([]byte, 128<<10)
	for {
		n, from, err := unix.Recvfrom(t.fd, frame, 0)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return
		}
		link, ok := from.(*unix.SockaddrLinklayer)
		if flow, payload := segment(frame[:n]); ok && len(payload) > 0 {
			t.see(flow, payload, link.Pkttype != unix.PACKET_OUTGOING)
		}
	}
}

func (t *tap) see(flow string, payload []byte, up bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	s := t.flows[flow]
	if s == nil {
		s = &scanner{needles: t.needles}
		t.flows[flow] = s
	}
	if up {
		t.octets += len(payload)
	}
	t.found += s.scan(payload)
}

// seen is how many secrets went by since the beginning.
func (t *tap) seen() (found int, whole bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if stats, err := unix.GetsockoptTpacketStats(t.fd, unix.SOL_PACKET, unix.PACKET_STATISTICS); err == nil && stats.Drops > 0 {
		t.missed = true
	}
	return t.found, !t.missed
}

// sent is how many octets the stations have sent since the beginning.
func (t *tap) sent() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.octets
}

// segment gives what a frame carries for TCP, and the flow it belongs to.
func segment(frame []byte) (flow string, payload []byte) {
	if len(frame) < 14 {
		return "", nil
	}
	p := frame[14:]
	var addrs, tcp []byte
	switch binary.BigEndian.Uint16(frame[12:]) {
	case unix.ETH_P_IP:
		if len(p) < 20 || p[9] != unix.IPPROTO_TCP {
			return "", nil
		}
		header, total := int(p[0]&15)*4, int(binary.BigEndian.Uint16(p[2:]))
		if total == 0 || total > len(p) {
			total = len(p)
		}
		if header > total {
			return "", nil
		}
		addrs, tcp = p[12:20], p[header:total]
	case unix.ETH_P_IPV6:
		if len(p) < 40 || p[6] != unix.IPPROTO_TCP {
			return "", nil
		}
		addrs, tcp = p[8:40], p[40:]
	default:
		return "", nil
	}
	if len(tcp) < 20 || int(tcp[12]>>4)*4 > len(tcp) {
		return "", nil
	}
	return string(addrs) + string(tcp[:4]), tcp[int(tcp[12]>>4)*4:]
}
