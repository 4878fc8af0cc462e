package relay

import (
	"bufio"
	"crypto/tls"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"mailroam/gateway/sink"
)

// peer is an upstream that does exactly what a test says, word by word, and
// keeps all it was told.
type peer struct {
	t    *testing.T
	c    net.Conn
	r    *bufio.Reader
	told strings.Builder
}

// say is false when the client is gone.
func (p *peer) say(text string) bool {
	_, err := p.c.Write([]byte(text))
	return err == nil
}

// hear reads lines up to one with a prefix; false when the client is gone.
func (p *peer) hear(prefix string) bool {
	for {
		line, err := p.r.ReadString('\n')
		p.told.WriteString(line)
		if err != nil {
			return false
		}
		if strings.HasPrefix(line, prefix) {
			return true
		}
	}
}

// rest hears the client out.
func (p *peer) rest() string {
	_ = p.c.SetReadDeadline(time.Now().Add(time.Hour))
	b, _ := io.ReadAll(p.r)
	p.told.Write(b)
	return string(b)
}

func (p *peer) secure(config *tls.Config) {
	p.c = tls.Server(p.c, config)
	p.r = bufio.NewReader(p.c)
}

// withPeer runs a test against scripts: the n-th connection gets the n-th, and
// the last one all that follow.
func withPeer(t *testing.T, ro Options, scripts []func(*peer), test func(*world)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := &world{t: t, net: sink.NewNetwork()}
		l, err := w.net.Listen("tcp", host+":25")
		if err != nil {
			t.Fatal(err)
		}
		var peers sync.WaitGroup
		peers.Go(func() {
			for n := 0; ; n++ {
				c, err := l.Accept()
				if err != nil {
					return
				}
				peers.Go(func() {
					defer c.Close()
					scripts[min(n, len(scripts)-1)](&peer{t: t, c: c, r: bufio.NewReader(c)})
				})
			}
		})
		if ro.Endpoints == nil {
			ro.Endpoints = []Endpoint{{Mode: Insecure, Host: host, Port: "25"}}
		}
		ro.Name, ro.Hello, ro.Dial = "test", "client.example", w.net.Dial
		w.up = New(ro)
		test(w)
		w.up.CloseIdle()
		_ = l.Close()
		peers.Wait()
	})
}

const (
	greeting = "220 mx\r\n"
	plain    = "250-mx\r\n250 8BITMIME\r\n"
	piped    = "250-mx\r\n250 PIPELINING\r\n"
)

// opening plays greeting and EHLO.
func (p *peer) opening(ehlo string) {
	p.say(greeting)
	p.hear("EHLO")
	p.say(ehlo)
}
