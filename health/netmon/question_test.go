package netmon

import (
	"errors"
	"net"
	"os"
	"testing"
	"time"
)

// asks opens a question to a server that hears the given number of packets
// before it answers with the last one.
func asks(t *testing.T, deaf int) (q *question, heard <-chan string) {
	t.Helper()
	server, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	packets := make(chan string, 1000)
	over := make(chan struct{})
	go func() {
		defer close(over)
		buf := make([]byte, 512)
		for n := 0; ; n++ {
			size, from, err := server.ReadFromUDP(buf)
			if err != nil {
				return
			}
			packets <- string(buf[:size])
			if n >= deaf {
				_, _ = server.WriteToUDP(buf[:size], from)
			}
		}
	}()
	c, err := net.DialUDP("udp", nil, server.LocalAddr().(*net.UDPAddr))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close(); server.Close(); <-over })
	return &question{UDPConn: c, patience: 20 * time.Millisecond}, packets
}

// A packet that was lost is sent again; without that the reader would wait for
// its deadline.
func TestQuestionIsRepeated(t *testing.T) {
	for deaf := range 3 {
		q, heard := asks(t, deaf)
		if err := q.SetDeadline(time.Now().Add(time.Minute)); err != nil {
			t.Fatal(err)
		}
		if _, err := q.Write([]byte("who?")); err != nil {
			t.Fatal(err)
		}
		buf := make([]byte, 512)
		n, err := q.Read(buf)
		if err != nil || string(buf[:n]) != "who?" || len(heard) <= deaf {
			t.Errorf("after %d lost: %q, %v; %d packets were heard", deaf, buf[:n], err, len(heard))
		}
		for range len(heard) {
			if p := <-heard; p != "who?" {
				t.Errorf("the server heard %q", p)
			}
		}
	}
}

// The reader's deadline holds, and what is no silence is told at once.
func TestQuestionEnds(t *testing.T) {
	q, heard := asks(t, 1000)
	if err := q.SetDeadline(time.Now().Add(110 * time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	if _, err := q.Write([]byte("who?")); err != nil {
		t.Fatal(err)
	}
	if _, err := q.Read(make([]byte, 512)); !errors.Is(err, os.ErrDeadlineExceeded) || len(heard) == 0 {
		t.Errorf("%v, %d packets", err, len(heard))
	}
	q.Close()
	if err := q.SetDeadline(time.Time{}); err == nil {
		t.Error("a closed question takes a deadline")
	}
	if _, err := q.Read(make([]byte, 512)); !errors.Is(err, net.ErrClosed) {
		t.Errorf("closed: %v", err)
	}
}
