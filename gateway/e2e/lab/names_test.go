//go:build linux

package lab

import (
	"encoding/binary"
	"net"
	"net/netip"
	"strings"
	"sync/atomic"
	"time"
)

// mood is how a name server answers.
type mood int32

const (
	right    mood = iota
	dead          // not at all
	lying         // every name is the router, as portals do
	denying       // no name exists
	dawdling      // right, after three seconds
)

// nameserver answers for the providers' names.
type nameserver struct {
	mood  atomic.Int32
	conn  net.PacketConn
	names map[string][]netip.Addr
	lie   netip.Addr
}

func startNames(n netns, self netip.Addr, names map[string][]netip.Addr) (*nameserver, error) {
	s := &nameserver{names: names, lie: self}
	err := n.do(func() (err error) {
		s.conn, err = net.ListenPacket("udp", netip.AddrPortFrom(self, 53).String())
		return err
	})
	if err == nil {
		go s.serve()
	}
	return s, err
}

func (s *nameserver) be(m mood) { s.mood.Store(int32(m)) }

func (s *nameserver) serve() {
	for {
		b := make([]byte, 1500)
		n, from, err := s.conn.ReadFrom(b)
		if err != nil {
			return
		}
		m := mood(s.mood.Load())
		reply := s.answer(b[:n], m)
		switch {
		case reply == nil || m == dead:
		case m == dawdling:
			time.AfterFunc(3*time.Second, func() { _, _ = s.conn.WriteTo(reply, from) })
		default:
			_, _ = s.conn.WriteTo(reply, from)
		}
	}
}

// answer makes the reply to a query of one question (RFC 1035 4.1); nil when it
// is none.
func (s *nameserver) answer(query []byte, m mood) []byte {
	if len(query) < 12 || binary.BigEndian.Uint16(query[4:]) != 1 {
		return nil
	}
	var labels []string
	at := 12
	for at < len(query) && query[at] != 0 {
		end := at + 1 + int(query[at])
		if end >= len(query) {
			return nil
		}
		labels = append(labels, string(query[at+1:end]))
		at = end
	}
	if at+5 > len(query) {
		return nil
	}
	asked := binary.BigEndian.Uint16(query[at+1:])
	addrs, known := s.names[strings.ToLower(strings.Join(labels, "."))]
	switch m {
	case lying:
		addrs, known = []netip.Addr{s.lie}, true
	case denying:
		known = false
	}
	const isReply, recursion, noSuchName = 0x8000, 0x0180, 3
	flags := uint16(isReply | recursion)
	if !known {
		flags |= noSuchName
	}
	var answers []byte
	count := uint16(0)
	for _, a := range addrs {
		if kind := uint16(1 + 27*(a.BitLen()/128)); known && kind == asked { // A is 1, AAAA 28 (RFC 3596)
			answers = append(answers, 0xc0, 12) // the name of the question
			answers = binary.BigEndian.AppendUint16(answers, kind)
			answers = append(answers, 0, 1, 0, 0, 0, 60) // IN, for a minute
			answers = binary.BigEndian.AppendUint16(answers, uint16(a.BitLen()/8))
			answers = append(answers, a.AsSlice()...)
			count++
		}
	}
	reply := append([]byte{}, query[:2]...)
	for _, v := range []uint16{flags, 1, count, 0, 0} {
		reply = binary.BigEndian.AppendUint16(reply, v)
	}
	reply = append(reply, query[12:at+5]...)
	return append(reply, answers...)
}
