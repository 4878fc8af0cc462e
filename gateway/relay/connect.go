package relay

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/netip"
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

// connect makes a session that is ready for MAIL. A refused login ends the
// search: every endpoint is the same account. wanted ends everything but an AUTH
// under way, which only ctx ends.
func (u *Upstream) connect(ctx, wanted context.Context, b budget, w *watch) (*conn, error) {
	since := u.gate.setOut()
	c, fault := u.race(wanted, b, w)
	if fault == nil {
		c, fault = u.ready(ctx, wanted, c, b, w, since)
	}
	if fault != nil {
		return nil, fault
	}
	return c, nil
}

// ready logs in. A login that worked but took too long is not thrown away:
// the next delivery finds the session in the pool.
func (u *Upstream) ready(ctx, wanted context.Context, c *conn, b budget, w *watch, since int) (*conn, *Error) {
	generation := u.roster.here().generation
	w.enter(authing)
	if fault := u.logInTurn(ctx, wanted, c, b, w, since); fault != nil {
		if c.seat.isLost() && fault.Reply.Code == 0 {
			fault.Err = ErrRoamed
		}
		c.abort()
		return nil, c.locate(fault)
	}
	gap := w.longest()
	u.roster.learn(generation, func(p *place) { p.gaps[authing] = gap })
	switch {
	case ctx.Err() != nil: // which has closed it
		c.abort()
		return nil, c.locate(&Error{Stage: Auth, Err: context.Cause(ctx)})
	case wanted.Err() == nil && !b.over():
		return c, nil
	}
	u.idle.put(c)
	return nil, c.locate(&Error{Stage: Auth, Err: errTooLong})
}

// open brings a session up to its last EHLO, at an address of the endpoint or
// wherever Dial finds it. Until it returns, ctx ends it. moved is called when
// there is a connection and whenever octets come.
func (u *Upstream) open(ctx context.Context, e Endpoint, addr netip.Addr, moved func(), b budget) (*conn, *Error) {
	target := e.address()
	if addr.IsValid() {
		target = net.JoinHostPort(addr.String(), e.Port)
	}
	dialCtx, cancel := context.WithDeadline(ctx, b.by(b.connect))
	defer cancel()
	dialCtx, cut := context.WithCancelCause(dialCtx)
	seat := u.roster.join(func() { cut(ErrRoamed) })
	nc, err := u.opts.Dial(dialCtx, "tcp", target)
	cut(nil)
	if err != nil {
		fault := dialFault(ctx, err)
		if seat.isLost() {
			fault.Err = ErrRoamed
		}
		seat.leave()
		fault.Endpoint = e.address()
		fault.Addr, _ = netip.ParseAddrPort(target)
		return nil, fault
	}
	c := newConn(e, nc)
	c.seat, c.wire.moved = seat, moved
	moved()
	detach := context.AfterFunc(ctx, c.cut)
	var fault *Error
	if !seat.connected(addrOf(nc.LocalAddr()), addrOf(nc.RemoteAddr()), c.cut) {
		fault = &Error{Stage: Connect, Err: ErrRoamed}
	} else {
		fault = u.greet(ctx, c, b)
	}
	if !detach() && fault == nil {
		fault = &Error{Stage: Hello}
	}
	if fault == nil {
		u.log.Debug("upstream", "endpoint", e.address(), "address", target, "text", "connected", "tls", c.secure)
		return c, nil
	}
	// Where we closed it ourselves, that is why; the rest is its consequence.
	switch {
	case seat.isLost():
		fault = &Error{Stage: fault.Stage, Err: ErrRoamed}
	case ctx.Err() != nil:
		fault = &Error{Stage: fault.Stage, Err: context.Cause(ctx)}
	}
	c.abort()
	u.log.Debug("upstream", "endpoint", e.address(), "address", target, "text", fault)
	return nil, c.locate(fault)
}

// dialFault tells a Dial that looks names up itself from TCP.
func dialFault(ctx context.Context, err error) *Error {
	fault := &Error{Stage: Connect, Err: err}
	if _, dns := errors.AsType[*net.DNSError](err); dns {
		fault.Stage = Resolve
	}
	if ctx.Err() != nil {
		fault.Err = context.Cause(ctx)
	}
	return fault
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
	fault := u.ehlo(c, b)
	if fault == nil && c.endpoint.Mode == RequireStartTLS {
		if fault = c.startTLS(ctx, b); fault == nil {
			// What was said in the clear is worth nothing now (RFC 3207 4.2).
			fault = u.ehlo(c, b)
		}
	}
	if fault == nil {
		u.lessons.hear(&c.caps, c.secure)
	}
	return fault
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

// Probe tries what every delivery needs before it logs in, by the same race,
// and is content with one way. It gives nil or an *Error.
func (u *Upstream) Probe(ctx context.Context) error {
	c, fault := u.race(ctx, newBudget(false, time.Now()), unwatched())
	if fault != nil {
		return fault
	}
	c.quit()
	return nil
}

// Login is a probe with AUTH, at one endpoint: it finds out whether a secret
// that was refused is accepted now. It gives nil or an *Error; ctx bounds it.
func (u *Upstream) Login(ctx context.Context) error {
	c, err := u.connect(ctx, ctx, newBudget(false, time.Now()), unwatched())
	if err != nil {
		return err
	}
	c.quit()
	return nil
}
