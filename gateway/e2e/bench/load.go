//go:build linux

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// load is one measurement: so many messages of a size over so many sessions.
type load struct {
	messages int
	sessions int
	size     int
	keep     bool // one connection for all messages of a session, not one each
	deadline time.Duration
}

// sent is what the loader saw.
type sent struct {
	began    time.Time
	connect  []time.Duration // when message n's connection was begun, after began
	accepted []time.Duration // when its 250 was read
}

// last is when the last message was accepted.
func (s *sent) last() time.Duration { return slices.Max(s.accepted) }

// submit runs a load against addr. recipient run-n names message n.
func (l load) submit(ctx context.Context, addr string, run int, began time.Time) (*sent, error) {
	ctx, cancel := context.WithTimeout(ctx, l.deadline)
	defer cancel()
	body := message(l.size)
	s := &sent{began: began, connect: make([]time.Duration, l.messages), accepted: make([]time.Duration, l.messages)}
	var next atomic.Int64
	var workers sync.WaitGroup
	errs := make([]error, l.sessions)
	for i := range l.sessions {
		workers.Go(func() {
			if errs[i] = l.session(ctx, addr, run, &next, body, s); errs[i] != nil {
				cancel()
			}
		})
	}
	workers.Wait()
	return s, errors.Join(errs...)
}

func (l load) session(ctx context.Context, addr string, run int, next *atomic.Int64, body []byte, s *sent) error {
	var c *client
	defer func() {
		if c != nil {
			_ = c.Close()
		}
	}()
	for {
		n := int(next.Add(1)) - 1
		if n >= l.messages {
			if c != nil {
				return c.turn("QUIT\r\n", "221")
			}
			return nil
		}
		s.connect[n] = time.Since(s.began)
		if c == nil {
			var err error
			if c, err = dial(ctx, addr); err != nil {
				return err
			}
		}
		if err := c.mail(run, n, body); err != nil {
			return fmt.Errorf("message %d: %w", n, err)
		}
		s.accepted[n] = time.Since(s.began)
		if !l.keep {
			if err := c.turn("QUIT\r\n", "221"); err != nil {
				return err
			}
			_ = c.Close()
			c = nil
		}
	}
}

// client speaks SMTP in lock-step: one write and, as a rule, one read a turn.
type client struct {
	net.Conn
	stop func() bool // of what ends the dialogue with its context
	buf  [512]byte
}

func (c *client) Close() error {
	c.stop()
	return c.Conn.Close()
}

func dial(ctx context.Context, addr string) (*client, error) {
	// Go sets TCP_NODELAY. Keep-alive would be four more calls a connection.
	conn, err := (&net.Dialer{KeepAlive: -1}).DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	// A deadline that has passed ends whatever read or write is under way.
	c := &client{Conn: conn, stop: context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })}
	if err := c.want("220"); err != nil {
		return nil, errors.Join(err, c.Close())
	}
	if err := c.turn("EHLO client.example\r\n", "250"); err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return c, nil
}

func (c *client) mail(run, n int, body []byte) error {
	if err := c.turn("MAIL FROM:<ann@example.org>\r\n", "250"); err != nil {
		return err
	}
	if err := c.turn(fmt.Sprintf("RCPT TO:<r%d-%d@example.net>\r\n", run, n), "250"); err != nil {
		return err
	}
	if err := c.turn("DATA\r\n", "354"); err != nil {
		return err
	}
	if _, err := c.Write(body); err != nil {
		return err
	}
	return c.want("250")
}

func (c *client) turn(line, code string) error {
	if _, err := c.Write([]byte(line)); err != nil {
		return err
	}
	return c.want(code)
}

// want reads one whole reply and checks its code.
func (c *client) want(code string) error {
	n := 0
	for {
		m, err := c.Read(c.buf[n:])
		n += m
		if reply := c.buf[:n]; complete(reply) {
			if !bytes.HasPrefix(reply, []byte(code)) {
				return fmt.Errorf("got %q, want %s", reply, code)
			}
			return nil
		}
		if err != nil {
			return fmt.Errorf("waiting for %s: %w", code, err)
		}
		if n == len(c.buf) {
			return fmt.Errorf("reply too long: %q", c.buf)
		}
	}
}

// complete says whether a reply ends with its last line, "250 text".
func complete(reply []byte) bool {
	if !bytes.HasSuffix(reply, []byte("\n")) {
		return false
	}
	last := reply[bytes.LastIndexByte(reply[:len(reply)-1], '\n')+1:]
	return len(last) < 4 || last[3] != '-'
}

// message is size octets of mail with the final dot behind them.
func message(size int) []byte {
	var b bytes.Buffer
	b.WriteString("Date: Sun, 22 Nov 2026 08:00:00 +0000\r\nFrom: ann@example.org\r\nTo: bob@example.net\r\n" +
		"Message-ID: <1@client.example>\r\nSubject: bench\r\n\r\n")
	line := strings.Repeat("0123456789abcdef", 5)[:76] + "\r\n"
	for size-b.Len() >= 2*len(line) {
		b.WriteString(line)
	}
	if rest := size - b.Len(); rest >= 2 {
		b.WriteString(strings.Repeat("x", rest-2) + "\r\n")
	}
	b.WriteString(".\r\n")
	return b.Bytes()
}
