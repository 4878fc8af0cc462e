//go:build linux

package limits

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"runtime/debug"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"mailroam/gateway/e2e/peers"
	"mailroam/gateway/sink"
)

const mib = 1 << 20

// binary is the gateway under test, built once.
var binary string

func TestMain(m *testing.M) {
	os.Exit(run(m))
}

func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "mailroam-limits-")
	if err == nil {
		defer os.RemoveAll(dir)
		binary, err = peers.BuildMailroam(context.Background(), dir)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return m.Run()
}

// startGateway runs a gateway in front of an upstream that counts what it took.
func startGateway(t *testing.T) (gw *peers.Mailroam, addr string, delivered <-chan int64) {
	t.Helper()
	taken := make(chan int64, 16)
	upstream, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var serving sync.WaitGroup
	s := sink.New(sink.Options{OnMessage: func(m sink.Message) { taken <- m.Size }})
	serving.Go(func() { _ = s.Serve(ctx, upstream) })
	t.Cleanup(func() { cancel(); serving.Wait() })

	port, err := peers.FreePort()
	if err != nil {
		t.Fatal(err)
	}
	addr = fmt.Sprintf("127.0.0.1:%d", port)
	dir := t.TempDir()
	config := fmt.Sprintf("hostname = \"gw.example.org\"\ndata_dir = %q\n[[listen]]\naddress = %q\n[[upstream]]\nname = \"sink\"\nurls = [\"smtp+insecure://%s\"]\n",
		filepath.Join(dir, "data"), addr, upstream.Addr())
	gw, err = peers.StartMailroam(t.Context(), binary, dir, addr, config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := gw.Close(); err != nil {
			t.Error(err)
		}
		if t.Failed() {
			t.Logf("the gateway's log:\n%s", gw.Log())
		}
	})
	return gw, addr, taken
}

// anonymous is the process's RssAnon in octets: its heap and stacks without
// the pages of the queue's file, which the kernel can drop.
func anonymous(pid int) (int64, error) {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(status)) {
		if value, ok := strings.CutPrefix(line, "RssAnon:"); ok {
			kib, err := strconv.ParseInt(strings.Fields(value)[0], 10, 64)
			return kib << 10, err
		}
	}
	return 0, errors.New("no RssAnon in /proc: a kernel before 4.5?")
}

// growth samples RssAnon every 10 ms while work is done, once before and once
// after it, and returns how far the highest was above the first.
func growth(t *testing.T, pid int, work func()) (grown int64) {
	t.Helper()
	before, err := anonymous(pid)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	highest := before
	var sampling sync.WaitGroup
	sampling.Go(func() {
		tick := time.NewTicker(10 * time.Millisecond)
		defer tick.Stop()
		for last := false; !last; {
			select {
			case <-done:
				last = true
			case <-tick.C:
			}
			now, err := anonymous(pid)
			if err != nil {
				t.Error(err)
				return
			}
			highest = max(highest, now)
		}
	})
	defer func() {
		close(done)
		sampling.Wait()
		grown = highest - before
		t.Logf("RssAnon: %.1f MiB, and %.1f MiB more at most", float64(before)/mib, float64(grown)/mib)
	}()
	work()
	return 0
}

// dialogue is a client that sends a line and wants a reply with a code.
type dialogue struct {
	net.Conn
	r *bufio.Reader
}

func dial(t *testing.T, addr string) *dialogue {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	// 1,000 of these are held at once: the buffer is small.
	d := &dialogue{conn, bufio.NewReaderSize(conn, 512)}
	d.want(t, "220")
	return d
}

func (d *dialogue) say(t *testing.T, line, code string) {
	t.Helper()
	if _, err := io.WriteString(d, line+"\r\n"); err != nil {
		t.Fatal(err)
	}
	d.want(t, code)
}

func (d *dialogue) want(t *testing.T, code string) {
	t.Helper()
	if err := d.SetReadDeadline(time.Now().Add(30 * time.Second)); err != nil {
		t.Fatal(err)
	}
	for {
		line, err := d.r.ReadString('\n')
		if err != nil {
			t.Fatalf("waiting for %s: %v", code, err)
		}
		if !strings.HasPrefix(line, code) {
			t.Fatalf("got %q, want %s", line, code)
		}
		if !strings.HasPrefix(line, code+"-") {
			return
		}
	}
}

// send submits one message of exactly size octets and waits for its 250.
func send(t *testing.T, addr string, size int) {
	t.Helper()
	d := dial(t, addr)
	d.say(t, "EHLO client.example", "250")
	d.say(t, fmt.Sprintf("MAIL FROM:<ann@example.org> SIZE=%d", size), "250")
	d.say(t, "RCPT TO:<bob@example.net>", "250")
	d.say(t, "DATA", "354")
	left := size
	write := func(b []byte) {
		if _, err := d.Write(b); err != nil {
			t.Fatal(err)
		}
		left -= len(b)
	}
	write([]byte("Subject: large\r\n\r\n"))
	lines := bytes.Repeat([]byte(strings.Repeat("x", 76)+"\r\n"), 840)
	for left > 2*len(lines) {
		write(lines)
	}
	for left > 0 {
		n := min(left, 78)
		if left-n < 2 {
			n = left
		}
		write([]byte(strings.Repeat("y", n-2) + "\r\n"))
	}
	d.say(t, ".", "250")
	d.say(t, "QUIT", "221")
}

func await(t *testing.T, delivered <-chan int64, atLeast int64) {
	t.Helper()
	select {
	case size := <-delivered:
		if size < atLeast {
			t.Fatalf("%d octets were delivered, want %d and more", size, atLeast)
		}
	case <-time.After(60 * time.Second):
		t.Fatal("the message was not delivered within 60 s")
	}
}

// TestMemoryOfALargeMessage passes the largest message the default config
// takes, in and out, and looks every 10 ms.
func TestMemoryOfALargeMessage(t *testing.T) {
	const size, limit = 50 * mib, 16 * mib
	gw, addr, delivered := startGateway(t)
	send(t, addr, 10_000) // what every first message costs is not this one's
	await(t, delivered, 10_000)
	grown := growth(t, gw.PID(), func() {
		send(t, addr, size)
		await(t, delivered, size)
	})
	if grown >= limit {
		t.Errorf("a message of 50 MiB adds %.1f MiB, want less than 16", float64(grown)/mib)
	}
}

// TestMemoryOfIdleClients holds 1,000 sessions that have said EHLO and wait.
func TestMemoryOfIdleClients(t *testing.T) {
	const clients, limit = 1000, 64 * mib
	gw, addr, _ := startGateway(t)
	var idle []*dialogue
	grown := growth(t, gw.PID(), func() {
		for range clients {
			d := dial(t, addr)
			d.say(t, "EHLO client.example", "250")
			idle = append(idle, d)
		}
	})
	if grown >= limit {
		t.Errorf("%d idle clients cost %.1f MiB, want less than 64", clients, float64(grown)/mib)
	}
	for _, d := range idle { // all of them are still served
		d.say(t, "NOOP", "250")
	}
}

// TestGrowthSeesAnAllocation keeps the measure honest: 32 MiB that this process
// takes for a moment must show. They come from the kernel, as the heap may have
// that much to spare.
func TestGrowthSeesAnAllocation(t *testing.T) {
	const size = 32 * mib
	debug.FreeOSMemory() // what the tests before have left must not go meanwhile
	grown := growth(t, os.Getpid(), func() {
		b, err := syscall.Mmap(-1, 0, size, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_PRIVATE|syscall.MAP_ANON)
		if err != nil {
			t.Fatal(err)
		}
		for i := range b {
			b[i] = 1
		}
		time.Sleep(time.Second) // a moment: many ticks of the sampling
		if err := syscall.Munmap(b); err != nil {
			t.Fatal(err)
		}
	})
	if grown < size*3/4 {
		t.Errorf("RssAnon grew by %d when %d octets were written", grown, size)
	}
}
