package relay

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"time"
)

// Faults of the account that no reply tells.
var (
	// ErrPassword says that the secret could not be had: its file, its
	// variable or its command failed. Nothing was sent.
	ErrPassword = errors.New("no password")

	errMechanism = errors.New("no way to log in that both sides know")
	errClear     = errors.New("a password goes only over verified TLS")
)

func (u *Upstream) logsIn() bool {
	return u.opts.Auth != "none" && u.opts.Username != ""
}

// login authenticates (RFC 4954). It has its own time: neither the end of the
// whole set-up nor that of wanted cuts an AUTH under way, since a provider may
// count that as a failed login; but none begins after the end of wanted.
func (u *Upstream) login(ctx, wanted context.Context, c *conn, b budget) *Error {
	if !u.logsIn() {
		return nil
	}
	if !c.secure && !(c.endpoint.loopback() && isLoopback(c.wire.RemoteAddr())) {
		return &Error{Stage: Auth, Err: errClear}
	}
	mechanism := u.mechanism(c.caps.auth)
	if mechanism == "" {
		return &Error{Stage: Auth, Err: fmt.Errorf("%w: the server offers %q, auth is %q", errMechanism, c.caps.auth, u.opts.Auth)}
	}
	password, err := u.opts.Password(ctx)
	if err != nil {
		return &Error{Stage: Auth, Err: fmt.Errorf("%w: %w", ErrPassword, err)}
	}
	if wanted.Err() != nil { // the password may have taken its time
		return &Error{Stage: Auth, Err: context.Cause(wanted)}
	}
	if !c.seat.enter(loggingIn) {
		return &Error{Stage: Auth, Err: ErrRoamed}
	}
	defer context.AfterFunc(ctx, c.abort)()
	defer func() { clear(c.out[:cap(c.out)]) }()
	r, err := c.authenticate(mechanism, u.opts.Username, password, time.Now().Add(b.setup))
	still := c.seat.enter(open)
	if fault := positive(Auth, r, err); fault != nil {
		fault.Reply.Text = redact(fault.Reply.Text, u.opts.Username, password)
		if errors.Is(fault.Err, errReplySyntax) {
			fault.Err = errReplySyntax // without quoting what may echo the secret
		}
		return fault
	}
	if !still {
		return &Error{Stage: Auth, Err: ErrRoamed}
	}
	return nil
}

// mechanism picks what both sides can do, "" if there is nothing.
func (u *Upstream) mechanism(offered []string) string {
	for _, m := range []string{"PLAIN", "LOGIN"} {
		if slices.Contains(offered, m) && (u.opts.Auth == "" || u.opts.Auth == "auto" || strings.EqualFold(u.opts.Auth, m)) {
			return m
		}
	}
	return ""
}

func isLoopback(a net.Addr) bool {
	t, ok := a.(*net.TCPAddr)
	return !ok || t.IP.IsLoopback()
}

// authenticate runs the exchange. What a server writes in its prompts is its
// own affair; how often it asks is not.
func (c *conn) authenticate(mechanism, user, password string, by time.Time) (Reply, error) {
	line, answers := "AUTH LOGIN", []string{encode(user), encode(password)}
	if mechanism == "PLAIN" {
		response := encode("\x00" + user + "\x00" + password) // RFC 4616
		// Asked for again only by a server that takes no initial response.
		line, answers = "AUTH PLAIN "+response, []string{response}
	}
	for {
		r, err := c.command(line, by)
		if err != nil || r.Code != 334 {
			return r, err
		}
		if len(answers) == 0 {
			return r, fmt.Errorf("%w: asked once too often while logging in", errUnexpected)
		}
		line, answers = answers[0], answers[1:]
	}
}

func encode(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }

// redact removes the secret from a reply that repeats it.
func redact(text, user, password string) string {
	if password == "" {
		return text
	}
	for _, s := range []string{encode("\x00" + user + "\x00" + password), encode(password), password} {
		text = strings.ReplaceAll(text, s, "***")
	}
	return text
}
