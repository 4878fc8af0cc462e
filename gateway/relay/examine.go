package relay

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"
)

// Finding is what one step at one address of an endpoint brought.
type Finding struct {
	Number   int    // of the endpoint, in the order of Options
	Endpoint string // host:port, as configured
	Address  string // ip:port; "" for what comes before there is one
	Stage    Stage
	Err      error  // nil: it went well; else an *Error
	Reply    Reply  // of the server, where there is one
	Text     string // what was found: addresses, TLS version and certificate, extensions; as received
	Took     time.Duration
}

// examined is how long the steps of Examine may take. Some servers greet only
// after six seconds, to catch those that cannot wait.
var examined = limits{connect: 5 * time.Second, setup: 8 * time.Second}

// atOnce is how many addresses of an endpoint are tried side by side.
const atOnce = 4

// Examine tries every address of every endpoint, all endpoints side by side,
// step by step as far as it gets, with AUTH only when login is set and then
// only once: a second login would fail for the same reason, and providers lock
// accounts. It calls found from one goroutine at a time and returns when all
// is done or ctx ends. It neither uses nor leaves kept sessions.
func (u *Upstream) Examine(ctx context.Context, login bool, found func(Finding)) {
	ctx, done := u.roster.untilRoamed(ctx)
	defer done()
	x := &examination{u: u, login: login && u.logsIn(), found: found}
	var all sync.WaitGroup
	for n, e := range u.opts.Endpoints {
		all.Go(func() { x.endpoint(ctx, n, e) })
	}
	all.Wait()
}

// examination is one run of Examine.
type examination struct {
	u     *Upstream
	login bool

	mu    sync.Mutex // held while found runs
	found func(Finding)

	account sync.Mutex // held during a login
	asked   bool       // it was logged in, or refused
}

func (x *examination) endpoint(ctx context.Context, n int, e Endpoint) {
	w := walk{x: x, endpoint: e, base: Finding{Number: n, Endpoint: e.address()}}
	addrs, ok := w.addresses(ctx)
	if !ok {
		return
	}
	room := make(chan struct{}, atOnce)
	var all sync.WaitGroup
	for _, a := range addrs {
		all.Go(func() {
			room <- struct{}{}
			defer func() { <-room }()
			w.visit(ctx, a)
		})
	}
	all.Wait()
}

// walk goes to one endpoint, and after addresses to one of its addresses.
type walk struct {
	x        *examination
	endpoint Endpoint
	base     Finding // what all findings share
	addr     netip.AddrPort
}

// step takes one step, reports what it brought and says whether to go on.
func (w *walk) step(ctx context.Context, at Stage, take func(*Finding) *Error) bool {
	f, began := w.base, time.Now()
	f.Stage = at
	fault := take(&f)
	f.Took = time.Since(began)
	if fault != nil {
		if ctx.Err() != nil { // that is why; the rest is its consequence
			fault = &Error{Stage: fault.Stage, Err: context.Cause(ctx)}
		}
		fault.Endpoint, fault.Addr = f.Endpoint, w.addr
		f.Stage, f.Err, f.Reply = fault.Stage, fault, fault.Reply
	}
	w.x.mu.Lock()
	defer w.x.mu.Unlock()
	w.x.found(f)
	return fault == nil
}

// addresses looks the host up, where that is not left to Dial.
func (w *walk) addresses(ctx context.Context) (addrs []netip.Addr, ok bool) {
	addrs, look := w.x.u.given(w.endpoint.Host)
	if !look {
		return addrs, true
	}
	ok = w.step(ctx, Resolve, func(f *Finding) *Error {
		ctx, cancel := context.WithTimeout(ctx, examined.connect)
		defer cancel()
		var err error
		if addrs, err = w.x.u.resolve(ctx, w.endpoint.Host); err != nil {
			return &Error{Stage: Resolve, Err: err}
		}
		var texts []string
		for _, a := range addrs {
			texts = append(texts, a.String())
		}
		f.Text = strings.Join(texts, ", ")
		return nil
	})
	return addrs, ok
}

// visit goes as far as one address lets it.
func (w walk) visit(ctx context.Context, a netip.Addr) {
	target := w.endpoint.address()
	if a.IsValid() {
		target = net.JoinHostPort(a.String(), w.endpoint.Port)
		w.at(target)
	}
	var c *conn
	connected := w.step(ctx, Connect, func(f *Finding) *Error {
		ctx, cancel := context.WithTimeout(ctx, examined.connect)
		defer cancel()
		nc, err := w.x.u.opts.Dial(ctx, "tcp", target)
		if err != nil {
			fault := &Error{Stage: Connect, Err: err}
			if _, dns := errors.AsType[*net.DNSError](err); dns {
				fault.Stage = Resolve // Dial looks names up
			}
			return fault
		}
		c = newConn(w.endpoint, nc)
		w.at(nc.RemoteAddr().String())
		f.Address = w.base.Address
		return nil
	})
	if !connected {
		return
	}
	defer context.AfterFunc(ctx, c.abort)()
	if w.speak(ctx, c) {
		c.quit()
	} else {
		c.abort()
	}
}

// at notes the address.
func (w *walk) at(addr string) {
	w.base.Address = addr
	w.addr, _ = netip.ParseAddrPort(addr)
}

// speak is everything after TCP, in the order of greet.
func (w *walk) speak(ctx context.Context, c *conn) bool {
	b := budget{limits: examined}
	if c.endpoint.Mode == Implicit && !w.step(ctx, TLS, func(f *Finding) *Error {
		err := c.handshake(ctx, b.by(b.setup))
		f.Text = whom(c, err)
		if err != nil {
			return &Error{Stage: TLS, Err: err}
		}
		return nil
	}) {
		return false
	}
	greeted := w.step(ctx, Greeting, func(f *Finding) *Error {
		r, err := c.reply(b.by(b.setup))
		f.Reply, f.Text = r, r.Text
		return positive(Greeting, r, err)
	})
	if !greeted || !w.hello(ctx, c, b) {
		return false
	}
	if c.endpoint.Mode == RequireStartTLS {
		if !w.step(ctx, StartTLS, func(f *Finding) *Error {
			fault := c.startTLS(ctx, b)
			if fault != nil {
				f.Text = whom(c, fault.Err)
				return fault
			}
			f.Text = whom(c, nil)
			return nil
		}) || !w.hello(ctx, c, b) { // RFC 3207 4.2
			return false
		}
	}
	return w.logIn(ctx, c)
}

func (w *walk) hello(ctx context.Context, c *conn, b budget) bool {
	return w.step(ctx, Hello, func(f *Finding) *Error {
		fault := w.x.u.ehlo(c, b)
		f.Text = c.caps.String()
		return fault
	})
}

// logIn logs in at the first address that gets so far. One that cannot be asked
// leaves it to the next.
func (w *walk) logIn(ctx context.Context, c *conn) bool {
	if !w.x.login {
		return true
	}
	w.x.account.Lock()
	defer w.x.account.Unlock()
	if w.x.asked {
		return true
	}
	return w.step(ctx, Auth, func(f *Finding) *Error {
		// As long as a delivery's, since a refusal may be slow on purpose.
		fault := w.x.u.logInTurn(ctx, ctx, c, budget{limits: hurried}, unwatched(), w.x.u.gate.setOut())
		if fault == nil {
			f.Text = "logged in as " + w.x.u.opts.Username
		}
		w.x.asked = fault == nil || !errors.Is(fault, errMechanism) && !errors.Is(fault, errClear)
		return fault
	})
}

// String lists what of it matters to mail.
func (c capabilities) String() string {
	var all []string
	add := func(offered bool, keyword string) {
		if offered {
			all = append(all, keyword)
		}
	}
	add(c.startTLS, "STARTTLS")
	add(len(c.auth) > 0, "AUTH "+strings.Join(c.auth, " "))
	if c.size > 0 {
		add(true, fmt.Sprint("SIZE ", c.size))
	} else {
		add(c.sizeOffered, "SIZE")
	}
	add(c.pipelining, "PIPELINING")
	add(c.eightBit, "8BITMIME")
	add(c.utf8, "SMTPUTF8")
	add(c.dsn, "DSN")
	add(c.requireTLS, "REQUIRETLS")
	add(c.messages > 0, fmt.Sprint("MAILMAX ", c.messages))
	add(c.recipients > 0, fmt.Sprint("RCPTMAX ", c.recipients))
	return strings.Join(all, ", ")
}

// whom says who answered by TLS, proven or not; "" when no certificate came.
func whom(c *conn, err error) string {
	if failed, ok := errors.AsType[*tls.CertificateVerificationError](err); ok && len(failed.UnverifiedCertificates) > 0 {
		return "the certificate " + certificate(failed.UnverifiedCertificates[0])
	}
	t, ok := c.nc.(*tls.Conn)
	if err != nil || !ok {
		return ""
	}
	s := t.ConnectionState()
	return tls.VersionName(s.Version) + ", the certificate " + certificate(s.PeerCertificates[0])
}

// holder is whom a certificate names.
func holder(c *x509.Certificate) string {
	names := slices.Clone(c.DNSNames)
	for _, ip := range c.IPAddresses {
		names = append(names, ip.String())
	}
	switch {
	case len(names) > 3:
		return fmt.Sprintf("%s and %d more", strings.Join(names[:3], ", "), len(names)-3)
	case len(names) > 0:
		return strings.Join(names, ", ")
	case c.Subject.CommonName != "":
		// It counts for nothing (RFC 9525 2), but tells a person whose it is.
		return "nobody by the rules, though its subject is " + c.Subject.CommonName
	}
	return "nobody"
}

// certificate says what a certificate says: whom it names, who issued it, and
// when it is valid, by the clock of this machine's zone.
func certificate(c *x509.Certificate) string {
	issuer := strings.TrimSpace(strings.Join(c.Issuer.Organization, " ") + " " + c.Issuer.CommonName)
	switch {
	case string(c.RawIssuer) == string(c.RawSubject):
		issuer = "itself"
	case issuer == "":
		issuer = "nobody in particular"
	}
	return fmt.Sprintf("names %s; issued by %s; valid from %s to %s", holder(c), issuer, c.NotBefore.Format(time.DateOnly), c.NotAfter.Format(time.DateOnly))
}
