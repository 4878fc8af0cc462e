//go:build linux

package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"mailroam/gateway/e2e/peers"
)

// sink takes mail as fast as it comes and notes when each message's final dot
// was read. It keeps nothing, understands only what a relay says to it, and
// answers a flight of commands with one write. The practice upstream of the
// gateway would do for small mail, but it holds each message whole, which at
// 5 MiB costs as much as the relay does.
type sink struct {
	addr string

	mu       sync.Mutex
	listener net.Listener
	conns    map[net.Conn]struct{}
	serving  sync.WaitGroup

	current atomic.Pointer[arrivals]
}

// arrivals are the messages of one measurement. Their recipients are
// r<run>-<n>@..., so that what comes late from an earlier one is not counted.
type arrivals struct {
	run   int
	began time.Time
	at    []atomic.Int64 // when the dot of message n was read, after began; 0: not yet
	twice atomic.Int64
	left  atomic.Int64
	all   chan struct{} // closed when every message has arrived
}

func newSink() (*sink, error) {
	// Below the range of outgoing connections: one of the loader's must not sit on
	// the port when the sink comes back.
	port, err := peers.FreePort()
	if err != nil {
		return nil, err
	}
	s := &sink{addr: fmt.Sprintf("127.0.0.1:%d", port), conns: make(map[net.Conn]struct{})}
	return s, s.up()
}

// expect starts a measurement of n messages.
func (s *sink) expect(run, n int, began time.Time) *arrivals {
	a := &arrivals{run: run, began: began, at: make([]atomic.Int64, n), all: make(chan struct{})}
	a.left.Store(int64(n))
	s.current.Store(a)
	return a
}

// down refuses connections from now on and cuts those there are.
func (s *sink) down() error {
	s.mu.Lock()
	err := s.listener.Close()
	for c := range s.conns {
		_ = c.Close()
	}
	s.mu.Unlock()
	s.serving.Wait()
	return err
}

// up listens, after down on the same address.
func (s *sink) up() error {
	listen := net.ListenConfig{KeepAlive: -1} // which would be four more calls a connection
	l, err := listen.Listen(context.Background(), "tcp", s.addr)
	if err != nil {
		return err
	}
	s.serve(l)
	return nil
}

func (s *sink) serve(l net.Listener) {
	s.mu.Lock()
	s.listener = l
	s.mu.Unlock()
	s.serving.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			s.mu.Lock()
			s.conns[c] = struct{}{}
			s.mu.Unlock()
			s.serving.Go(func() {
				_ = s.session(c) // a relay that breaks off shows as mail that does not arrive
				s.mu.Lock()
				delete(s.conns, c)
				s.mu.Unlock()
				_ = c.Close()
			})
		}
	})
}

var (
	ehloReply = []byte("250-sink.test\r\n250-PIPELINING\r\n250-SIZE 0\r\n250-8BITMIME\r\n250 ENHANCEDSTATUSCODES\r\n")
	ok        = []byte("250 2.0.0 ok\r\n")
	dataReply = []byte("354 go on\r\n")
	badReply  = []byte("500 5.5.1 what\r\n")
)

func (s *sink) session(c net.Conn) error {
	r := bufio.NewReaderSize(c, 32<<10)
	out := []byte("220 sink.test ESMTP\r\n")
	to := ""
	for {
		if r.Buffered() == 0 && len(out) > 0 { // the whole flight is read: answer it at once
			if _, err := c.Write(out); err != nil {
				return err
			}
			out = out[:0]
		}
		line, err := r.ReadSlice('\n')
		if err != nil {
			return err
		}
		if len(line) < 4 {
			return errors.New("line too short")
		}
		switch string(bytes.ToUpper(line[:4])) {
		case "EHLO", "HELO":
			out = append(out, ehloReply...)
		case "MAIL", "RSET", "NOOP":
			out = append(out, ok...)
		case "RCPT":
			to = string(line)
			out = append(out, ok...)
		case "DATA":
			if _, err := c.Write(append(out, dataReply...)); err != nil {
				return err
			}
			if err := skipBody(r); err != nil {
				return err
			}
			s.note(to)
			out = append(out[:0], ok...)
		case "QUIT":
			_, err := c.Write(append(out, "221 2.0.0 bye\r\n"...))
			return err
		default:
			out = append(out, badReply...)
		}
	}
}

// skipBody reads up to and with the final dot.
func skipBody(r *bufio.Reader) error {
	start := true // at the start of a line
	for {
		line, err := r.ReadSlice('\n')
		if start && string(line) == ".\r\n" {
			return nil
		}
		switch {
		case err == nil:
			start = true
		case errors.Is(err, bufio.ErrBufferFull):
			start = false
		default:
			return err
		}
	}
}

// note files the arrival of the message for RCPT TO:<r<run>-<n>@...>.
func (s *sink) note(rcpt string) {
	now := time.Now()
	a := s.current.Load()
	_, address, _ := bytes.Cut([]byte(rcpt), []byte("<r"))
	run, rest, _ := bytes.Cut(address, []byte("-"))
	number, _, _ := bytes.Cut(rest, []byte("@"))
	if got, err := strconv.Atoi(string(run)); a == nil || err != nil || got != a.run {
		return
	}
	n, err := strconv.Atoi(string(number))
	if err != nil || n >= len(a.at) {
		return
	}
	if !a.at[n].CompareAndSwap(0, int64(now.Sub(a.began))) {
		a.twice.Add(1)
		return
	}
	if a.left.Add(-1) == 0 {
		close(a.all)
	}
}
