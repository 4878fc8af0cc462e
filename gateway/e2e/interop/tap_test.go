package interop

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
)

// tap is a proxy that keeps what the client sends.
type tap struct {
	listener net.Listener
	target   string
	sessions sync.WaitGroup

	mu   sync.Mutex
	sent []*bytes.Buffer // one per connection
}

func newTap(t *testing.T, target string) *tap {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &tap{listener: l, target: target}
	p.sessions.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			p.sessions.Go(func() { p.relay(conn) })
		}
	})
	t.Cleanup(func() { l.Close(); p.sessions.Wait() })
	return p
}

func (p *tap) port() string { return fmt.Sprint(p.listener.Addr().(*net.TCPAddr).Port) }

func (p *tap) relay(client net.Conn) {
	defer client.Close()
	server, err := net.Dial("tcp", p.target)
	if err != nil {
		return
	}
	defer server.Close()
	kept := &bytes.Buffer{}
	p.mu.Lock()
	p.sent = append(p.sent, kept)
	p.mu.Unlock()
	var up sync.WaitGroup
	up.Go(func() {
		// Kept before it is passed on: what the client has an answer to is there.
		_, _ = io.Copy(io.MultiWriter(&lockedWriter{&p.mu, kept}, server), client)
		_ = server.(*net.TCPConn).CloseWrite()
	})
	_, _ = io.Copy(client, server)
	_ = client.Close()
	up.Wait()
}

type lockedWriter struct {
	mu *sync.Mutex
	w  io.Writer
}

func (w *lockedWriter) Write(b []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.w.Write(b)
}

// messages are the mail data the client has sent, dot-stuffing undone, since the
// last call.
func (p *tap) messages() ([][]byte, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	var all [][]byte
	for _, session := range p.sent {
		found, err := mailData(session)
		if err != nil {
			return nil, err
		}
		all = append(all, found...)
	}
	p.sent = nil
	return all, nil
}

// mailData reads a client's half of a dialogue (RFC 5321 4.1.1.4, 4.5.2).
func mailData(session io.Reader) ([][]byte, error) {
	r := bufio.NewReader(session)
	var found [][]byte
	for {
		line, err := r.ReadString('\n')
		if err == io.EOF && line == "" {
			return found, nil
		}
		if err != nil {
			return nil, fmt.Errorf("half a command %q: %w", line, err)
		}
		if !strings.EqualFold(strings.TrimSpace(line), "DATA") {
			continue
		}
		var data bytes.Buffer
		for {
			line, err := r.ReadBytes('\n')
			if err != nil {
				return nil, fmt.Errorf("mail data without its final dot: %w", err)
			}
			if string(line) == ".\r\n" {
				break
			}
			data.Write(bytes.TrimPrefix(line, []byte(".")))
		}
		found = append(found, data.Bytes())
	}
}
