package relay

import (
	"context"
	"crypto/x509"
	"log/slog"
	"net"
	"net/netip"
	"time"
)

// Mode is how an endpoint is spoken to. The port never decides it.
type Mode int

// The modes.
const (
	Implicit        Mode = iota // smtps: TLS from the first octet (RFC 8314)
	RequireStartTLS             // smtp: STARTTLS or nothing (RFC 3207)
	Insecure                    // smtp+insecure: plain, for peers that are trusted otherwise
)

// Endpoint is one way to reach an upstream.
type Endpoint struct {
	Mode       Mode
	Host, Port string
	ServerName string         // that the certificate must prove; "" is Host
	Roots      *x509.CertPool // nil: the system's
}

func (e Endpoint) address() string { return net.JoinHostPort(e.Host, e.Port) }

// loopback says that the octets never leave this machine, so that a password
// may go without TLS.
func (e Endpoint) loopback() bool {
	ip, err := netip.ParseAddr(e.Host)
	return e.Host == "localhost" || err == nil && ip.IsLoopback()
}

// Options describes an upstream: one account at one provider.
type Options struct {
	Name      string
	Endpoints []Endpoint // in order of preference; the one that last worked in this network goes first
	Hello     string     // the name we say in EHLO: an FQDN or an address literal (RFC 5321 2.3.5)
	Auth      string     // auto, plain, login or none; auto without Username is none
	Username  string
	// Password is asked at each login. The answer is neither kept nor logged.
	Password func(context.Context) (string, error)
	// Lookup finds a host's addresses, the best first; nil leaves that to Dial.
	Lookup func(ctx context.Context, host string) ([]netip.Addr, error)
	// Path identifies the way from local to peer, "" when there is none any
	// more; nil: it never changes. It must be quick, and call nothing here.
	Path func(local, peer netip.Addr) string
	// Dial opens a connection; nil means TCP that notices a dead peer within
	// about 30 s.
	Dial func(ctx context.Context, network, addr string) (net.Conn, error)
	// MaxMessages is how many messages one connection carries; 0: any number.
	MaxMessages int
	// MaxRecipients is how many one transaction has at most; 0: as many as the
	// upstream takes.
	MaxRecipients int
	Log           *slog.Logger // debug only: results tell the rest
}

// Upstream delivers to one upstream and keeps connections to it. It is safe
// for concurrent use; how many deliveries run at a time is its caller's to
// bound.
type Upstream struct {
	opts    Options
	log     *slog.Logger
	idle    pool
	roster  roster
	memory  memory
	gate    gate
	lessons lessons
}

// New makes an upstream. Nothing is dialled yet.
func New(opts Options) *Upstream {
	if opts.Dial == nil {
		opts.Dial = dialer().DialContext
	}
	if opts.Log == nil {
		opts.Log = slog.New(slog.DiscardHandler)
	}
	return &Upstream{
		opts: opts, log: opts.Log.With("upstream", opts.Name),
		idle: pool{limit: idleLimit}, roster: roster{path: opts.Path},
	}
}

// CloseIdle closes the kept connections. Those in use are kept again when
// their delivery ends.
func (u *Upstream) CloseIdle() { u.idle.closeAll() }

// dialer makes TCP that gives up on a silent peer: without the user time-out
// (RFC 5482) a connection that a roaming laptop has left behind would be
// retransmitted into for a quarter of an hour.
func dialer() *net.Dialer {
	return &net.Dialer{
		KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: 15 * time.Second, Interval: 5 * time.Second, Count: 3},
		Control:         setUserTimeout,
	}
}
