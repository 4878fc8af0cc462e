package dispatch

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"syscall"
	"testing"

	"mailroam/gateway/relay"
	"mailroam/health"
)

func TestProbeFault(t *testing.T) {
	foreign := &tls.CertificateVerificationError{Err: x509.UnknownAuthorityError{}}
	for _, c := range []struct {
		name string
		err  error
		kind health.Kind
		sign health.Sign
	}{
		{"passed", nil, health.None, health.NoSign},
		{"no such name", &relay.Error{Stage: relay.Resolve, Err: &net.DNSError{Err: "no such host", IsNotFound: true}}, health.Network, health.NoSign},
		{"DNS is silent", &relay.Error{Stage: relay.Resolve, Err: &net.DNSError{Err: "i/o timeout", IsTimeout: true}}, health.Network, health.DeadDNS},
		{"refused", &relay.Error{Stage: relay.Connect, Err: syscall.ECONNREFUSED}, health.Network, health.NoSign},
		{"a foreign certificate", &relay.Error{Stage: relay.TLS, Err: foreign}, "", health.Imposture},
		{"the same in private space", fmt.Errorf("probe: %w", &relay.Error{
			Stage: relay.TLS, Err: foreign, Endpoint: "mx.example.com:465", Addr: netip.MustParseAddrPort("10.0.0.1:465"),
		}), "", health.Imposture},
		{"a refused login", &relay.Error{Stage: relay.Auth, Reply: relay.Reply{Code: 535, Text: "no"}}, health.Account, health.NoSign},
		{"something else", errors.New("odd"), health.Network, health.NoSign},
	} {
		f := ProbeFault(c.err, relay.Rules{})
		if c.kind != "" && f.Kind != c.kind || f.Sign != c.sign || f.OK() != (c.err == nil) {
			t.Errorf("%s: got %+v, want %q with sign %q", c.name, f, c.kind, c.sign)
		}
	}
}

// TestSignsAreHealths: the words of the two rooms are the same, so that a new
// one cannot be left out here unseen.
func TestSignsAreHealths(t *testing.T) {
	for _, s := range []relay.Sign{relay.DeadDNS, relay.Imposture, relay.Web, relay.WrongClock} {
		if string(signs[s]) != string(s) {
			t.Errorf("%q is %q in health", s, signs[s])
		}
	}
}
