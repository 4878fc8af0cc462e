package relay

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"mailroam/gateway/sink"
)

func identity(t testing.TB, hosts ...string) *sink.Identity {
	t.Helper()
	id, err := sink.NewIdentity(hosts...)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// TestIdentity: no octet of mail and no secret for a peer that does not prove
// who it is.
func TestIdentity(t *testing.T) {
	year := func(y int) time.Time { return time.Date(y, 1, 1, 0, 0, 0, 0, time.UTC) }
	good := identity(t, host, "*.wild.example")
	other := identity(t, "other.example")
	byIP := identity(t, "192.0.2.1")
	old, err := sink.NewIdentityValid(year(1998), year(1999), host) // the bubble's clock says 2000
	if err != nil {
		t.Fatal(err)
	}
	commonName, err := sink.NewIdentity() // its name is "practice upstream", in the subject alone
	if err != nil {
		t.Fatal(err)
	}
	ancient := good.Server.Clone()
	ancient.MinVersion, ancient.MaxVersion = tls.VersionTLS10, tls.VersionTLS11
	for _, c := range []struct {
		name     string
		server   *tls.Config
		roots    *x509.CertPool
		host, as string
		trusted  bool
	}{
		{"good", good.Server, good.Roots, host, "", true},
		{"good by wildcard", good.Server, good.Roots, "x.wild.example", "", true},
		{"good by servername", other.Server, other.Roots, host, "other.example", true},
		{"good by IP", byIP.Server, byIP.Roots, "192.0.2.1", "", true},
		{"wrong name", other.Server, other.Roots, host, "", false},
		{"wrong servername", good.Server, good.Roots, host, "other.example", false},
		{"wrong IP", byIP.Server, byIP.Roots, "192.0.2.2", "", false},
		{"name for an IP", good.Server, good.Roots, "192.0.2.1", "", false},
		{"unknown authority", good.Server, other.Roots, host, "", false},
		{"system's authorities", good.Server, nil, host, "", false},
		{"expired", old.Server, old.Roots, host, "", false},
		{"name in the subject only", commonName.Server, commonName.Roots, "practice upstream", "", false},
		{"TLS 1.1", ancient, good.Roots, host, "", false},
	} {
		for _, mode := range []Mode{Implicit, RequireStartTLS} {
			t.Run(fmt.Sprint(c.name, " ", mode), func(t *testing.T) {
				inWorld(t, sink.Options{TLS: c.server, Implicit: mode == Implicit, Users: map[string]string{"ann": "pw"}}, Options{
					Endpoints: []Endpoint{{Mode: mode, Host: c.host, Port: "25", ServerName: c.as, Roots: c.roots}},
					Username:  "ann", Password: password("pw"),
				}, func(w *world) {
					w.route()
					for probe, err := range map[string]error{"probe": w.up.Probe(w.t.Context()), "login": w.up.Login(w.t.Context())} {
						if (err == nil) != c.trusted {
							t.Errorf("%s: %v", probe, err)
						}
					}
					res := w.deliver(mail(letter, "b@example.com"))
					if c.trusted {
						w.want(res, "dot 250")
						if got := w.sink.Messages(); len(got) != 1 || !got[0].TLS || got[0].User != "ann" {
							t.Errorf("got %+v", got)
						}
						return
					}
					r := res.Rcpts[0]
					if v, s := classify(r.Stage, r.Reply, r.Err, ""); v != Next || s != ScopeIdentity || w.sink.Count() != 0 || res.Served {
						t.Errorf("got %s %s: %v", v, s, r)
					}
				})
			})
		}
	}
}

// route sends every dial to the sink, whatever the name.
func (w *world) route() { w.up.opts.Dial = w.net.DialTo(host + ":25") }

// TestStartTLSIsRequired: a peer that hides, refuses or abuses STARTTLS gets no
// word of mail in the clear. The name it is told is our own.
func TestStartTLSIsRequired(t *testing.T) {
	id := identity(t, host)
	fakes := []string{"not offered", "mangled", "plain answer", "injected", "injected, TLS follows", "refused"}
	for name, script := range map[string]func(*peer){
		"not offered": func(p *peer) { p.opening("250-mx\r\n250-AUTH PLAIN LOGIN\r\n250 8BITMIME\r\n") },
		"mangled":     func(p *peer) { p.opening("250-mx\r\n250 XXXXXXXA\r\n") },
		"HELO only":   func(p *peer) { p.opening("502 what?\r\n") },
		"refused":     func(p *peer) { p.opening("250-mx\r\n250 STARTTLS\r\n"); p.hear("STARTTLS"); p.say("554 no\r\n") },
		"unavailable": func(p *peer) { p.opening("250-mx\r\n250 STARTTLS\r\n"); p.hear("STARTTLS"); p.say("454 no\r\n") },
		"plain answer": func(p *peer) {
			p.opening("250-mx\r\n250 STARTTLS\r\n")
			p.hear("STARTTLS")
			p.say("220 go\r\n")
			time.Sleep(time.Second)
			p.say("250 mx\r\n")
		},
		"injected": func(p *peer) {
			p.opening("250-mx\r\n250 STARTTLS\r\n")
			p.hear("STARTTLS")
			p.say("220 go\r\n250-mx\r\n250 AUTH PLAIN\r\n")
			p.secure(id.Server)
			p.hear("EHLO")
			p.say("250 mx\r\n")
		},
		"injected, TLS follows": func(p *peer) {
			p.opening("250-mx\r\n250 STARTTLS\r\n")
			p.hear("STARTTLS")
			p.say("220 go\r\n250 injected\r\n")
			p.secure(id.Server)
			p.hear("EHLO")
			p.say("250-mx\r\n250 AUTH PLAIN\r\n")
		},
	} {
		t.Run(name, func(t *testing.T) {
			var told string
			withPeer(t, Options{
				Endpoints: []Endpoint{{Mode: RequireStartTLS, Host: host, Port: "25", Roots: id.Roots}},
				Username:  "ann", Password: password("canary"),
			}, []func(*peer){func(p *peer) {
				script(p)
				p.rest()
				told = p.told.String()
			}}, func(w *world) {
				res := w.deliver(mail(letter, "b@example.com"))
				r := res.Rcpts[0]
				v, s := classify(r.Stage, r.Reply, r.Err, "")
				if v != Next || r.Stage > StartTLS || (s == ScopeIdentity) != slices.Contains(fakes, name) {
					t.Errorf("got %s %s: %v", v, s, r)
				}
			})
			if !strings.HasPrefix(told, "EHLO client.example\r\n") {
				t.Errorf("it was told %q", told)
			}
			if strings.Contains(told, "STARTTLS") != !slices.Contains([]string{"not offered", "mangled", "HELO only"}, name) {
				t.Errorf("STARTTLS: %q", told)
			}
			for _, word := range []string{"MAIL", "AUTH", "HELO client", "canary"} {
				if strings.Contains(strings.TrimPrefix(told, "EHLO client.example\r\n"), word) {
					t.Errorf("%s in the clear: %q", word, told)
				}
			}
		})
	}
}

// TestCapabilitiesAreForgotten: what was offered in the clear does not count
// under TLS.
func TestCapabilitiesAreForgotten(t *testing.T) {
	id := identity(t, host)
	var told string
	withPeer(t, Options{Endpoints: []Endpoint{{Mode: RequireStartTLS, Host: host, Port: "25", Roots: id.Roots}}}, []func(*peer){func(p *peer) {
		p.opening("250-mx\r\n250-PIPELINING\r\n250-8BITMIME\r\n250-SIZE 10\r\n250-AUTH PLAIN\r\n250 STARTTLS\r\n")
		p.hear("STARTTLS")
		p.say("220 go\r\n")
		p.secure(id.Server)
		p.hear("EHLO")
		p.say("250 mx\r\n")
		for _, command := range []string{"MAIL", "RCPT"} {
			p.hear(command)
			if p.r.Buffered() > 0 {
				t.Error("it pipelines")
			}
			p.say("250 ok\r\n")
		}
		p.hear("DATA")
		p.say("354 go\r\n")
		p.hear(".\r\n")
		p.say("250 ok\r\n")
		p.rest()
		told = p.told.String()
	}}, func(w *world) {
		w.want(w.deliver(mail(letter, "b@example.com")), "dot 250")
	})
	if !strings.Contains(told, "MAIL FROM:<ann@example.com>\r\n") {
		t.Errorf("told %q", told)
	}
}

func TestAuth(t *testing.T) {
	id := identity(t, host)
	secret := func(user, pw string) string { return encode("\x00" + user + "\x00" + pw) }
	for _, c := range []struct {
		name, auth string
		script     func(*peer)
		want       string
	}{
		{"plain before login", "auto", func(p *peer) {
			p.say("250-mx\r\n250 AUTH LOGIN PLAIN\r\n")
			p.hear("AUTH PLAIN " + secret("ann", "pw") + "\r\n")
			p.say("235 ok\r\n")
		}, "mail 450"},
		{"any 2xx", "auto", func(p *peer) {
			p.say("250-mx\r\n250 AUTH PLAIN\r\n")
			p.hear("AUTH PLAIN " + secret("ann", "pw") + "\r\n")
			p.say("250 ok\r\n")
		}, "mail 450"},
		{"old form, lower case", "auto", func(p *peer) {
			p.say("250-mx\r\n250 auth=login\r\n")
			p.hear("AUTH LOGIN\r\n")
			p.say("334 dXNlcm5hbWU=\r\n") // username
			p.hear(encode("ann") + "\r\n")
			p.say("334\r\n")
			p.hear(encode("pw") + "\r\n")
			p.say("235 ok\r\n")
		}, "mail 450"},
		{"prompts that are no base64", "login", func(p *peer) {
			p.say("250-mx\r\n250 AUTH PLAIN LOGIN\r\n")
			p.hear("AUTH LOGIN\r\n")
			p.say("334 who are you?\r\n")
			p.hear(encode("ann") + "\r\n")
			p.say("334-a lot\r\n334 of text \x01\r\n")
			p.hear(encode("pw") + "\r\n")
			p.say("235 ok\r\n")
		}, "mail 450"},
		{"plain without initial response", "plain", func(p *peer) {
			p.say("250-mx\r\n250 AUTH PLAIN\r\n")
			p.hear("AUTH PLAIN ")
			p.say("334 \r\n")
			p.hear(secret("ann", "pw") + "\r\n")
			p.say("235 ok\r\n")
		}, "mail 450"},
		{"endless prompts", "auto", func(p *peer) {
			p.say("250-mx\r\n250 AUTH LOGIN\r\n")
			for p.hear("") && p.say("334 more\r\n") {
			}
		}, "auth error"},
		{"refused", "auto", func(p *peer) {
			p.say("250-mx\r\n250 AUTH PLAIN\r\n")
			p.hear("AUTH")
			p.say("535 5.7.8 pw is wrong, " + secret("ann", "pw") + " too\r\n")
		}, "auth 535"},
		{"echo", "auto", func(p *peer) {
			p.say("250-mx\r\n250 AUTH PLAIN\r\n")
			line, _ := p.r.ReadString('\n')
			p.say(line)
		}, "auth error"},
		{"no mechanism", "auto", func(p *peer) { p.say("250-mx\r\n250 AUTH CRAM-MD5 XOAUTH2\r\n") }, "auth error"},
		{"not the one", "plain", func(p *peer) { p.say("250-mx\r\n250 AUTH LOGIN\r\n") }, "auth error"},
		{"none offered", "auto", func(p *peer) { p.say("250 mx\r\n") }, "auth error"},
	} {
		t.Run(c.name, func(t *testing.T) {
			withPeer(t, Options{
				Endpoints: []Endpoint{{Mode: Implicit, Host: host, Port: "25", Roots: id.Roots}},
				Auth:      c.auth, Username: "ann", Password: password("pw"),
			}, []func(*peer){func(p *peer) {
				p.secure(id.Server)
				p.say(greeting)
				p.hear("EHLO")
				c.script(p)
				if p.hear("MAIL") {
					p.say("450 no\r\n")
				}
				p.rest()
			}}, func(w *world) {
				res := w.deliver(mail(letter, "b@example.com"))
				w.want(res, c.want)
				if text := fmt.Sprint(res.Rcpts[0]); strings.Contains(text, "pw") || strings.Contains(text, secret("ann", "pw")) {
					t.Errorf("a secret in %q", text)
				}
				if c.want == "auth error" {
					if v, s := classify(Auth, Reply{}, res.Rcpts[0].Err, ""); v != Next || c.name != "endless prompts" && c.name != "echo" && s != ScopeAccount {
						t.Errorf("%s %s", v, s)
					}
				}
			})
		})
	}
}

// TestPasswordsStayAtHome: without TLS a password goes to a loopback host only.
func TestPasswordsStayAtHome(t *testing.T) {
	for host, sent := range map[string]bool{"127.0.0.1": true, "::1": true, "localhost": true, "192.0.2.1": false, "mx.example": false, "127.0.0.1.example": false, "localhost.example": false} {
		inWorld(t, sink.Options{Users: map[string]string{"ann": "pw"}}, Options{
			Endpoints: []Endpoint{{Mode: Insecure, Host: host, Port: "25"}}, Username: "ann",
		}, func(w *world) {
			w.route()
			asked := false
			w.up.opts.Password = func(context.Context) (string, error) { asked = true; return "pw", nil }
			res := w.deliver(mail(letter, "b@example.com"))
			if sent {
				w.want(res, "dot 250")
			} else if !errors.Is(res.Rcpts[0].Err, errClear) || asked {
				t.Errorf("%s: %v, asked %v", host, res.Rcpts[0], asked)
			}
		})
	}
}

// TestPasswordFails: that there is no password is reported as itself.
func TestPasswordFails(t *testing.T) {
	id := identity(t, host)
	why := errors.New("the key ring is locked")
	inWorld(t, sink.Options{TLS: id.Server, Implicit: true, Users: map[string]string{}}, Options{
		Endpoints: []Endpoint{{Mode: Implicit, Host: host, Port: "25", Roots: id.Roots}},
		Username:  "ann", Password: func(context.Context) (string, error) { return "", why },
	}, func(w *world) {
		r := w.deliver(mail(letter, "b@example.com")).Rcpts[0]
		if !errors.Is(r.Err, ErrPassword) || !errors.Is(r.Err, why) || r.Stage != Auth {
			t.Errorf("got %v", r)
		}
	})
}

// TestOneLoginPerDelivery: a refused login is not tried at the other endpoints
// of the same account, and not with the other mechanism.
func TestOneLoginPerDelivery(t *testing.T) {
	id := identity(t, host)
	e := Endpoint{Mode: Implicit, Host: host, Port: "25", Roots: id.Roots}
	inWorld(t, sink.Options{TLS: id.Server, Implicit: true, Users: map[string]string{"ann": "new"}}, Options{
		Endpoints: []Endpoint{e, e}, Username: "ann", Password: password("old"),
	}, func(w *world) {
		w.want(w.deliver(mail(letter, "b@example.com")), "auth 535")
		if n := w.sink.Conns(); n != 1 {
			t.Errorf("%d logins", n)
		}
		if err := w.up.Login(w.t.Context()); err == nil {
			t.Error("the re-check passed")
		}
		w.up.opts.Password = password("new")
		if err := w.up.Login(w.t.Context()); err != nil {
			t.Error(err)
		}
	})
}

// TestHELO: the old greeting is tried only where neither TLS nor AUTH is asked
// for.
func TestHELO(t *testing.T) {
	id := identity(t, host)
	for _, c := range []struct {
		mode Mode
		user string
		want string
	}{
		{Insecure, "", "dot 250"},
		{Insecure, "ann", "ehlo 502"},
		{RequireStartTLS, "", "ehlo 502"},
		{Implicit, "", "ehlo 502"},
	} {
		inWorld(t, sink.Options{TLS: id.Server, Implicit: c.mode == Implicit, Faults: faults(t, "ehlo=502 what")}, Options{
			Endpoints: []Endpoint{{Mode: c.mode, Host: "localhost", ServerName: host, Port: "25", Roots: id.Roots}},
			Username:  c.user, Password: password("pw"),
		}, func(w *world) {
			w.route()
			w.want(w.deliver(mail(letter, "b@example.com")), c.want)
		})
	}
}
