package msa

import (
	"bufio"
	"net"
	"runtime"
	"strings"
	"testing"
)

// A thousand clients that only hold a connection cost little: heap and stacks
// of both sides are counted here.
func TestIdleConnectionsAreCheap(t *testing.T) {
	const conns = 1000
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r := &rig{t: t, box: &box{}, log: &logBuffer{}}
	r.serve(l, nil)
	before := inUse()
	in := bufio.NewReader(nil)
	for range conns {
		nc, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Skipf("too few descriptors: %v", err)
		}
		defer nc.Close()
		c := &client{t, nc, in}
		in.Reset(nc)
		c.want("220")
		c.cmd("EHLO x", "250") // a session that has been used
		c.cmd("MAIL FROM:<a@example.com>", "250")
		c.cmd("RSET", "250")
	}
	used := inUse() - before
	t.Logf("%d KiB for each connection", used/conns/1024)
	if used > 32<<20 {
		t.Errorf("%d connections hold %d MiB", conns, used>>20)
	}
}

// A large message adds nothing that grows with it.
func TestLargeMessageIsStreamed(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r := &rig{t: t, box: &box{}, log: &logBuffer{}}
	sink := &hole{}
	r.serve(l, func(o *Options) { o.Session, o.MaxMessage = sink, 64<<20 })
	nc, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	c := newClient(t, nc)
	c.want("220")
	c.cmd("EHLO x", "250")
	c.envelope()
	c.cmd("DATA", "354")
	c.send("Subject: x\r\n\r\n")
	part := strings.Repeat("0123456789 abcdefghijklmnopqrstuvwxyz 0123456789 abcdefghijklmnopqrstuvwxyz\r\n", 1<<20/80)
	var peak, before uint64
	for i := range 50 {
		c.send(part)
		if i == 0 {
			before = inUse()
		} else if i%10 == 0 {
			peak = max(peak, inUse())
		}
	}
	c.send(".\r\n")
	c.want("250 2.0.0 queued")
	if sink.size < 50*int64(len(part)) {
		t.Fatalf("stored %d octets", sink.size)
	}
	if peak > before+1<<20 {
		t.Errorf("50 MiB added %d KiB", (peak-before)>>10)
	}
}

func inUse() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc + m.StackInuse
}

// What a batch behind a body needed is given up when it is done.
func TestInputShrinks(t *testing.T) {
	in := newInput()
	body := make([]byte, bodyBuffer)
	in.borrow(body)
	in.w = copy(body, strings.Repeat("x", 10_000))
	in.giveBack()
	if in.w != 10_000 || len(in.buf) < in.w {
		t.Fatalf("%d octets in a buffer of %d", in.w, len(in.buf))
	}
	in.r = in.w
	if in.room(); len(in.buf) != lineBuffer {
		t.Errorf("%d octets are kept", len(in.buf))
	}
}
