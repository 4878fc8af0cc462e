package interop

import (
	"bytes"
	"crypto/sha256"
	"testing"
)

// TestArrivesUnchanged sends every message with every client to every upstream.
func TestArrivesUnchanged(t *testing.T) {
	w := needWorld(t)
	for _, c := range []struct {
		name string
		up   upstream
		host string // what the upstream calls itself in its Received; "" if it adds none
		mail mailbox
	}{
		{"postfix-starttls-plain", upstream{url: w.url("smtp", w.ports.postfixStartTLS), auth: "plain"}, "postfix.test", maildir(w.postfixMail)},
		{"postfix-implicit-login", upstream{url: w.url("smtps", w.ports.postfixImplicit), auth: "login"}, "postfix.test", maildir(w.postfixMail)},
		{"exim-starttls-login", upstream{url: w.url("smtp", w.ports.eximStartTLS), auth: "login"}, "exim.test", maildir(w.eximMail)},
		{"exim-implicit-plain", upstream{url: w.url("smtps", w.ports.eximImplicit), auth: "plain"}, "exim.test", maildir(w.eximMail)},
		{"gosmtp-starttls-plain", upstream{url: w.url("smtp", w.gosmtp.addr.Port), auth: "plain"}, "", w.gosmtp.mailbox},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.up.name, c.up.password = c.name, password
			gw := w.startGateway(t, c.up)
			var used []string
			for _, client := range clients() {
				for _, m := range messages() {
					if client.composes && m.from == "" {
						continue // neither s-nail nor mutt can send from the null reverse-path
					}
					t.Run(client.name+"/"+m.name, func(t *testing.T) {
						to := w.fresh(t, m.recipients)
						used = append(used, to...)
						through(t, gw, client, m, to, c.host, c.mail)
					})
				}
			}
			for _, name := range used {
				if got, err := c.mail(name); err != nil || len(got) > 1 {
					t.Errorf("%s has %d messages at the end (%v): a second copy came later", name, len(got), err)
				}
			}
		})
	}
}

// through submits m, waits for it in every mailbox and compares.
func through(t *testing.T, gw *gateway, c client, m message, to []string, host string, box mailbox) {
	tap := newTap(t, gw.addr)
	var addresses []string
	for _, name := range to {
		addresses = append(addresses, name+"@example.net")
	}
	if err := c.send(t, tap.port(), m, addresses); err != nil {
		t.Fatal(err)
	}
	sent, err := tap.messages()
	if err != nil {
		t.Fatal(err)
	}
	if len(sent) != 1 {
		t.Fatalf("%s sent %d messages, want 1", c.name, len(sent))
	}
	if !c.composes && !bytes.Equal(bytes.TrimRight(sent[0], "\r\n"), bytes.TrimRight(m.data(), "\r\n")) {
		t.Fatalf("%s changed the message itself: %v", c.name, difference(m.data(), sent[0]))
	}
	for _, name := range to {
		if err := unchanged(sent[0], box.await(t, name), host); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	t.Logf("sha256 %x, %d octets", sha256.Sum256(sent[0]), len(sent[0]))
}
