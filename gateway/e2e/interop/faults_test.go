package interop

import (
	"strings"
	"testing"
	"time"
)

// ordinary is a message for the tests that are not about its text.
func ordinary() message {
	return message{name: "ordinary", from: sender, recipients: 1, header: "From: ann@example.org\nSubject: ordinary\n", body: "text\n"}
}

// submit sends one message to the gateway, each time by another way of speaking
// SMTP than the gateway's own client.
func submit(t *testing.T, gw *gateway, from string, to ...string) {
	t.Helper()
	m := ordinary()
	m.from = from
	_, port, _ := strings.Cut(gw.addr, ":")
	if err := goSMTPClient(t, port, m, to); err != nil {
		t.Fatal(err)
	}
}

// awaitLog waits until a server's log says it.
func awaitLog(t *testing.T, log func() string, said func(log string) bool) string {
	t.Helper()
	deadline := time.Now().Add(time.Minute)
	for {
		text := log()
		if said(text) {
			return text
		}
		if time.Now().After(deadline) {
			t.Fatalf("the log never said it:\n%s", text)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// service picks the lines of one Postfix listener.
func service(log, name string) string {
	var b strings.Builder
	for line := range strings.Lines(log) {
		if strings.Contains(line, " postfix/"+name+"/smtpd[") {
			b.WriteString(line)
		}
	}
	return b.String()
}

// logged is Postfix's log once the end of every session is in it: no line of a
// test is another's.
func (w *world) logged(t *testing.T) string {
	t.Helper()
	return awaitLog(t, w.postfix.Log, func(log string) bool {
		return strings.Count(log, ": connect from ") == strings.Count(log, ": disconnect from ")
	})
}

// TestStrangersGetNothing: a server whose certificate does not prove the name in
// the URL gets neither a password nor mail; the next upstream gets the mail.
func TestStrangersGetNothing(t *testing.T) {
	w := needWorld(t)
	second := upstream{name: "exim", url: w.url("smtp", w.ports.eximStartTLS), auth: "plain", password: password}
	for _, c := range []struct{ name, service, url string }{
		{"starttls-other-ca", "other-starttls", w.url("smtp", w.ports.postfixOtherStartTLS)},
		{"implicit-other-ca", "other-implicit", w.url("smtps", w.ports.postfixOtherImplct)},
		{"starttls-other-name", "starttls", w.url("smtp", w.ports.postfixStartTLS) + "&servername=mail.example.com"},
		{"implicit-other-name", "implicit", w.url("smtps", w.ports.postfixImplicit) + "&servername=mail.example.com"},
	} {
		t.Run(c.name, func(t *testing.T) {
			before := len(w.logged(t))
			gw := w.startGateway(t, upstream{name: "stranger", url: c.url, auth: "plain", password: password}, second)
			to := w.fresh(t, 1)[0]
			submit(t, gw, sender, to+"@example.net")
			maildir(w.eximMail).await(t, to)
			log := awaitLog(t, w.postfix.Log, func(log string) bool {
				return strings.Contains(service(log[before:], c.service), "disconnect from")
			})
			log = service(log[before:], c.service)
			// Postfix counts the commands of each session when it ends.
			for _, command := range []string{"auth=", "mail=", "rcpt=", "data=", "sasl_username"} {
				if strings.Contains(log, command) {
					t.Errorf("the stranger saw %q:\n%s", command, log)
				}
			}
		})
	}
}

// TestStrangersControl: the same look at the log does see a login and a MAIL when
// the server is who it should be.
func TestStrangersControl(t *testing.T) {
	w := needWorld(t)
	before := len(w.logged(t))
	gw := w.startGateway(t, upstream{name: "known", url: w.url("smtps", w.ports.postfixImplicit), auth: "plain", password: password})
	to := w.fresh(t, 1)[0]
	submit(t, gw, sender, to+"@example.net")
	maildir(w.postfixMail).await(t, to)
	if err := gw.stop(); err != nil {
		t.Fatal(err)
	}
	awaitLog(t, w.postfix.Log, func(log string) bool {
		log = service(log[before:], "implicit")
		return strings.Contains(log, "auth=1") && strings.Contains(log, "mail=1")
	})
}

// TestWrongPassword: the second upstream takes the mail, and the account is not
// tried again and again.
func TestWrongPassword(t *testing.T) {
	w := needWorld(t)
	for _, auth := range []string{"plain", "login"} {
		t.Run(auth, func(t *testing.T) {
			before := len(w.logged(t))
			gw := w.startGateway(t,
				upstream{name: "wrong", url: w.url("smtp", w.ports.postfixStartTLS), auth: auth, password: "not-this"},
				upstream{name: "exim", url: w.url("smtps", w.ports.eximImplicit), auth: auth, password: password})
			for _, to := range w.fresh(t, 5) {
				submit(t, gw, sender, to+"@example.net")
				maildir(w.eximMail).await(t, to)
			}
			if err := gw.stop(); err != nil {
				t.Fatal(err)
			}
			log := service(w.logged(t)[before:], "starttls")
			if n := strings.Count(log, "authentication failed"); n < 1 || n > 2 {
				t.Errorf("%d refused logins for 5 messages, want 1 or 2 (providers lock accounts):\n%s", n, log)
			}
			if strings.Contains(gw.Log(), "not-this") {
				t.Error("the gateway's log holds the wrong password")
			}
		})
	}
}

// TestRelayAccessDenied: Postfix does not relay for example.com, Exim does. A
// refusal that is about the upstream's policy must not bounce the mail.
func TestRelayAccessDenied(t *testing.T) {
	w := needWorld(t)
	before := len(w.logged(t))
	gw := w.startGateway(t,
		upstream{name: "postfix", url: w.url("smtp", w.ports.postfixStartTLS), auth: "plain", password: password},
		upstream{name: "exim", url: w.url("smtp", w.ports.eximStartTLS), auth: "login", password: password})
	for _, to := range w.fresh(t, 3) {
		submit(t, gw, sender, to+"@example.com")
		maildir(w.eximMail).await(t, to)
	}
	if err := gw.stop(); err != nil {
		t.Fatal(err)
	}
	if log := w.logged(t)[before:]; !strings.Contains(log, "Relay access denied") {
		t.Errorf("Postfix never said it:\n%s", log)
	}
}
