package sink

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/emersion/go-smtp"
)

// peer is a plain client: it sends lines and reads replies.
type peer struct {
	t *testing.T
	c net.Conn
	r *bufio.Reader
}

func talk(t *testing.T, s *Server) *peer {
	c, srv := Pipe()
	go s.ServeConn(srv)
	return &peer{t, c, bufio.NewReader(c)}
}

func (p *peer) send(s string) { _, _ = p.c.Write([]byte(s)) }

// want reads one reply and compares how it begins.
func (p *peer) want(prefix string) {
	p.t.Helper()
	for {
		line, err := p.r.ReadString('\n')
		if err != nil {
			p.t.Fatalf("want %q, got %v", prefix, err)
		}
		if len(line) > 3 && line[3] == '-' {
			continue
		}
		if !strings.HasPrefix(line, prefix) {
			p.t.Fatalf("want %q, got %q", prefix, line)
		}
		return
	}
}

func TestFaultsFromText(t *testing.T) {
	for text, want := range map[string]string{
		"dot=451":             "{dot  {0 0} {0 0} [{reply 451 as requested 0s}]}",
		"greeting%1-3=hang":   "{greeting  {0 0} {1 3} [{hang  0s}]}",
		"dot#2=take; close":   "{dot  {2 2} {0 0} [{take  0s} {close  0s}]}",
		"data=354 go; 250 ok": "{data  {0 0} {0 0} [{reply 354 go 0s} {reply 250 ok 0s}]}",
		"mail=delay 5s":       "{mail  {0 0} {0 0} [{delay  5s}]}",
		"rcpt:bob@example.com#1%2=550 5.1.1 no such user, a=b": "{rcpt bob@example.com {1 1} {2 2} [{reply 550 5.1.1 no such user, a=b 0s}]}",
		`ehlo=250-a\n250 b`: "{ehlo  {0 0} {0 0} [{reply 250-a\r\n250 b 0s}]}",
	} {
		f, err := ParseFault(text)
		if got := fmt.Sprint(f); err != nil || got != want {
			t.Errorf("%s: got %s, %v; want %s", text, got, err, want)
		}
	}
	for _, text := range []string{"", "dot", "dotty=451", "dot=", "dot=4510", "dot=hang on", "mail=delay", "mail=take", "mail:a@b=451", "dot#0=451", "dot#3-2=451"} {
		if f, err := ParseFault(text); err == nil {
			t.Errorf("%q was read as %v", text, f)
		}
	}
}

func FuzzParseFault(f *testing.F) {
	f.Add("rcpt:a@b#1-2%3=550 x; delay 1s; close")
	f.Fuzz(func(t *testing.T, s string) {
		if fault, err := ParseFault(s); err == nil && len(fault.Steps) == 0 {
			t.Error("a fault that does nothing")
		}
	})
}

// TestPeerClient has go-smtp's client deliver through TCP, TLS and AUTH.
func TestPeerClient(t *testing.T) {
	id, err := NewIdentity("127.0.0.1")
	if err != nil {
		t.Fatal(err)
	}
	for _, implicit := range []bool{false, true} {
		s := New(Options{Keep: true, TLS: id.Server, Implicit: implicit})
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- s.Serve(ctx, l) }()
		dial := smtp.DialStartTLS
		if implicit {
			dial = smtp.DialTLS
		}
		c, err := dial(l.Addr().String(), &tls.Config{RootCAs: id.Roots, ServerName: "127.0.0.1"})
		if err != nil {
			t.Fatal(err)
		}
		const body = "Subject: x\r\n\r\n.dot\r\n..\r\nend\r\n"
		for range 2 {
			if err := c.SendMail("a@example.com", []string{"b@example.com", "c@example.com"}, strings.NewReader(body)); err != nil {
				t.Fatal(err)
			}
		}
		if err := c.Quit(); err != nil {
			t.Error(err)
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		got := s.Messages()
		if len(got) != 2 || string(got[1].Body) != body || !got[1].TLS || len(got[1].To) != 2 {
			t.Errorf("implicit %v: got %+v", implicit, got)
		}
	}
}

func TestAuth(t *testing.T) {
	s := New(Options{Users: map[string]string{"ann": "pw"}})
	defer s.Cut()
	p := talk(t, s)
	p.want("220")
	p.send("EHLO x\r\n")
	p.want("250 AUTH PLAIN LOGIN")
	p.send("MAIL FROM:<>\r\n")
	p.want("530")
	p.send("AUTH PLAIN AGFubgBubw==\r\n") // ann, no
	p.want("535")
	p.send("AUTH LOGIN\r\nYW5u\r\ncHc=\r\n")
	p.want("334")
	p.want("334")
	p.want("235")
	p.send("MAIL FROM:<>\r\n")
	p.want("250")
}

// TestEndOfData sends sequences that must not end a body.
func TestEndOfData(t *testing.T) {
	for _, odd := range []string{"\n.\n", "\n.\r\n", "\r\n.\n", "\r.\r", "\r\n.\r", "\r\n\x00.\r\n", strings.Repeat("x", 16<<10-3) + "\r\n."} {
		s := New(Options{Keep: true})
		p := talk(t, s)
		p.send("EHLO x\r\nMAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nDATA\r\nx" + odd + "MAIL FROM:<evil@e>\r\n.\r\nQUIT\r\n")
		for _, code := range []string{"220", "250", "250", "250", "354", "250", "221"} {
			p.want(code)
		}
		if n := s.Count(); n != 1 {
			t.Errorf("%q: %d messages", odd, n)
		}
		s.Cut()
	}
}

// TestFaultAtEveryStage checks that each action is what a client sees, at each stage.
func TestFaultAtEveryStage(t *testing.T) {
	script := []struct {
		stage Stage
		send  string
	}{
		{Greeting, ""}, {Ehlo, "EHLO x\r\n"}, {Helo, "HELO x\r\n"}, {Mail, "MAIL FROM:<a@b>\r\n"}, {Rcpt, "RCPT TO:<c@d>\r\n"}, {Data, "DATA\r\n"}, {Dot, "x\r\n.\r\n"}, {Quit, "QUIT\r\n"},
	}
	for i, at := range script {
		for action, check := range map[string]func(line string, err error, took time.Duration) bool{
			"451 odd":   func(l string, err error, _ time.Duration) bool { return l == "451 odd\r\n" },
			"delay 30s": func(l string, err error, took time.Duration) bool { return err == nil && took == 30*time.Second },
			"slow":      func(l string, err error, took time.Duration) bool { return err == nil && took >= 5*time.Second },
			"garbage":   func(l string, err error, _ time.Duration) bool { return strings.Contains(l, "\x00") },
			"flood":     func(l string, err error, _ time.Duration) bool { return strings.HasPrefix(l, "250-") },
			"hang":      func(l string, err error, _ time.Duration) bool { return errors.Is(err, os.ErrDeadlineExceeded) },
			"close":     func(l string, err error, _ time.Duration) bool { return errors.Is(err, io.EOF) },
			"reset":     func(l string, err error, _ time.Duration) bool { return errors.Is(err, syscall.ECONNRESET) },
		} {
			t.Run(string(at.stage)+"="+action, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					f, err := ParseFault(string(at.stage) + "=" + action)
					if err != nil {
						t.Fatal(err)
					}
					s := New(Options{Faults: []Fault{f}})
					defer s.Cut()
					p := talk(t, s)
					for j, step := range script[:i] {
						p.send(step.send)
						p.want([]string{"220", "250", "250", "250", "250", "354", "250", "221"}[j])
					}
					p.send(at.send)
					begin := time.Now()
					_ = p.c.SetReadDeadline(begin.Add(10 * time.Minute))
					line, err := p.r.ReadString('\n')
					if took := time.Since(begin); !check(line, err, took) {
						t.Errorf("got %q, %v after %v", line, err, took)
					}
				})
			})
		}
	}
}

func TestFaultPicksItsTime(t *testing.T) {
	var faults []Fault
	for _, text := range []string{"rcpt:no@d=550 5.1.1 no", "dot#2=take; close", "greeting%2=421 busy"} {
		f, err := ParseFault(text)
		if err != nil {
			t.Fatal(err)
		}
		faults = append(faults, f)
	}
	s := New(Options{Keep: true, Faults: faults})
	defer s.Cut()
	p := talk(t, s)
	p.want("220")
	const transaction = "MAIL FROM:<>\r\nRCPT TO:<no@d>\r\nRCPT TO:<c@d>\r\nDATA\r\nx\r\n.\r\n"
	p.send(transaction)
	for _, code := range []string{"250", "550", "250", "354", "250"} {
		p.want(code)
	}
	p.send(transaction)
	for _, code := range []string{"250", "550", "250", "354"} {
		p.want(code)
	}
	if _, err := p.r.ReadString('\n'); err != io.EOF {
		t.Errorf("the second dot: %v", err)
	}
	if got := s.Messages(); len(got) != 2 || len(got[1].To) != 1 {
		t.Errorf("got %+v", got)
	}
	talk(t, s).want("421")
	talk(t, s).want("220")
}

func TestCutAndRestore(t *testing.T) {
	for name, listen := range map[string]func(network, address string) (net.Listener, error){"tcp": net.Listen, "memory": NewNetwork().Listen} {
		t.Run(name, func(t *testing.T) {
			l, err := listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			dial := func() (net.Conn, error) { return net.Dial("tcp", l.Addr().String()) }
			if m, ok := l.(*listener); ok {
				dial = func() (net.Conn, error) { return m.network.Dial(t.Context(), "tcp", l.Addr().String()) }
			}
			s := New(Options{Listen: listen})
			ctx, cancel := context.WithCancel(t.Context())
			done := make(chan error, 1)
			go func() { done <- s.Serve(ctx, l) }()
			for range 3 {
				c, err := dial()
				if err != nil {
					t.Fatal(err)
				}
				p := &peer{t, c, bufio.NewReader(c)}
				p.want("220")
				s.Cut()
				if _, err := p.r.ReadByte(); !errors.Is(err, syscall.ECONNRESET) {
					t.Errorf("cut: read gave %v", err)
				}
				if _, err := dial(); !errors.Is(err, syscall.ECONNREFUSED) {
					t.Errorf("cut: dial gave %v", err)
				}
				if err := s.Restore(); err != nil {
					t.Fatal(err)
				}
			}
			cancel()
			if err := <-done; err != nil {
				t.Error(err)
			}
		})
	}
}

func TestLedgerAndMaildir(t *testing.T) {
	dir := t.TempDir()
	ledger, err := os.OpenFile(filepath.Join(dir, "ledger"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer ledger.Close()
	f, _ := ParseFault("dot#2=close")
	s := New(Options{Dir: filepath.Join(dir, "mail"), Ledger: ledger, Faults: []Fault{f}})
	defer s.Cut()
	p := talk(t, s)
	p.want("220")
	const body = "Subject: x\r\nmessage-id: <1@x>\r\n\r\n..dot\r\n"
	for _, code := range []string{"250", ""} {
		p.send("MAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nDATA\r\n" + body + ".\r\n")
		p.want("250")
		p.want("250")
		p.want("354")
		if code != "" {
			p.want(code)
		} else if _, err := p.r.ReadByte(); err != io.EOF {
			t.Error(err)
		}
	}
	lines, err := os.ReadFile(ledger.Name())
	if err != nil {
		t.Fatal(err)
	}
	var events []string
	for line := range strings.Lines(string(lines)) {
		w := strings.Fields(line)
		if _, err := time.Parse(time.RFC3339Nano, w[2]); err != nil {
			t.Error(err)
		}
		events = append(events, w[0]+" "+w[1]+" "+w[3])
	}
	if got, want := fmt.Sprint(events), "[dot-seen <1@x> c@d answered <1@x> 250 dot-seen <1@x> c@d]"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	files, _ := filepath.Glob(filepath.Join(dir, "mail", "new", "*"))
	if len(files) != 1 {
		t.Fatalf("files: %v", files)
	}
	got, err := os.ReadFile(files[0])
	want := "Return-Path: <a@b>\r\nDelivered-To: c@d\r\n" + strings.Replace(body, "..", ".", 1)
	if err != nil || string(got) != want {
		t.Errorf("got %q, %v", got, err)
	}
}

// TestPipe holds the pipe to what sockets do.
func TestPipe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := Pipe()
		_ = a.SetWriteDeadline(time.Now().Add(time.Minute))
		n, err := a.Write(bytes.Repeat([]byte("x"), pipeBuffer+1))
		if n != pipeBuffer || !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("a full pipe took %d octets, %v", n, err)
		}
		_ = b.SetReadDeadline(time.Now().Add(time.Minute))
		if n, err := io.ReadFull(b, make([]byte, pipeBuffer)); err != nil {
			t.Errorf("read %d, %v", n, err)
		}
		if _, err := b.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("an empty pipe: %v", err)
		}
		_ = b.SetReadDeadline(time.Time{})
		_, _ = b.Write([]byte("last"))
		_ = b.(*conn).SetLinger(0)
		_ = b.Close()
		if _, err := a.Write([]byte("x")); !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("write to a reset pipe: %v", err)
		}
		if got, err := io.ReadAll(a); string(got) != "last" || !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("read %q, %v", got, err)
		}
		_ = a.Close()
		if _, err := a.Read(make([]byte, 1)); !errors.Is(err, net.ErrClosed) {
			t.Errorf("read after Close: %v", err)
		}
	})
}

func TestNetworkSilence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := NewNetwork()
		n.Silence("a:25", true)
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		begin := time.Now()
		_, err := n.Dial(ctx, "tcp", "a:25")
		var ne net.Error
		if !errors.As(err, &ne) || !ne.Timeout() || time.Since(begin) != time.Minute {
			t.Errorf("got %v after %v", err, time.Since(begin))
		}
	})
}

func BenchmarkKeptConnection(b *testing.B) {
	s := New(Options{})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(b.Context())
	defer cancel()
	go func() { _ = s.Serve(ctx, l) }()
	c, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		b.Fatal(err)
	}
	defer c.Close()
	r := bufio.NewReader(c)
	read := func(n int) {
		for range n {
			if _, err := r.ReadSlice('\n'); err != nil {
				b.Fatal(err)
			}
		}
	}
	read(1)
	body := append(bytes.Repeat([]byte(strings.Repeat("x", 62)+"\r\n"), 64), ".\r\n"...)
	for b.Loop() {
		_, _ = c.Write([]byte("MAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nDATA\r\n"))
		read(3)
		_, _ = c.Write(body)
		read(1)
	}
}

// TestServeEnds: nothing that hangs or dawdles outlives Serve.
func TestServeEnds(t *testing.T) {
	for _, text := range []string{"body=hang", "mail=hang", "greeting=slow", "dot=delay 1h", "rcpt=flood"} {
		synctest.Test(t, func(t *testing.T) {
			f, err := ParseFault(text)
			if err != nil {
				t.Fatal(err)
			}
			n := NewNetwork()
			l, err := n.Listen("tcp", "a:25")
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			done := make(chan time.Duration)
			begin := time.Now()
			go func() {
				_ = New(Options{Faults: []Fault{f}}).Serve(ctx, l)
				done <- time.Since(begin)
			}()
			c, err := n.Dial(ctx, "tcp", "a:25")
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			_, _ = c.Write([]byte("MAIL FROM:<>\r\nRCPT TO:<a@b>\r\nDATA\r\nx\r\n.\r\n"))
			if took := <-done; took != time.Minute {
				t.Errorf("%s: ended after %v", text, took)
			}
		})
	}
}
