package gateway

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"mailroam/gateway/relay"
	"mailroam/gateway/sink"
	"mailroam/health/netmon"
)

// probeNow is the clock of all scenes.
var probeNow = time.Date(2026, 11, 22, 10, 30, 0, 0, time.UTC)

// scene writes evidence as lines, one for each endpoint:
//
//	UPSTREAM[!] URL ADDRESS=OUTCOME…
//
// ! is for one that needs a login; "dns" instead of an address is a lookup.
func scene(t *testing.T, lines string) (e evidence) {
	t.Helper()
	e.network.Interfaces = []netmon.Interface{{Name: "wlan0", Addrs: []netip.Prefix{netip.MustParsePrefix("192.168.1.2/24")}}}
	e.network.Routes = []netmon.Route{
		{To: netip.MustParsePrefix("192.168.1.0/24"), Dev: "wlan0"},
		{To: netip.MustParsePrefix("0.0.0.0/0"), Via: netip.MustParseAddr("192.168.1.1"), Dev: "wlan0"},
	}
	for line := range strings.Lines(lines) {
		words := strings.Fields(line)
		if len(words) == 0 {
			continue
		}
		name, account := strings.CutSuffix(words[0], "!")
		url, f := (&decoder{}).parseURL(words[1])
		if f.what != "" {
			t.Fatal(f)
		}
		if n := len(e.tried); n == 0 || e.tried[n-1].name != name {
			e.tried = append(e.tried, tried{name: name, account: account})
		}
		u := &e.tried[len(e.tried)-1]
		n := len(u.ways)
		u.ways = append(u.ways, way{url: url})
		for _, word := range words[2:] {
			addr, outcome, _ := strings.Cut(word, "=")
			for _, f := range happened(t, url, addr, outcome) {
				f.Number = n
				u.note(f)
			}
		}
	}
	return e
}

// happened is the findings of an outcome.
func happened(t *testing.T, url UpstreamURL, addr, outcome string) (all []relay.Finding) {
	t.Helper()
	endpoint := net.JoinHostPort(url.Host, url.Port)
	foreign := &x509.Certificate{DNSNames: []string{"portal.example"}, SerialNumber: big.NewInt(1), NotBefore: probeNow.AddDate(1, 0, 0), NotAfter: probeNow.AddDate(2, 0, 0)}
	unverified := func(err error) error {
		return &tls.CertificateVerificationError{UnverifiedCertificates: []*x509.Certificate{foreign}, Err: err}
	}
	dial := func(errno error) error { return &net.OpError{Op: "dial", Err: os.NewSyscallError("connect", errno)} }
	dns := func(e net.DNSError) *relay.Error { return &relay.Error{Stage: relay.Resolve, Err: &e} }
	secure := relay.TLS
	if url.Scheme == "smtp" {
		secure = relay.StartTLS
	}
	fault := map[string]*relay.Error{
		"nxdomain":  dns(net.DNSError{Err: "no such host", IsNotFound: true}),
		"dead":      dns(net.DNSError{Err: "i/o timeout", IsTimeout: true}),
		"silent":    {Stage: relay.Connect, Err: dial(syscall.ETIMEDOUT)},
		"refused":   {Stage: relay.Connect, Err: dial(syscall.ECONNREFUSED)},
		"noroute":   {Stage: relay.Connect, Err: dial(syscall.ENETUNREACH)},
		"name":      {Stage: secure, Err: unverified(x509.HostnameError{Certificate: foreign, Host: url.Host})},
		"authority": {Stage: secure, Err: unverified(x509.UnknownAuthorityError{Cert: foreign})},
		"clock":     {Stage: secure, Err: fmt.Errorf("%w: %w", relay.ErrWrongTime, unverified(x509.CertificateInvalidError{Cert: foreign, Reason: x509.Expired}))},
		"notls":     {Stage: secure, Err: tls.RecordHeaderError{Msg: "no TLS", RecordHeader: [5]byte([]byte("220 m"))}},
		"http":      {Stage: secure, Err: tls.RecordHeaderError{Msg: "no TLS", RecordHeader: [5]byte([]byte("HTTP/"))}},
		"stripped":  {Stage: relay.StartTLS, Reply: relay.Reply{Code: 500, Text: "what?"}},
		"mute":      {Stage: relay.Greeting, Err: os.ErrDeadlineExceeded},
		"hangup":    {Stage: relay.Greeting, Err: io.EOF},
		"listed":    {Stage: relay.Greeting, Reply: relay.Reply{Code: 554, Text: "5.7.1 your address\nis listed"}},
		"badhelo":   {Stage: relay.Hello, Reply: relay.Reply{Code: 550, Text: "no such name"}},
		"535":       {Stage: relay.Auth, Reply: relay.Reply{Code: 535, Text: "5.7.8 \x1b[31mno"}},
		"454":       {Stage: relay.Auth, Reply: relay.Reply{Code: 454, Text: "not now"}},
		"locked":    {Stage: relay.Auth, Err: fmt.Errorf("%w: the keyring is locked", relay.ErrPassword)},
		"cut":       {Stage: relay.Connect, Err: context.Canceled},
	}[outcome]
	address := ""
	if addr != "dns" {
		address = net.JoinHostPort(addr, url.Port)
	}
	note := func(at relay.Stage, text string) {
		all = append(all, relay.Finding{Endpoint: endpoint, Address: address, Stage: at, Text: text, Took: 1234567 * time.Nanosecond})
	}
	if fault == nil && outcome != "ok" && outcome != "login" && outcome != "found" {
		t.Fatalf("what is %q?", outcome)
	}
	if addr == "dns" && fault == nil {
		note(relay.Resolve, "192.0.2.1")
		return all
	}
	far := relay.Hello
	if fault != nil {
		far = fault.Stage
		defer func() {
			f := *fault
			f.Endpoint = endpoint
			f.Addr, _ = netip.ParseAddrPort(address)
			text := ""
			if _, ok := errors.AsType[*tls.CertificateVerificationError](f.Err); ok {
				text = "the certificate names portal.example; issued by Hotel; valid from 2020-01-01 to 2030-01-01"
			}
			all = append(all, relay.Finding{Endpoint: endpoint, Address: address, Stage: f.Stage, Err: &f, Reply: f.Reply, Text: text, Took: time.Millisecond})
		}()
	}
	for _, at := range []relay.Stage{relay.Connect, secure, relay.Greeting, relay.Hello} {
		if at < far || fault == nil && at == relay.Hello || fault != nil && fault.Stage == relay.Auth {
			note(at, "")
		}
	}
	if outcome == "login" {
		note(relay.Auth, "logged in as ann")
	}
	return all
}

// TestProbeVerdict: what is found, and what a person is told of it.
func TestProbeVerdict(t *testing.T) {
	const (
		join    = "Join one."
		browser = "Open a browser and log in to this network."
		portal  = "This looks like a captive portal: somebody else answers in the upstreams' place."
		beware  = "Open a browser and log in to this network; if there is nothing to log in to, somebody intercepts mail here."
		none    = "No upstream works."
		names   = "the certificate names portal.example; issued by Hotel; valid from 2020-01-01 to 2030-01-01"
	)
	for _, c := range []struct {
		name    string
		lines   string
		change  func(*evidence)
		state   string
		verdict []string
		why     []string // of each upstream
	}{
		{
			"all is well", `
			work smtps://mail.one.example 192.0.2.1=ok
			home smtp://mail.two.example 192.0.2.2=ok`, nil, "online",
			[]string{"Mail can leave by work and home."},
			[]string{"works by mail.one.example:465", "works by mail.two.example:587"},
		},
		{
			"both endpoints work", `
			work smtps://mail.one.example dns=found 192.0.2.1=ok
			work smtp://mail.one.example dns=found 192.0.2.1=ok`, nil, "online",
			[]string{"Mail can leave by work."},
			[]string{"works by mail.one.example:465 and mail.one.example:587"},
		},
		{
			"the name is misspelt", `work smtps://mial.one.example dns=nxdomain`, nil, "online",
			[]string{none},
			[]string{"mial.one.example does not resolve: no such name; is the name spelt right, or known only in another network?"},
		},
		{
			"no network", `
			work smtps://mail.one.example dns=dead
			home smtp://192.0.2.9 192.0.2.9=noroute`, func(e *evidence) { e.network = netmon.Snapshot{} }, "offline",
			[]string{"There is no network: no interface but loopback is up and has an address.", join, none},
			[]string{"mail.one.example does not resolve: no name server answers", "no route leads to it"},
		},
		{
			"a network that leads nowhere", `home smtp://192.0.2.9 192.0.2.9=noroute`, nil, "offline",
			[]string{"There is no network that leads to an upstream: no route does.", "Join another one.", none},
			[]string{"no route leads to it"},
		},
		{
			"no network, and none is needed", `lan smtp+insecure://127.0.0.1:2525 127.0.0.1=ok`, func(e *evidence) { e.network = netmon.Snapshot{} }, "online",
			[]string{"Mail can leave by lan."},
			[]string{"works by 127.0.0.1:2525"},
		},
		{
			"nobody on this machine", `lan smtp+insecure://localhost:2525 dns=found 127.0.0.1=refused ::1=refused`, func(e *evidence) { e.network = netmon.Snapshot{} }, "online",
			[]string{none},
			[]string{"it refuses the connection"},
		},
		{
			"DNS is dead", `
			work smtps://mail.one.example dns=dead
			home smtp://mail.two.example dns=dead`, nil, "unreachable",
			[]string{"DNS does not answer: no name can be looked up.", "Check the name servers of this network (/etc/resolv.conf has them), or try another one.", none},
			[]string{"mail.one.example does not resolve: no name server answers", "mail.two.example does not resolve: no name server answers"},
		},
		{
			"587 and 25 are blocked", `
			work smtp://mail.one.example:25 192.0.2.1=silent
			work smtp://mail.one.example 192.0.2.1=silent
			work smtps://mail.one.example 192.0.2.1=ok
			home smtp://mail.two.example 192.0.2.2=silent 192.0.2.3=silent
			home smtps://mail.two.example 192.0.2.2=ok 192.0.2.3=ok`, nil, "online",
			[]string{"This network seems to block ports 25 and 587; 465 works.", "Mail can leave by work and home."},
			[]string{"works by mail.one.example:465", "works by mail.two.example:465"},
		},
		{
			"587 is blocked at two hosts", `
			work smtp://mail.one.example 192.0.2.1=silent
			work smtps://mail.one.example 192.0.2.1=ok
			home smtp://mail.two.example 192.0.2.2=silent
			home smtps://mail.two.example 192.0.2.2=ok`, nil, "online",
			[]string{"This network blocks port 587; 465 works.", "Mail can leave by work and home."},
			[]string{"works by mail.one.example:465", "works by mail.two.example:465"},
		},
		{
			"587 is blocked, and this machine has no IPv6", `
			work smtp://mail.one.example dns=found 2001:db8::1=noroute 192.0.2.1=silent
			work smtps://mail.one.example dns=found 2001:db8::1=noroute 192.0.2.1=ok
			home smtp://mail.two.example dns=found 2001:db8::2=noroute 192.0.2.2=silent
			home smtps://mail.two.example dns=found 2001:db8::2=noroute 192.0.2.2=silent`, nil, "online",
			[]string{"This network seems to block port 587; 465 works.", "Mail can leave by work; home does not work."},
			[]string{"works by mail.one.example:465", "mail.two.example:587: blocked by this network: it does not answer; mail.two.example:465: it does not answer"},
		},
		{
			"refused alike at two hosts", `
			work smtp://mail.one.example 192.0.2.1=refused
			work smtps://mail.one.example 192.0.2.1=ok
			home smtp://mail.two.example 192.0.2.2=refused
			home smtps://mail.two.example 192.0.2.2=ok`, nil, "online",
			[]string{"This network blocks port 587; 465 works.", "Mail can leave by work and home."},
			[]string{"works by mail.one.example:465", "works by mail.two.example:465"},
		},
		{
			"one refusal is the host's own", `
			work smtp://mail.one.example 192.0.2.1=refused
			work smtps://mail.one.example 192.0.2.1=ok`, nil, "online",
			[]string{"Mail can leave by work."},
			[]string{"works by mail.one.example:465"},
		},
		{
			"a port that answers elsewhere is not blocked", `
			work smtp://mail.one.example 192.0.2.1=silent
			work smtps://mail.one.example 192.0.2.1=ok
			home smtp://mail.two.example 192.0.2.2=ok`, nil, "online",
			[]string{"Mail can leave by work and home."},
			[]string{"works by mail.one.example:465", "works by mail.two.example:587"},
		},
		{
			"blocked, and the other port has its own trouble", `
			work smtp://mail.one.example 192.0.2.1=silent
			work smtps://mail.one.example 192.0.2.1=listed`, nil, "online",
			[]string{
				"This network seems to block port 587.",
				"Give the upstream another port in urls, if its provider has one (465, 587, 2525, 443), or try another network.", none,
			},
			[]string{`mail.one.example:587: blocked by this network: it does not answer; mail.one.example:465: it refuses us: 554 5.7.1 your address is listed`},
		},
		{
			"a silent host proves no block", `
			work smtp://mail.one.example 192.0.2.1=silent
			work smtps://mail.one.example 192.0.2.1=silent
			home smtps://mail.two.example 192.0.2.2=ok`, nil, "online",
			[]string{"Mail can leave by home; work does not work."},
			[]string{"it does not answer", "works by mail.two.example:465"},
		},
		{
			"587 is intercepted", `
			work smtp://mail.one.example 192.0.2.1=stripped
			work smtps://mail.one.example 192.0.2.1=ok
			home smtp://mail.two.example 192.0.2.2=name
			home smtps://mail.two.example 192.0.2.2=ok`, nil, "online",
			[]string{"This network intercepts port 587: somebody else answers there; 465 works.", "Mail can leave by work and home."},
			[]string{"works by mail.one.example:465", "works by mail.two.example:465"},
		},
		{
			"587 of one host is its own affair", `
			work smtp://mail.one.example 192.0.2.1=stripped
			work smtps://mail.one.example 192.0.2.1=ok`, nil, "online",
			[]string{"Mail can leave by work."},
			[]string{"works by mail.one.example:465"},
		},
		{
			"two hosts have a wrong certificate", `
			work smtps://mail.one.example 192.0.2.1=name
			home smtp://mail.two.example 192.0.2.2=authority`, nil, "portal",
			[]string{portal, beware, none},
			[]string{"it shows a certificate for portal.example: " + names, "it shows a certificate that nobody trusted here vouches for: " + names},
		},
		{
			"one host has a wrong certificate", `
			work smtps://mail.one.example 192.0.2.1=name
			home smtp://mail.two.example 192.0.2.2=ok`, nil, "online",
			[]string{"Mail can leave by home; work does not work."},
			[]string{"it shows a certificate for portal.example: " + names + "; if this is no captive portal, correct the host in urls or add ?servername=NAME", "works by mail.two.example:587"},
		},
		{
			"the only upstream has a wrong certificate", `work smtps://mail.one.example 192.0.2.1=authority`, nil, "online",
			[]string{none},
			[]string{"it shows a certificate that nobody trusted here vouches for: " + names + "; if this is no captive portal and the certificate is right, add ?ca=FILE with its authority"},
		},
		{
			"STARTTLS is gone everywhere", `
			work smtp://mail.one.example 192.0.2.1=stripped
			home smtp://mail.two.example 192.0.2.2=stripped`, nil, "portal",
			[]string{"This looks like a captive portal: somebody else answers in the upstreams' place, and STARTTLS is gone.", beware, none},
			[]string{"it refuses STARTTLS: 500 what?", "it refuses STARTTLS: 500 what?"},
		},
		{
			"no route, not even to a name server", `
			work smtps://mail.one.example dns=dead
			home smtp://192.0.2.9 192.0.2.9=noroute`, func(e *evidence) { e.network.Routes = e.network.Routes[:1] }, "offline",
			[]string{"There is no network that leads to an upstream: no route does.", "Join another one.", none},
			[]string{"mail.one.example does not resolve: no name server answers", "no route leads to it"},
		},
		{
			"the same host twice proves no more", `
			work smtps://mail.one.example 192.0.2.1=name
			home smtp://mail.one.example 192.0.2.1=name`, nil, "online",
			[]string{none},
			[]string{
				"it shows a certificate for portal.example: " + names + "; if this is no captive portal, correct the host in urls or add ?servername=NAME",
				"it shows a certificate for portal.example: " + names + "; if this is no captive portal, correct the host in urls or add ?servername=NAME",
			},
		},
		{
			"a web server answers", `work smtps://mail.one.example 192.0.2.1=http`, nil, "portal",
			[]string{portal, beware, none},
			[]string{"it is a web server, not a mail server"},
		},
		{
			"the names lead into private space", `
			work smtps://mail.one.example 10.0.0.1=refused
			home smtp://mail.two.example 10.0.0.1=silent`, nil, "portal",
			[]string{portal, beware, none},
			[]string{"it refuses the connection, and the name leads into private space", "it does not answer, and the name leads into private space"},
		},
		{
			"a smart host behind a VPN", `work smtps://mail.one.example 10.0.0.1=silent`, nil, "online",
			[]string{none},
			[]string{"it does not answer, and the name leads into private space; a portal does that; or does it need a VPN?"},
		},
		{
			"NetworkManager knows", `
			work smtps://mail.one.example 192.0.2.1=silent
			home smtp://mail.two.example 192.0.2.2=silent`, func(e *evidence) { e.manager = netmon.ConnPortal }, "portal",
			[]string{"This is a captive portal, says NetworkManager.", browser, none},
			[]string{"it does not answer", "it does not answer"},
		},
		{
			"NetworkManager is wrong", `work smtps://mail.one.example 192.0.2.1=ok`, func(e *evidence) { e.manager = netmon.ConnPortal }, "online",
			[]string{"Mail can leave by work."},
			[]string{"works by mail.one.example:465"},
		},
		{
			"a portal takes mail in the clear", `
			work smtps://mail.one.example 192.0.2.1=http
			lan smtp+insecure://mail.two.example 192.0.2.2=ok`, nil, "portal",
			[]string{portal, beware, "Mail can leave by lan; work does not work."},
			[]string{"it is a web server, not a mail server", "works by mail.two.example:25"},
		},
		{
			"the clock is wrong", `
			work smtps://mail.one.example 192.0.2.1=clock
			home smtp://mail.two.example 192.0.2.2=clock`, nil, "clock",
			[]string{"The certificates are all of another time: is the clock of this machine right? It says 2026-11-22 10:30 UTC.", "Set it if it is not.", none},
			[]string{
				"it shows a certificate that is right but for the time: it is valid from 2027-11-22 to 2028-11-22",
				"it shows a certificate that is right but for the time: it is valid from 2027-11-22 to 2028-11-22",
			},
		},
		{
			"one certificate has expired", `work smtps://mail.one.example 192.0.2.1=clock`, nil, "online",
			[]string{none},
			[]string{"it shows a certificate that is right but for the time: it is valid from 2027-11-22 to 2028-11-22; set the clock, which says 2026-11-22 10:30 UTC, or tell whoever runs the server"},
		},
		{
			"IPv6 is broken", `
			work smtps://mail.one.example 2001:db8::1=silent 192.0.2.1=ok
			home smtp://mail.two.example 2001:db8::2=silent 192.0.2.2=ok`, nil, "online",
			[]string{"IPv6 does not work here; IPv4 does.", "Mail can leave by work and home."},
			[]string{"works by mail.one.example:465", "works by mail.two.example:587"},
		},
		{
			"one host's IPv6 is broken", `
			work smtps://mail.one.example 2001:db8::1=silent 192.0.2.1=ok`, nil, "online",
			[]string{"IPv6 does not reach mail.one.example; IPv4 does.", "Mail can leave by work."},
			[]string{"works by mail.one.example:465"},
		},
		{
			"IPv6 works elsewhere", `
			work smtps://mail.one.example 2001:db8::1=silent 192.0.2.1=ok
			home smtp://mail.two.example 2001:db8::2=ok 192.0.2.2=ok`, nil, "online",
			[]string{"Mail can leave by work and home."},
			[]string{"works by mail.one.example:465", "works by mail.two.example:587"},
		},
		{
			"this machine has no IPv6", `work smtps://mail.one.example 2001:db8::1=noroute 192.0.2.1=ok`, nil, "online",
			[]string{"Mail can leave by work."},
			[]string{"works by mail.one.example:465"},
		},
		{
			"IPv4 is broken", `work smtps://mail.one.example 2001:db8::1=ok 192.0.2.1=silent`, nil, "online",
			[]string{"IPv4 does not reach mail.one.example; IPv6 does.", "Mail can leave by work."},
			[]string{"works by mail.one.example:465"},
		},
		{
			"nobody answers anywhere", `
			work smtps://mail.one.example 192.0.2.1=silent
			home smtp://mail.two.example 192.0.2.2=refused`, nil, "unreachable",
			[]string{"No upstream can be reached, on different hosts: it is the network, not they.", "Wait, or try another network.", none},
			[]string{"it does not answer", "it refuses the connection"},
		},
		{
			"the only upstream is down", `work smtps://mail.one.example 192.0.2.1=refused`, nil, "online",
			[]string{none},
			[]string{"it refuses the connection"},
		},
		{
			"the login works", `
			work! smtps://mail.one.example 192.0.2.1=login
			work! smtp://mail.one.example 192.0.2.1=ok`, func(e *evidence) { e.login = true }, "online",
			[]string{"Mail can leave by work."},
			[]string{"works by mail.one.example:465 and mail.one.example:587"},
		},
		{
			"the login is refused", `
			work! smtps://mail.one.example 192.0.2.1=535
			work! smtp://mail.one.example 192.0.2.1=ok`, func(e *evidence) { e.login = true }, "online",
			[]string{none},
			[]string{`the login is refused: 535 5.7.8 \x1b[31mno; correct username and password; some providers want an app password`},
		},
		{
			"the only endpoint refuses the login", `work! smtps://mail.one.example 192.0.2.1=535`, func(e *evidence) { e.login = true }, "online",
			[]string{none},
			[]string{`the login is refused: 535 5.7.8 \x1b[31mno; correct username and password; some providers want an app password`},
		},
		{
			"the login is put off", `work! smtps://mail.one.example 192.0.2.1=454`, func(e *evidence) { e.login = true }, "online",
			[]string{none},
			[]string{"the login cannot be checked now: 454 not now; try again later"},
		},
		{
			"the keyring is locked", `work! smtps://mail.one.example 192.0.2.1=locked`, func(e *evidence) { e.login = true }, "online",
			[]string{none},
			[]string{"no password: the keyring is locked; see where the config says that the password is"},
		},
		{
			"TLS where there is none, and none where there is", `
			work smtps://mail.one.example:587 192.0.2.1=notls
			home smtp://mail.two.example:465 192.0.2.2=mute
			lan smtp+insecure://mail.two.example 192.0.2.2=ok`, nil, "online",
			[]string{"Mail can leave by lan; work and home do not work."},
			[]string{
				"it speaks no TLS; if it wants STARTTLS, write smtp:// instead of smtps://",
				"it takes the connection and says nothing; if it wants TLS from the start, write smtps://",
				"works by mail.two.example:25",
			},
		},
		{
			"a bad hostname, and a hang-up", `
			work smtps://mail.one.example 192.0.2.1=badhelo
			home smtps://mail.two.example 192.0.2.2=hangup`, nil, "online",
			[]string{none},
			[]string{"it refuses our EHLO: 550 no such name; is hostname in the config a name that it may accept?", "it hangs up without a greeting"},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			e := scene(t, c.lines)
			if c.change != nil {
				c.change(&e)
			}
			r := e.report(probeNow)
			if r.Network.State != c.state {
				t.Errorf("state %q, want %q", r.Network.State, c.state)
			}
			if got, want := strings.Join(r.Verdict, "\n"), strings.Join(c.verdict, "\n"); got != want {
				t.Errorf("verdict\n%s\nwant\n%s", got, want)
			}
			var why []string
			works := false
			for _, u := range r.Upstreams {
				why = append(why, u.Why)
				works = works || u.Works
			}
			if got, want := strings.Join(why, "\n"), strings.Join(c.why, "\n"); got != want {
				t.Errorf("why\n%s\nwant\n%s", got, want)
			}
			if r.Works != works || works != (c.verdict[len(c.verdict)-1] != none) {
				t.Errorf("works: %v", r.Works)
			}
			if text, _ := json.Marshal(r); strings.ContainsAny(string(text), "\x1b\n") {
				t.Errorf("unescaped: %s", text)
			}
		})
	}
}

// TestProbeEndpoints: what is said of a single endpoint.
func TestProbeEndpoints(t *testing.T) {
	e := scene(t, `
		work! smtps://mail.one.example dns=found 192.0.2.1=login 2001:db8::1=silent 2001:db8::2=noroute
		work! smtp://mail.one.example 192.0.2.1=refused 192.0.2.2=refused 192.0.2.3=ok
		work! smtp://mail.one.example:25 192.0.2.1=silent 192.0.2.2=cut
		work! smtp://mail.one.example:26 192.0.2.1=silent
		work! smtp://mail.one.example:27 dns=found`)
	r := e.report(probeNow)
	var got []string
	for _, ep := range r.Upstreams[0].Endpoints {
		got = append(got, fmt.Sprint(ep.Endpoint, " ", ep.Works, ": ", ep.Verdict))
	}
	want := `mail.one.example:465 true: works, logged in as ann, but not at 2001:db8::1: it does not answer
mail.one.example:587 true: works, but not at 2 of its 3 addresses: it refuses the connection
mail.one.example:25 false: it does not answer
mail.one.example:26 false: blocked by this network: it does not answer
mail.one.example:27 false: not tried`
	if got := strings.Join(got, "\n"); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

// TestProbeJSON holds the names that scripts read.
func TestProbeJSON(t *testing.T) {
	e := scene(t, `work smtps://mail.one.example dns=found 192.0.2.1=refused`)
	e.manager = netmon.ConnFull
	got, err := json.MarshalIndent(e.report(probeNow), "", " ")
	if err != nil {
		t.Fatal(err)
	}
	const want = `{
 "works": false,
 "network": {
  "state": "online",
  "network_manager": "full",
  "interfaces": [
   {
    "name": "wlan0",
    "addresses": [
     "192.168.1.2/24"
    ]
   }
  ]
 },
 "verdict": [
  "No upstream works."
 ],
 "upstreams": [
  {
   "name": "work",
   "works": false,
   "why": "it refuses the connection",
   "endpoints": [
    {
     "endpoint": "mail.one.example:465",
     "works": false,
     "verdict": "it refuses the connection",
     "steps": [
      {
       "step": "dns",
       "address": "",
       "ok": true,
       "text": "192.0.2.1",
       "took_ms": 1.2
      },
      {
       "step": "connect",
       "address": "192.0.2.1:465",
       "ok": false,
       "text": "it refuses the connection",
       "took_ms": 1
      }
     ]
    }
   ]
  }
 ]
}`
	if string(got) != want {
		t.Errorf("got\n%s", got)
	}
}

// TestProbe asks real sockets.
func TestProbe(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- sink.New(sink.Options{}).Serve(ctx, l) }()
	defer func() {
		stop()
		<-ended
	}()
	const dead = "127.0.0.1:1"
	cfg, err := Parse(filepath.Join(t.TempDir(), "config.toml"), fmt.Appendf(nil, `
		[[upstream]]
		name = "first"
		urls = ["smtp+insecure://%s"]
		[[upstream]]
		name = "second"
		urls = ["smtp+insecure://%s"]`, dead, l.Addr()))
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]string{}
	r, err := Probe(t.Context(), cfg, ProbeOptions{Found: func(upstream string, endpoint int, s ProbeStep) {
		found[upstream] += fmt.Sprint(endpoint, " ", s.Step, " ", s.OK, "\n")
	}})
	if err != nil || fmt.Sprint(r.Verdict) != "[Mail can leave by second; first does not work.]" {
		t.Errorf("%v %q", err, r.Verdict)
	}
	if found["first"] != "0 connect false\n" || found["second"] != "0 connect true\n0 greeting true\n0 ehlo true\n" {
		t.Errorf("found %q", found)
	}
	r, err = Probe(t.Context(), cfg, ProbeOptions{Names: []string{"second", "second"}})
	if err != nil || len(r.Upstreams) != 1 || !r.Works {
		t.Errorf("by name: %v %+v", err, r)
	}
	if _, err = Probe(t.Context(), cfg, ProbeOptions{Names: []string{"third"}}); err == nil || err.Error() != `there is no upstream "third"; there are: first, second` {
		t.Errorf("no such name: %v", err)
	}
	over, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err = Probe(over, cfg, ProbeOptions{}); !errors.Is(err, context.Canceled) {
		t.Errorf("after its end: %v", err)
	}
}

// TestProbeSaysWhatAProviderWants: of a provider that takes another password than
// the account's, that is said.
func TestProbeSaysWhatAProviderWants(t *testing.T) {
	profiles, err := relay.Profiles()
	if err != nil {
		t.Fatal(err)
	}
	reply, err := relay.ParseReply("534 5.7.9 Application-specific password required")
	if err != nil {
		t.Fatal(err)
	}
	f := relay.Finding{Stage: relay.Auth, Err: &relay.Error{Stage: relay.Auth, Reply: reply}}
	for name, want := range map[string]string{"gmail": "; give an app password, for the account's own is not taken", "zoho": "; correct username and password"} {
		if got := explain(UpstreamURL{}, relay.Rules{Profile: profiles[name]}, f, probeNow).String(); !strings.Contains(got, want) {
			t.Errorf("%s: %s", name, got)
		}
	}
}
