//go:build linux

package lab

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"path/filepath"
	"sync/atomic"
	"time"

	"mailroam/gateway/e2e/peers"
	"mailroam/gateway/sink"
)

const username = "ann"

// provider is a host on the Internet with a real Postfix and, at an address of
// its own, a practice upstream that does as it is told.
type provider struct {
	netns
	name     string
	postfix  *peers.Postfix
	spool    string // of postfix
	practice *sink.Server
	pace     *pace // at which practice reads
	addrs    map[string][]netip.Addr
}

// providers are where they are: each on its own network, of both families.
var providerHosts = map[string][2]string{"a": {"198.51.100", "2001:db8:a"}, "b": {"203.0.113", "2001:db8:b"}}

func startProvider(ctx context.Context, name, dir string, ca *peers.CA, mail *inbox) (*provider, error) {
	host := providerHosts[name]
	p := &provider{name: name, pace: &pace{}, addrs: map[string][]netip.Addr{}}
	var err error
	if p.netns, err = newNetns("provider-" + name); err != nil {
		return nil, err
	}
	for i, service := range []string{"mail", "sink"} {
		p.addrs[service+".provider-"+name+".test"] = []netip.Addr{
			netip.MustParseAddr(fmt.Sprintf("%s.%d", host[0], 10+i)), netip.MustParseAddr(fmt.Sprintf("%s::%d", host[1], 10+i)),
		}
	}
	if err := plug(p.netns, "eth0"); err != nil {
		return nil, err
	}
	err = p.ip(fmt.Sprintf(`addr add %[1]s.10/24 dev eth0
addr add %[1]s.11/24 dev eth0
addr add %[2]s::10/64 dev eth0 nodad
addr add %[2]s::11/64 dev eth0 nodad
route add 100.64.0.0/10 dev eth0
route add 2001:db8:ffff::/48 dev eth0`, host[0], host[1]))
	if err != nil {
		return nil, err
	}
	cert, key, err := ca.Server("provider-"+name, "mail.provider-"+name+".test", "sink.provider-"+name+".test")
	if err != nil {
		return nil, err
	}
	return p, errors.Join(p.startPostfix(ctx, dir, cert, key, mail), p.startPractice(ctx, host, cert, key, mail))
}

// startPostfix runs a Postfix that hands all it takes to the inbox.
func (p *provider) startPostfix(ctx context.Context, dir, cert, key string, mail *inbox) error {
	behind, err := p.listen("127.0.0.1:2600")
	if err != nil {
		return err
	}
	final := sink.New(sink.Options{OnMessage: func(m sink.Message) { mail.take(p.name, "postfix", m) }})
	go func() { _ = final.Serve(ctx, behind) }()
	startTLS := map[string]string{"smtpd_tls_security_level": "encrypt"}
	implicit := map[string]string{"smtpd_tls_wrappermode": "yes"}
	host := providerHosts[p.name]
	dir = filepath.Join(dir, "postfix-"+p.name)
	p.spool = filepath.Join(dir, "spool")
	p.postfix, err = peers.StartPostfix(ctx, peers.PostfixConfig{
		Dir:   dir,
		Users: map[string]string{username: password},
		Main: map[string]string{
			"inet_interfaces":              "all",
			"inet_protocols":               "all",
			"relayhost":                    "[127.0.0.1]:2600",
			"smtpd_tls_cert_file":          cert,
			"smtpd_tls_key_file":           key,
			"smtpd_tls_auth_only":          "yes",
			"smtpd_relay_restrictions":     "permit_sasl_authenticated, reject",
			"smtpd_client_restrictions":    "permit_sasl_authenticated, reject",
			"smtpd_peername_lookup":        "no", // there is no DNS here
			"disable_dns_lookups":          "yes",
			"local_header_rewrite_clients": "",
			"message_size_limit":           "60000000",
			// Its side of a session that the laptop walked away from stays open for
			// minutes, and here somebody walks away every few seconds.
			"smtpd_client_connection_count_limit":   "0",
			"default_process_limit":                 "400",
			"default_destination_concurrency_limit": "50",
			"initial_destination_concurrency":       "20",
		},
		Listen: []peers.PostfixListener{
			{Host: host[0] + ".10", Port: 587, Options: startTLS},
			{Host: host[0] + ".10", Port: 25, Options: startTLS},
			{Host: host[0] + ".10", Port: 465, Options: implicit},
			{Host: "[" + host[1] + "::10]", Port: 587, Options: startTLS},
			{Host: "[" + host[1] + "::10]", Port: 465, Options: implicit},
		},
		Wrap: p.wrap(),
		Dial: p.dial,
	})
	return err
}

// drained waits until Postfix has handed on all that it took.
func (p *provider) drained() error {
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		n, err := p.waiting()
		if err != nil || n == 0 {
			return err
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("after 30 s %d messages are still in the queue of provider %s", n, p.name)
		}
	}
}

// waiting counts the messages that Postfix has taken and not yet handed on. It
// marks a file executable when the message in it is whole.
func (p *provider) waiting() (n int, err error) {
	for _, queue := range []string{"incoming", "active", "deferred"} { // the way a message takes
		err = errors.Join(err, filepath.WalkDir(filepath.Join(p.spool, queue), func(_ string, d fs.DirEntry, err error) error {
			var i fs.FileInfo
			if err == nil && d.Type().IsRegular() {
				if i, err = d.Info(); err == nil && i.Mode()&0o100 != 0 {
					n++
				}
			}
			if errors.Is(err, fs.ErrNotExist) { // it went on its way meanwhile
				return nil
			}
			return err
		}))
	}
	return n, err
}

// startPractice runs the practice upstream, on IPv4 and 465.
func (p *provider) startPractice(ctx context.Context, host [2]string, cert, key string, mail *inbox) error {
	identity, err := tls.LoadX509KeyPair(cert, key)
	if err != nil {
		return err
	}
	l, err := p.listen(host[0] + ".11:465")
	if err != nil {
		return err
	}
	p.practice = sink.New(sink.Options{
		Name: "sink.provider-" + p.name + ".test", Implicit: true, TLS: &tls.Config{Certificates: []tls.Certificate{identity}},
		Users:     map[string]string{username: password},
		OnMessage: func(m sink.Message) { mail.take(p.name, "practice", m) },
	})
	go func() { _ = p.practice.Serve(ctx, paced{l, p.pace}) }()
	return nil
}

// The ways in which a provider can be gone.
const (
	blackHole = "drop"
	refusing  = "reject with tcp reset"
)

// vanish makes the provider's host do that with all that comes to its ports.
func (p *provider) vanish(how string) error {
	return p.nft(fmt.Sprintf(`table inet gone
delete table inet gone
table inet gone {
	chain in {
		type filter hook input priority 0
		iifname "eth0" tcp dport { 25, 465, 587 } %s
	}
}
`, how))
}

func (p *provider) appear() error { return p.nft("table inet gone\ndelete table inet gone\n") }

// pace bounds how fast connections are read.
type pace struct {
	perSecond atomic.Int64 // octets, 0: no bound
	most      atomic.Int64 // read by the busiest connection since the last reset
	bodies    atomic.Int32 // connections that brought more than any dialogue needs
	resets    atomic.Int32
}

// reset sets the pace and counts from nothing.
func (p *pace) reset(perSecond int64) {
	p.resets.Add(1)
	p.perSecond.Store(perSecond)
	p.most.Store(0)
	p.bodies.Store(0)
}

// paced is a listener of slow readers.
type paced struct {
	net.Listener
	pace *pace
}

func (l paced) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	// Else the kernel would take megabytes before we read any.
	_ = c.(*net.TCPConn).SetReadBuffer(64 << 10)
	return &pacedConn{TCPConn: c.(*net.TCPConn), pace: l.pace}, nil
}

// A pacedConn is a TCPConn for all but reading: the sink resets it.
type pacedConn struct {
	*net.TCPConn
	pace  *pace
	due   time.Time // of the next read
	read  int64     // since the last reset
	reset int32
}

func (c *pacedConn) Read(b []byte) (int, error) {
	// A nap lasts longer than asked for, on a busy machine twice as long: what a
	// read comes too late is made up for by the next ones.
	const (
		sip     = 16 << 10
		catchUp = 500 * time.Millisecond
	)
	rate := c.pace.perSecond.Load()
	if rate > 0 {
		b = b[:min(len(b), sip)]
		if least := time.Now().Add(-catchUp); c.due.Before(least) {
			c.due = least
		}
		time.Sleep(time.Until(c.due))
	}
	n, err := c.TCPConn.Read(b)
	if rate > 0 {
		c.due = c.due.Add(time.Duration(n) * time.Second / time.Duration(rate))
	}
	if now := c.pace.resets.Load(); c.reset != now {
		c.reset, c.read = now, 0
	}
	const dialogue = 32 << 10
	if c.read <= dialogue && c.read+int64(n) > dialogue {
		c.pace.bodies.Add(1)
	}
	c.read += int64(n)
	for most := c.pace.most.Load(); c.read > most && !c.pace.most.CompareAndSwap(most, c.read); most = c.pace.most.Load() {
	}
	return n, err
}
