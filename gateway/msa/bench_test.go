package msa

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"net"
	"strings"
	"testing"

	"mailroam/queue"
)

// hole is a queue that keeps nothing.
type hole struct {
	queue.Session
	size int64 // of the last message; tests read it after the reply
}

func (h *hole) NewDraft(context.Context, queue.ID) (queue.Draft, error) { return &holeDraft{h: h}, nil }

type holeDraft struct {
	h *hole
	n int64
}

func (d *holeDraft) Write(p []byte) (int, error) { d.n += int64(len(p)); return len(p), nil }
func (d *holeDraft) Commit(context.Context, string, queue.NewMessage) (queue.Claim, error) {
	d.h.size = d.n
	return queue.Claim{}, nil
}
func (d *holeDraft) Abort() {}

// benchSession sends b.N messages of size octets over loopback and reports
// what one costs, the plain client included.
func benchSession(b *testing.B, size int, keep bool) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	s := New(Options{
		Hostname: "gw.example.org", Allow: everybody, Session: &hole{}, MaxMessage: 64 << 20,
		Log: slog.New(slog.NewTextHandler(io.Discard, nil)),
	})
	served := make(chan error)
	go func() { served <- s.Serve(ctx, l) }()
	defer func() { cancel(); <-served }()

	body := "From: a@example.com\r\nTo: b@example.net\r\nSubject: bench\r\nDate: Sat, 01 Jan 2000 00:00:00 +0000\r\nMessage-ID: <1@example.com>\r\n\r\n"
	body += strings.Repeat("0123456789 abcdefghijklmnopqrstuvwxyz 0123456789 abcdefghijklmnopqrstuvwxyz\r\n", (size-len(body))/79)
	body += ".\r\n"
	buf := make([]byte, 4096)
	var c net.Conn
	turn := func(say, want string) {
		if say != "" {
			if _, err := io.WriteString(c, say); err != nil {
				b.Fatal(err)
			}
		}
		for n := 0; !bytes.Contains(buf[:n], []byte(want)); {
			m, err := c.Read(buf[n:])
			if n += m; err != nil {
				b.Fatal(string(buf[:n]), err)
			}
		}
	}
	b.SetBytes(int64(len(body)))
	b.ReportAllocs()
	for b.Loop() {
		if c == nil {
			if c, err = net.Dial("tcp", l.Addr().String()); err != nil {
				b.Fatal(err)
			}
			turn("", "220 ")
			turn("EHLO client.example.net\r\n", "250 SIZE")
		}
		turn("MAIL FROM:<a@example.com> SIZE=4096\r\n", "250 2.1.0")
		turn("RCPT TO:<b@example.net>\r\n", "250 2.1.5")
		turn("DATA\r\n", "354")
		turn(body, "queued")
		if !keep {
			turn("QUIT\r\n", "221")
			c.Close()
			c = nil
		}
	}
	if c != nil {
		c.Close()
	}
}

func BenchmarkSession4KiB(b *testing.B) { benchSession(b, 4<<10, false) }
func BenchmarkKept4KiB(b *testing.B)    { benchSession(b, 4<<10, true) }
func BenchmarkKept5MiB(b *testing.B)    { benchSession(b, 5<<20, true) }

// BenchmarkFilter is the cost of the octets alone.
func BenchmarkFilter(b *testing.B) {
	p := []byte(strings.Repeat("0123456789 abcdefghijklmnopqrstuvwxyz 0123456789 abcdefghijklmnopqrstuvwxyz\r\n", 800))
	b.SetBytes(int64(len(p)))
	f := filter{w: io.Discard}
	for b.Loop() {
		if _, err := f.Write(p); err != nil {
			b.Fatal(err)
		}
	}
}
