//go:build linux

package lab

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
)

// trap is what a portal puts in the place of every mail server. It would take
// passwords and mail from whoever gave it some, and remembers what it heard.
type trap struct {
	cert *tls.Config

	mu    sync.Mutex
	found int
}

// The ports of a trap, to which a network redirects the real ones.
const (
	trapImplicit = 2465 // TLS from the first octet, with the portal's certificate
	trapStartTLS = 2587 // offers STARTTLS, with that certificate
	trapClear    = 2025 // offers no TLS and says yes to everything
	trapHTTP     = 2080
)

func (t *trap) start(n netns) error {
	serve := map[int]func(net.Conn){
		trapImplicit: func(c net.Conn) { t.greet(tls.Server(c, t.cert), false) },
		trapStartTLS: func(c net.Conn) { t.greet(c, true) },
		trapClear:    func(c net.Conn) { t.greet(c, false) },
	}
	for port, talk := range serve {
		l, err := n.listen(fmt.Sprintf(":%d", port))
		if err != nil {
			return err
		}
		go accept(l, talk)
	}
	l, err := n.listen(fmt.Sprintf(":%d", trapHTTP))
	if err != nil {
		return err
	}
	go func() { _ = http.Serve(l, http.RedirectHandler("http://login.hotel.test/", http.StatusFound)) }()
	return nil
}

// accept serves l until it closes.
func accept(l net.Listener, serve func(net.Conn)) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		go func() {
			defer c.Close()
			serve(c)
		}()
	}
}

func (t *trap) greet(c net.Conn, startTLS bool) {
	if _, err := io.WriteString(c, "220 mail.hotel.test at your service\r\n"); err == nil {
		t.talk(c, startTLS)
	}
}

// talk agrees to everything.
func (t *trap) talk(c net.Conn, startTLS bool) {
	heard := &scanner{needles: needles()}
	in := bufio.NewReader(io.TeeReader(c, writer(func(b []byte) {
		t.mu.Lock()
		defer t.mu.Unlock()
		t.found += heard.scan(b)
	})))
	say := func(line string) bool { _, err := io.WriteString(c, line+"\r\n"); return err == nil }
	for ok, inData, inAuth := true, false, false; ok; {
		line, err := in.ReadString('\n')
		if err != nil {
			return
		}
		line = strings.ToUpper(strings.TrimRight(line, "\r\n"))
		verb, _, _ := strings.Cut(line, " ")
		switch {
		case inData && line != ".":
		case inAuth:
			inAuth, ok = false, say("235 2.7.0 thank you")
		case verb == "EHLO" && startTLS:
			ok = say("250-mail.hotel.test\r\n250-AUTH PLAIN LOGIN\r\n250 STARTTLS")
		case verb == "EHLO":
			ok = say("250-mail.hotel.test\r\n250 AUTH PLAIN LOGIN")
		case verb == "STARTTLS" && startTLS:
			say("220 2.0.0 go ahead")
			t.talk(tls.Server(c, t.cert), false)
			return
		case verb == "AUTH" && strings.Count(line, " ") == 1:
			inAuth, ok = true, say("334 ")
		case verb == "AUTH":
			ok = say("235 2.7.0 thank you")
		case verb == "DATA":
			inData, ok = true, say("354 tell me")
		default:
			inData, ok = false, say("250 2.0.0 as you wish")
		}
	}
}

// heard is how many secrets were told to the portal.
func (t *trap) heard() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.found
}

type writer func([]byte)

func (w writer) Write(b []byte) (int, error) { w(b); return len(b), nil }

// The ports of the stripping proxies, one for each provider.
const (
	stripA = 2601
	stripB = 2602
)

// startStripper forwards what comes to port in n to server, and makes the offer
// of STARTTLS unreadable, as certain firewalls do.
func startStripper(ctx context.Context, n netns, port int, server string) error {
	l, err := n.listen(fmt.Sprintf(":%d", port))
	if err != nil {
		return err
	}
	go accept(l, func(client net.Conn) {
		up, err := n.dial(ctx, "tcp", server)
		if err != nil {
			return
		}
		defer up.Close()
		go func() {
			_, _ = io.Copy(up, client)
			_ = up.Close()
		}()
		b := make([]byte, 16<<10)
		for {
			k, err := up.Read(b)
			if _, werr := client.Write(bytes.ReplaceAll(b[:k], []byte("STARTTLS"), []byte("XXXXXXXA"))); err != nil || werr != nil {
				return
			}
		}
	})
	return nil
}
