package gateway

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"strings"
	"time"

	"mailroam/gateway/relay"
	"mailroam/queue"
)

// plight is what is wrong, and what to do about it; fix is "" where that is the
// network's affair.
type plight struct{ what, fix string }

func (p plight) String() string {
	if p.fix == "" {
		return p.what
	}
	return p.what + "; " + p.fix
}

// explain puts a finding that went wrong in plain words. They are escaped.
func explain(u UpstreamURL, rules relay.Rules, f relay.Finding, now time.Time) plight {
	p := words{u: u, rules: rules, f: f, now: now}.plight()
	return plight{queue.Printable(p.what, maxProbeText), p.fix}
}

type words struct {
	u     UpstreamURL
	rules relay.Rules // what is known of the upstream's replies
	f     relay.Finding
	now   time.Time
}

func (w words) plight() plight {
	fault, ok := errors.AsType[*relay.Error](w.f.Err)
	if !ok {
		return plight{what: w.f.Err.Error()}
	}
	if fault.Err == nil {
		return refused(fault, w.rules, w.now)
	}
	p := plight{what: fault.Words("it")}
	_, wrongName := errors.AsType[x509.HostnameError](fault.Err)
	_, nobodys := errors.AsType[x509.UnknownAuthorityError](fault.Err)
	_, noTLS := errors.AsType[tls.RecordHeaderError](fault.Err)
	dns, _ := errors.AsType[*net.DNSError](fault.Err)
	switch {
	case errors.Is(fault, context.Canceled), fault.Sign() == relay.Web:
	case fault.Stage == relay.Resolve && dns != nil && dns.IsNotFound:
		p.fix = "is the name spelt right, or known only in another network?"
	case fault.Stage == relay.Connect && fault.Sign() != relay.NoSign:
		p = plight{p.what + ", and the name leads into private space", "a portal does that; or does it need a VPN?"}
	case errors.Is(fault, relay.ErrWrongTime):
		p.fix = "set the clock, which says " + moment(w.now) + ", or tell whoever runs the server"
	case wrongName:
		p.what += ": " + w.f.Text
		p.fix = "if this is no captive portal, correct the host in urls or add ?servername=NAME"
	case nobodys:
		p.what += ": " + w.f.Text
		p.fix = "if this is no captive portal and the certificate is right, add ?ca=FILE with its authority"
	case noTLS && w.u.Scheme == "smtps":
		p.fix = "if it wants STARTTLS, write smtp:// instead of smtps://"
	case fault.Stage == relay.StartTLS && !noTLS && fault.Sign() != relay.NoSign:
		p.fix = "smtps:// cannot be stripped so; does the provider have it?"
	case fault.Stage == relay.Greeting && isTimeout(fault.Err) && w.u.Scheme != "smtps":
		p.fix = "if it wants TLS from the start, write smtps://"
	case errors.Is(fault, relay.ErrPassword):
		p.fix = "see where the config says that the password is"
	}
	return p
}

// refused is for what the server said itself.
func refused(fault *relay.Error, rules relay.Rules, now time.Time) plight {
	said := fault.Reply.String()
	switch {
	case fault.Stage == relay.Greeting:
		return plight{what: "it refuses us: " + said}
	case fault.Stage == relay.StartTLS:
		return plight{what: "it refuses STARTTLS: " + said}
	case fault.Stage < relay.Auth:
		return plight{"it refuses our EHLO: " + said, "is hostname in the config a name that it may accept?"}
	case fault.Reply.Code/100 == 5:
		if m := rules.Classify(fault.Stage, fault.Reply, nil, "", now); m.By != nil && m.By.Remedy != "" {
			return plight{"the login is refused: " + said, m.By.Remedy}
		}
		return plight{"the login is refused: " + said, "correct username and password; some providers want an app password"}
	}
	return plight{"the login cannot be checked now: " + said, "try again later"}
}

func isTimeout(err error) bool {
	e, ok := errors.AsType[net.Error](err)
	return ok && e.Timeout()
}

func moment(t time.Time) string { return t.Format("2006-01-02 15:04 MST") }

// and lists words as people do.
func and(words []string) string {
	if len(words) < 2 {
		return strings.Join(words, "")
	}
	return strings.Join(words[:len(words)-1], ", ") + " and " + words[len(words)-1]
}
