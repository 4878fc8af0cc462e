package relay

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"os"
	"time"
)

// Faults of identity: who answers is not proven.
var (
	errNoStartTLS = errors.New("STARTTLS is not offered, though it is required; somebody may be hiding it")
	errInjected   = errors.New("octets came in the clear after STARTTLS")
	errHandshake  = errors.New("TLS handshake")
)

var errNoEndpoint = errors.New("no endpoint is configured")

var errTooLong = fmt.Errorf("not ready for mail within the time there is: %w", os.ErrDeadlineExceeded)

// connect makes a session that is ready for MAIL at the first endpoint that
// allows it, the one that last worked before all others. A refused login ends
// the search: every endpoint is the same account. ctx ends everything, wanted,
// which is derived from it, everything but an AUTH under way.
func (u *Upstream) connect(ctx, wanted context.Context, b budget) (*conn, error) {
	first := int(u.won.Load())
	worst := &Error{Stage: Resolve, Err: errNoEndpoint}
	for i := range u.opts.Endpoints {
		at := order(first, i)
		c, fault := u.open(wanted, u.opts.Endpoints[at], b)
		if fault == nil {
			u.won.Store(int32(at))
			return u.ready(ctx, wanted, c, b)
		}
		if fault.Stage > worst.Stage || worst.Err == errNoEndpoint {
			worst = fault
		}
		if wanted.Err() != nil || b.over() {
			break
		}
	}
	return nil, worst
}

// ready logs in. A login that worked but took too long is not thrown away:
// the next delivery finds the session in the pool.
func (u *Upstream) ready(ctx, wanted context.Context, c *conn, b budget) (*conn, error) {
	if err := u.login(ctx, c, b); err != nil {
		c.abort()
		err.Endpoint = c.endpoint.address()
		return nil, err
	}
	if wanted.Err() == nil && !b.over() {
		return c, nil
	}
	u.idle.put(c)
	return nil, &Error{Stage: Auth, Err: errTooLong, Endpoint: c.endpoint.address()}
}

// order lists first before the others: 0, 1, 2 becomes 1, 0, 2 for first 1.
func order(first, i int) int {
	switch {
	case i == 0:
		return first
	case i <= first:
		return i - 1
	default:
		return i
	}
}

// open brings a session up to its last EHLO. Until its caller is done with
// it, ctx ends it.
func (u *Upstream) open(ctx context.Context, e Endpoint, b budget) (*conn, *Error) {
	dialCtx, cancel := context.WithDeadline(ctx, b.by(b.connect))
	nc, err := u.opts.Dial(dialCtx, "tcp", e.address())
	cancel()
	if err != nil {
		at := Connect
		if dns := (*net.DNSError)(nil); errors.As(err, &dns) {
			at = Resolve
		}
		return nil, &Error{Stage: at, Err: err, Endpoint: e.address()}
	}
	c := newConn(e, nc)
	defer context.AfterFunc(ctx, c.abort)()
	if fault := u.greet(ctx, c, b); fault != nil {
		c.abort()
		if ctx.Err() != nil { // that is why; the rest is its consequence
			fault = &Error{Stage: fault.Stage, Err: context.Cause(ctx)}
		}
		fault.Endpoint = e.address()
		u.log.Debug("upstream", "endpoint", e.address(), "text", fault)
		return nil, fault
	}
	u.log.Debug("upstream", "endpoint", e.address(), "text", "connected", "tls", c.secure)
	return c, nil
}

// greet is everything between TCP and AUTH.
func (u *Upstream) greet(ctx context.Context, c *conn, b budget) *Error {
	if c.endpoint.Mode == Implicit {
		if err := c.handshake(ctx, b.by(b.setup)); err != nil {
			return &Error{Stage: TLS, Err: err}
		}
	}
	r, err := c.reply(b.by(b.setup))
	if fault := positive(Greeting, r, err); fault != nil {
		return fault
	}
	if fault := u.ehlo(c, b); fault != nil || c.endpoint.Mode != RequireStartTLS {
		return fault
	}
	if fault := c.startTLS(ctx, b); fault != nil {
		return fault
	}
	// What was said in the clear is worth nothing now (RFC 3207 4.2).
	return u.ehlo(c, b)
}

// startTLS asks for TLS and proves who answers.
func (c *conn) startTLS(ctx context.Context, b budget) *Error {
	if !c.caps.startTLS {
		return &Error{Stage: StartTLS, Err: errNoStartTLS}
	}
	r, err := c.command("STARTTLS", b.by(b.setup))
	if fault := positive(StartTLS, r, err); fault != nil {
		return fault
	}
	if c.in.Buffered() > 0 {
		// They would be taken for the server's first words under TLS
		// (CVE-2011-0411 from the other side).
		return &Error{Stage: StartTLS, Err: errInjected}
	}
	if err := c.handshake(ctx, b.by(b.setup)); err != nil {
		return &Error{Stage: StartTLS, Err: err}
	}
	return nil
}

// positive makes a fault of anything but a 2xx reply.
func positive(at Stage, r Reply, err error) *Error {
	switch {
	case err != nil:
		return &Error{Stage: at, Err: err}
	case !r.Positive():
		return &Error{Stage: at, Reply: r}
	}
	return nil
}

// ehlo asks for the capabilities. HELO is tried only where neither TLS nor AUTH
// can be needed.
func (u *Upstream) ehlo(c *conn, b budget) *Error {
	r, err := c.command("EHLO "+u.opts.Hello, b.by(b.setup))
	if err == nil && (r.Code == 500 || r.Code == 502) && c.endpoint.Mode == Insecure && !u.logsIn() {
		r, err = c.command("HELO "+u.opts.Hello, b.by(b.setup))
		return positive(Hello, r, err)
	}
	if fault := positive(Hello, r, err); fault != nil {
		return fault
	}
	c.caps = parseEHLO(r.Text)
	return nil
}

// handshake proves who answers: the certificate's chain and, against its
// subject alternative names only, the name or IP address (RFC 7817, RFC 6125).
func (c *conn) handshake(ctx context.Context, by time.Time) error {
	name := c.endpoint.ServerName
	if name == "" {
		name = c.endpoint.Host
	}
	if err := c.wire.SetDeadline(by); err != nil {
		return err
	}
	t := tls.Client(c.wire, &tls.Config{
		ServerName: name, RootCAs: c.endpoint.Roots, MinVersion: tls.VersionTLS12, // RFC 8997
		DynamicRecordSizingDisabled: true, // small records would be small writes
	})
	if err := t.HandshakeContext(ctx); err != nil {
		return fmt.Errorf("%w: %w", errHandshake, c.endpoint.blameClock(name, err))
	}
	c.nc, c.secure = t, true
	c.in.Reset(t)
	return nil
}

// Probe tries what every delivery needs before it logs in, at all endpoints
// side by side, and is content with one. It gives nil or an *Error.
func (u *Upstream) Probe(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	outcomes := make(chan *Error)
	for i, e := range u.opts.Endpoints {
		go func() {
			c, fault := u.open(ctx, e, newBudget(false, time.Now()))
			if fault == nil {
				u.won.Store(int32(i))
				c.quit()
			}
			outcomes <- fault
		}()
	}
	worst := &Error{Stage: Resolve, Err: errNoEndpoint}
	passed := false
	for range u.opts.Endpoints {
		switch fault := <-outcomes; {
		case fault == nil:
			passed = true
			cancel() // the others are not needed
		case fault.Stage >= worst.Stage:
			worst = fault
		}
	}
	if passed {
		return nil
	}
	return worst
}

// Login is a probe with AUTH, at one endpoint: it finds out whether a secret
// that was refused is accepted now. It gives nil or an *Error; ctx bounds it.
func (u *Upstream) Login(ctx context.Context) error {
	c, err := u.connect(ctx, ctx, newBudget(false, time.Now()))
	if err != nil {
		return err
	}
	c.quit()
	return nil
}
