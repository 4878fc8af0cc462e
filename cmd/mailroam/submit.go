package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/mail"
	"net/textproto"
	"strings"
	"time"

	"mailroam/queue"
)

// letter is a message that mailroam's own commands submit.
type letter struct {
	from, to, subject string
	lines             []string
}

func (l letter) text(now time.Time) string {
	lines := append([]string{
		"From: <" + l.from + ">",
		"To: <" + l.to + ">",
		"Subject: " + l.subject,
		"Date: " + now.Format(time.RFC1123Z),
		"Auto-Submitted: auto-generated", // so that nobody answers it (RFC 3834)
		"",
	}, l.lines...)
	return strings.Join(lines, "\r\n") + "\r\n"
}

// submitTimeout bounds each step of a submission.
const submitTimeout = 30 * time.Second

// errNoID: the server took the message without naming it.
var errNoID = errors.New("took the message but named no queue ID: it is no mailroam")

// submit hands l to the gateway that listens on addr, through its real front
// door, and gives the ID that the reply to the dot names. A refusal is a
// *textproto.Error.
func submit(ctx context.Context, addr string, l letter) (queue.ID, error) {
	d := net.Dialer{Timeout: submitTimeout}
	conn, err := d.DialContext(ctx, "tcp", addr)
	if err != nil {
		return queue.ID{}, err
	}
	defer context.AfterFunc(ctx, func() { _ = conn.Close() })()
	_ = conn.SetDeadline(time.Now().Add(submitTimeout))
	c := textproto.NewConn(conn)
	defer func() { _ = c.Close() }()

	if _, _, err := c.ReadResponse(220); err != nil {
		return queue.ID{}, err
	}
	for _, step := range []struct {
		line string
		want int
	}{
		{"EHLO [127.0.0.1]", 250},
		{"MAIL FROM:<" + l.from + ">", 250},
		{"RCPT TO:<" + l.to + ">", 25},
		{"DATA", 354},
	} {
		if err := c.PrintfLine("%s", step.line); err != nil {
			return queue.ID{}, err
		}
		if _, _, err := c.ReadResponse(step.want); err != nil {
			return queue.ID{}, err
		}
	}
	body := c.DotWriter()
	if _, err := body.Write([]byte(l.text(time.Now()))); err != nil {
		return queue.ID{}, err
	}
	if err := body.Close(); err != nil {
		return queue.ID{}, err
	}
	_, text, err := c.ReadResponse(250)
	if err != nil {
		return queue.ID{}, err
	}
	_ = c.PrintfLine("QUIT")
	return queuedAs(text)
}

// queuedAs reads the ID out of "2.0.0 queued as ID".
func queuedAs(text string) (queue.ID, error) {
	for word := range strings.FieldsSeq(text) {
		if id, err := queue.ParseID(word); err == nil {
			return id, nil
		}
	}
	return queue.ID{}, errNoID
}

// bareAddress says whether s is an address and nothing else.
func bareAddress(s string) bool {
	a, err := mail.ParseAddress(s)
	return err == nil && a.Name == "" && a.Address == s && strings.IndexFunc(s, func(r rune) bool { return r <= ' ' || r >= 0x7f }) < 0
}

// dialable turns an address that is listened on into one that can be dialled.
func dialable(addr string) (string, error) {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return "", fmt.Errorf("the gateway's address: %w", err)
	}
	switch host {
	case "", "0.0.0.0":
		host = "127.0.0.1"
	case "::":
		host = "::1"
	}
	return net.JoinHostPort(host, port), nil
}
