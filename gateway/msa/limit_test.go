package msa

import (
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/emersion/go-smtp"
)

func TestConnectionCap(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, func(o *Options) { o.Limits.MaxConns = 3 })
		var in []*client
		for range 3 {
			in = append(in, r.greeted())
		}
		over := r.dial()
		over.want("421 4.7.0 too many connections")
		over.eof()
		r.dial().want("421 4.7.0")
		if n := len(r.log.lines("rejected")); n != 1 {
			t.Errorf("%d lines in the log for two refusals within a second", n)
		}
		in[0].cmd("QUIT", "221")
		synctest.Wait()
		c := r.greeted()
		in[1].Close()
		synctest.Wait()
		r.greeted()
		if got := c.data("x\r\n"); !strings.HasPrefix(got, "250") {
			t.Error(got)
		}
	})
}

func TestConnectionCapPerAddress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &rig{t: t, box: &box{}, log: &logBuffer{}}
		r.net = start(t, nil).net
		l, err := r.net.Listen("tcp", "192.0.2.26:25")
		if err != nil {
			t.Fatal(err)
		}
		from := netip.MustParseAddr("192.0.2.1")
		r.serve(strangers{l, func() netip.Addr { return from }}, func(o *Options) { o.Limits.MaxConnsPerAddr = 2 })
		dial := func() *client {
			nc, err := r.net.Dial(t.Context(), "tcp", "192.0.2.26:25")
			if err != nil {
				t.Fatal(err)
			}
			return newClient(t, nc)
		}
		first := dial()
		first.want("220")
		dial().want("220")
		dial().want("421 4.7.0 too many connections from your address")
		from = netip.MustParseAddr("192.0.2.2")
		dial().want("220")
		from = netip.MustParseAddr("::ffff:192.0.2.1")
		dial().want("421")
		first.cmd("QUIT", "221")
		synctest.Wait()
		dial().want("220")
		for _, from = range []netip.Addr{netip.MustParseAddr("127.0.0.1"), netip.MustParseAddr("::1")} {
			for range 5 {
				dial().want("220")
			}
		}
	})
}

func TestIdle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, nil)
		c, trickle := r.greeted(), r.greeted()
		begin := time.Now()
		done := make(chan struct{})
		go func() {
			defer close(done)
			for {
				if _, err := io.WriteString(trickle, "x"); err != nil { // never a whole line
					return
				}
				time.Sleep(time.Second)
			}
		}()
		c.want("421 4.4.2 no command in time")
		c.eof()
		trickle.want("421 4.4.2 no command in time")
		if d := time.Since(begin); d != 5*time.Minute {
			t.Errorf("after %v", d)
		}
		<-done
	})
}

// To keep a session open for ever costs a client nothing but NOOPs.
func TestSessionLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, nil)
		c := r.greeted()
		begin := time.Now()
		for time.Since(begin) < time.Hour {
			c.cmd("NOOP", "250")
			time.Sleep(time.Second)
		}
		c.want("421 4.4.2 this connection has lasted")
		c.eof()
		if d := time.Since(begin); d != time.Hour {
			t.Errorf("after %v", d)
		}
	})
}

// A slow line passes however long it takes; go-smtp's own limit is one
// deadline for the whole body.
func TestSlowSenderPasses(t *testing.T) {
	slowly := func(c *client, n int) {
		line := strings.Repeat("s", 998) + "\r\n"
		for range n {
			io.WriteString(c, line)
			time.Sleep(1500 * time.Millisecond) // 667 octets a second
		}
	}
	synctest.Test(t, func(t *testing.T) {
		control := startBare(t, func(s *smtp.Server) { s.ReadTimeout = 5 * time.Minute }).greeted()
		control.envelope()
		control.cmd("DATA", "354")
		slowly(control, 300)
		io.WriteString(control, ".\r\n")
		if got, _ := control.reply(); strings.HasPrefix(got, "250") {
			t.Error("bare go-smtp took a slow body")
		}

		r := start(t, func(o *Options) { o.MaxMessage = 10 << 20 })
		c := r.greeted()
		c.envelope()
		c.cmd("DATA", "354")
		begin := time.Now()
		slowly(c, 3000)
		c.send(".\r\n")
		c.want("250 2.0.0 queued")
		if d := time.Since(begin); d < time.Hour {
			t.Errorf("not slow: %v", d)
		}
		c.want("421 4.4.2 this connection has lasted") // the body was not cut for it
		c = r.greeted()
		c.envelope()
		c.send("BDAT 3000000 LAST\r\n")
		slowly(c, 3000)
		c.want("250 2.0.0 queued")
	})
}

func TestFloorRate(t *testing.T) {
	for _, command := range []string{"DATA", "BDAT 1000000 LAST"} {
		t.Run(command, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := start(t, nil)
				c := r.greeted()
				c.envelope()
				begin := time.Now()
				done := make(chan struct{})
				go func() {
					defer close(done)
					io.WriteString(c, command+"\r\n")
					for { // 100 octets a second: never idle, and too slow
						if _, err := io.WriteString(c, strings.Repeat("x", 98)+"\r\n"); err != nil {
							return
						}
						time.Sleep(time.Second)
					}
				}()
				if got, _ := c.reply(); command == "DATA" && !strings.HasPrefix(got, "354") {
					t.Fatal(got)
				} else if command == "DATA" {
					c.want("421 4.4.2 the message came too slowly")
				}
				if d := time.Since(begin); d < time.Minute || d > 80*time.Second {
					t.Errorf("cut after %v", d)
				}
				r.none()
				c.Close()
				<-done
			})
		})
	}
}

func TestPace(t *testing.T) {
	limits := Limits{}.withDefaults()
	since := time.Unix(1e9, 0)
	for _, tt := range []struct {
		after time.Duration
		got   int64
		want  time.Duration
	}{
		{0, 0, time.Minute},                             // the grace
		{30 * time.Second, 5_000, 70 * time.Second},     // 10 s earned
		{0, 1 << 20, 5 * time.Minute},                   // never more than idle
		{time.Hour, 4 << 30, time.Hour + 5*time.Minute}, // no overflow
	} {
		p := pace{&limits, since, tt.got}
		if got := p.deadline(since.Add(tt.after)).Sub(since); got != tt.want {
			t.Errorf("%d octets after %v: %v, want %v", tt.got, tt.after, got, tt.want)
		}
	}
}

// A client that reads no replies does not hold its session for ever.
func TestClientThatReadsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, nil)
		c := r.dial()
		done := make(chan error)
		go func() {
			for {
				if _, err := io.WriteString(c, strings.Repeat("NOOP\r\n", 1000)); err != nil {
					done <- err
					return
				}
			}
		}()
		begin := time.Now()
		<-done
		if d := time.Since(begin); d > 2*time.Minute {
			t.Errorf("held for %v", d)
		}
	})
}

func TestManyAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, nil)
		done := make(chan string)
		for i := range 50 {
			go func() {
				nc, err := r.net.Dial(t.Context(), "tcp", testAddr)
				if err != nil {
					done <- err.Error()
					return
				}
				defer nc.Close()
				var c smtpClient
				c.Conn = nc
				done <- c.submit(fmt.Sprintf("m%d@example.com", i))
			}()
		}
		for range 50 {
			if got := <-done; got != "" {
				t.Error(got)
			}
		}
		if n := len(r.box.messages()); n != 50 {
			t.Errorf("%d messages", n)
		}
	})
}

// smtpClient is go-smtp's, an independent reading of the protocol.
type smtpClient struct{ net.Conn }

func (c smtpClient) submit(from string) string {
	cl := smtp.NewClient(c.Conn)
	defer cl.Close()
	if err := cl.SendMail(from, []string{"b@example.com"}, strings.NewReader("Subject: x\r\n\r\n"+from+"\r\n")); err != nil {
		return err.Error()
	}
	if err := cl.Quit(); err != nil {
		return err.Error()
	}
	return ""
}
