package gateway

import (
	"context"
	"net"
	"net/mail"
	"net/smtp"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"mailroam/gateway/admin"
	"mailroam/gateway/sink"
	"mailroam/queue"
)

// TestRewritten: through a server that insists on its own address, the author is
// in Reply-To, the size announced is the size sent, and no other author goes.
func TestRewritten(t *testing.T) {
	took := make(chan sink.Message, 10)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	srv := sink.New(sink.Options{OnMessage: func(m sink.Message) { took <- m }})
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- srv.Serve(ctx, l) }()
	t.Cleanup(func() { stop(); <-done })

	dir := t.TempDir()
	cfg, err := Parse(filepath.Join(dir, "config.toml"), []byte(`
data_dir = "data"
[[listen]]
address = "127.0.0.1:0"
[[upstream]]
name = "gmail"
urls = ["smtp+insecure://`+l.Addr().String()+`"]
senders = ["acct@gmail.example"]
rewrite = { "@example.com" = "acct@gmail.example" }
`))
	if err != nil {
		t.Fatal(err)
	}
	g, _ := running(t, cfg)
	send := func(from, author string) error {
		text := "From: " + author + "\r\nSubject: x\r\n\r\n" + strings.Repeat("hello\r\n", 1000)
		return smtp.SendMail(g.Addrs()[0].String(), nil, from, []string{"bob@example.net"}, []byte(text))
	}
	if err := send("ann@example.com", "Ann <ann@example.com>"); err != nil {
		t.Fatal(err)
	}
	var got sink.Message
	select {
	case got = <-took:
	case <-time.After(time.Minute):
		t.Fatal("nothing came")
	}
	m, err := mail.ReadMessage(strings.NewReader(string(got.Body)))
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{"From": "Ann <acct@gmail.example>", "Reply-To": "Ann <ann@example.com>", "X-Original-From": "Ann <ann@example.com>"} {
		if got := m.Header.Get(name); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	if got.From != "acct@gmail.example" || !strings.HasSuffix(string(got.Body), "\r\n\r\n"+strings.Repeat("hello\r\n", 1000)) {
		t.Errorf("from %q, %d octets", got.From, len(got.Body))
	}

	if err := send("eve@example.org", "eve@example.org"); err == nil || !strings.Contains(err.Error(), "no upstream may send for <eve@example.org>") {
		t.Errorf("a stranger at MAIL: %v", err)
	}
	// Who else the From: line names is known after DATA only.
	if err := send("ann@example.com", "eve@example.org"); err != nil {
		t.Fatal(err)
	}
	client := admin.NewClient(admin.SocketPath(cfg.DataDir))
	deadline := time.Now().Add(time.Minute)
	for {
		s, err := client.Status(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if len(s.Held) == 1 {
			if why := s.Held[0].Held.Reason; !strings.Contains(why, "<eve@example.org>, which the From: line names") {
				t.Error(why)
			}
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("it is not held")
		}
		time.Sleep(10 * time.Millisecond) // polls the gateway
	}
	r, err := client.Route(t.Context(), admin.Question("ann@example.com", "bob@example.net", queue.Content{Authors: []string{"eve@example.org"}}, 0))
	if err != nil || r.Upstreams[0].May || !strings.Contains(r.NoRoute, "eve@example.org") || r.Upstreams[0].Now == nil {
		t.Errorf("%+v, %v", r, err)
	}
}

// TestNobodyOffers: what no upstream is able to carry is refused, and does not
// wait for one that could.
func TestNobodyOffers(t *testing.T) {
	took := make(chan sink.Message, 10)
	addrs := []string{}
	for range 2 {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		srv := sink.New(sink.Options{OnMessage: func(m sink.Message) { took <- m }}) // no SMTPUTF8
		ctx, stop := context.WithCancel(context.Background())
		done := make(chan error, 1)
		go func() { done <- srv.Serve(ctx, l) }()
		t.Cleanup(func() { stop(); <-done })
		addrs = append(addrs, l.Addr().String())
	}
	g, _ := running(t, parsed(t, t.TempDir(), "a", addrs[0], "b", addrs[1]))
	text := "From: ann@example.com\r\nSubject: Grüße\r\n\r\nhello\r\n"
	if err := smtp.SendMail(g.Addrs()[0].String(), nil, "ann@example.com", []string{"bob@example.net"}, []byte(text)); err != nil {
		t.Fatal(err)
	}
	select {
	case m := <-took:
		if m.From != "" || m.To[0] != "ann@example.com" || !strings.Contains(string(m.Body), "5.6.7") {
			t.Errorf("from %q to %q: %s", m.From, m.To, m.Body)
		}
	case <-time.After(time.Minute):
		t.Fatal("its sender heard nothing")
	}
}
