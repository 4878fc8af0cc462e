//go:build linux

package main

import (
	"bufio"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestMessageHasItsSize(t *testing.T) {
	for _, size := range []int{4 << 10, 4<<10 + 1, 5 << 20} {
		b := message(size)
		if got := len(b) - len(".\r\n"); got != size {
			t.Errorf("%d octets, want %d", got, size)
		}
		r := bufio.NewReaderSize(strings.NewReader(string(b)+"QUIT\r\n"), 4096)
		if err := skipBody(r); err != nil {
			t.Fatal(err)
		}
		if rest, _ := r.ReadString('\n'); rest != "QUIT\r\n" {
			t.Errorf("behind the dot stands %q", rest)
		}
	}
}

func TestSkipBodyStopsAtTheDotOnly(t *testing.T) {
	long := strings.Repeat("x", 100) // longer than the smallest buffer: a dot in its middle starts no line
	for _, body := range []string{"a\r\n.\r\n", "..\r\n.\r\n", ".x\r\n.\r\n", long + ".\r\n.\r\n", "\r\n\r\n.\r\n"} {
		r := bufio.NewReaderSize(strings.NewReader(body+"NEXT"), 16)
		if err := skipBody(r); err != nil {
			t.Errorf("%q: %v", body, err)
			continue
		}
		if rest, _ := r.ReadString(0); rest != "NEXT" {
			t.Errorf("%q: left %q", body, rest)
		}
	}
}

func TestReplyIsComplete(t *testing.T) {
	for reply, want := range map[string]bool{
		"250 ok\r\n": true, "250\r\n": true, "250 ok": false, "250-a\r\n": false, "250-a\r\n250 b\r\n": true, "250-a\r\n25": false, "": false,
	} {
		if got := complete([]byte(reply)); got != want {
			t.Errorf("%q: %v", reply, got)
		}
	}
}

func TestStatistics(t *testing.T) {
	if got := median([]float64{9, 1, 5}); got != 5 {
		t.Error(got)
	}
	if got := median([]float64{4, 1, 2, 9}); got != 3 {
		t.Error(got)
	}
	var hundred []float64
	for i := range 100 {
		hundred = append(hundred, float64(i+1))
	}
	if a, b := percentile(hundred, 50), percentile(hundred, 99); a != 51 || b != 100 {
		t.Error(a, b)
	}
}

// TestFloor is the whole way of a measurement without a relay: every message
// is seen accepted and arriving, in that order of causes.
func TestFloor(t *testing.T) {
	s, err := newSink()
	if err != nil {
		t.Fatal(err)
	}
	b := &bench{table: newTable(), sink: s}
	for _, keep := range []bool{false, true} {
		p, err := b.pass(t.Context(), &relay{addr: s.addr, pid: os.Getpid()},
			load{messages: 50, sessions: 4, size: 4 << 10, keep: keep, deadline: 20 * time.Second})
		if err != nil {
			t.Fatal(err)
		}
		for i := range p.accepted {
			if !(p.connect[i] < p.arrived[i] && p.arrived[i] <= p.accepted[i]) {
				t.Errorf("message %d: connect %v, dot %v, 250 %v", i, p.connect[i], p.arrived[i], p.accepted[i])
			}
		}
	}
	if err := s.down(); err != nil {
		t.Fatal(err)
	}
	if c, err := net.Dial("tcp", s.addr); err == nil {
		c.Close()
		t.Error("the sink takes connections when it is down")
	}
	if err := s.up(); err != nil {
		t.Fatal(err)
	}
	if err := s.down(); err != nil {
		t.Fatal(err)
	}
}

func TestArrivals(t *testing.T) {
	s := &sink{}
	a := s.expect(7, 2, time.Now())
	s.note("RCPT TO:<r6-0@example.net>\r\n") // late, from the measurement before
	s.note("RCPT TO:<r7-9@example.net>\r\n")
	s.note("RCPT TO:<r7-1@example.net>\r\n")
	if err := a.wait(t.Context(), time.Millisecond); err == nil {
		t.Error("one of two counts as all")
	}
	s.note("RCPT TO:<r7-0@example.net>\r\n")
	if err := a.wait(t.Context(), time.Minute); err != nil {
		t.Error(err)
	}
	s.note("RCPT TO:<r7-0@example.net>\r\n")
	if err := a.wait(t.Context(), time.Minute); err == nil {
		t.Error("a second copy was not seen")
	}
}

func TestCountCalls(t *testing.T) {
	file := filepath.Join(t.TempDir(), "strace")
	const out = `10 100.5 fsync(3) = 0
11 101.000000 fdatasync(4 <unfinished ...>
10 101.500000 fsync(3) = 0
11 101.600000 <... fdatasync resumed>) = 0
11 102.5 +++ exited with 0 +++
10 103.0 fsync(3) = 0
`
	if err := os.WriteFile(file, []byte(out), 0o600); err != nil {
		t.Fatal(err)
	}
	n, err := countCalls(file, time.Unix(101, 0), time.Unix(103, 0))
	if err != nil || n != 2 {
		t.Errorf("%d calls, %v; want the 2 that began from second 101 until 103", n, err)
	}
}

// TestCPUCountsTheDead: what a child used must not vanish with it.
func TestCPUCountsTheDead(t *testing.T) {
	before := cpu(os.Getpid())
	if err := exec.Command("sh", "-c", "i=0; while [ $i -lt 1000000 ]; do i=$((i+1)); done").Run(); err != nil {
		t.Fatal(err)
	}
	if used := cpu(os.Getpid()) - before; used < 50*time.Millisecond {
		t.Errorf("counted %v for a million turns of a shell's loop", used)
	}
}
