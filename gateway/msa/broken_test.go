package msa

import (
	"io"
	"net"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/emersion/go-smtp"
)

const half = "Subject: x\r\n\r\nthe first half\r\n"

// tcpPair gives a connection that waits to be accepted.
func tcpPair(t *testing.T) (client *net.TCPConn, l net.Listener) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	nc, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	return nc.(*net.TCPConn), l
}

// A last chunk that is cut short by the end of the connection is no message.
// To bare go-smtp it is a whole one.
func TestTruncatedChunk(t *testing.T) {
	const cut = "BDAT 1000 LAST\r\nSubject: cut\r\n\r\nhalf a"
	t.Run("control", func(t *testing.T) {
		b := startBare(t, nil)
		nc, l := tcpPair(t)
		go b.server.Serve(l)
		c := newClient(t, nc)
		c.want("220")
		c.cmd("EHLO x", "250")
		c.envelope()
		c.send(cut)
		nc.CloseWrite()
		c.want("250 ")
		if len(b.messages()) != 1 {
			t.Error("bare go-smtp does not take a truncated chunk any more")
		}
	})
	t.Run("msa", func(t *testing.T) {
		nc, l := tcpPair(t)
		r := &rig{t: t, box: &box{}, log: &logBuffer{}}
		r.serve(l, nil)
		c := newClient(t, nc)
		c.want("220")
		c.cmd("EHLO x", "250")
		c.envelope()
		c.send(cut)
		nc.CloseWrite()
		c.want("421 4.4.2 ")
		c.eof()
		r.stop()
		r.none()
	})
}

// The connection is lost at every place of a body.
func TestLostInsideBody(t *testing.T) {
	whole := map[string]string{
		"DATA": "DATA\r\n" + half + ".\r\n",
		"BDAT": "BDAT 14\r\n" + half[:14] + "BDAT 16 LAST\r\n" + half[14:],
	}
	for way, body := range whole {
		t.Run(way, func(t *testing.T) {
			for n := range len(body) {
				synctest.Test(t, func(t *testing.T) {
					r := start(t, nil)
					c := r.greeted()
					c.envelope()
					c.send(body[:n])
					synctest.Wait()
					c.Close()
					synctest.Wait()
					r.none()
					r.stop()
				})
			}
		})
	}
}

// A client that stalls inside a body is gone: what it sends later is not a
// command, whatever it looks like.
func TestStalledBody(t *testing.T) {
	const forged = "MAIL FROM:<evil@example.com>\r\nRCPT TO:<victim@example.net>\r\nDATA\r\nSubject: forged\r\n\r\n.\r\nQUIT\r\n"
	for way, begin := range map[string]string{"DATA": "DATA\r\n" + half, "BDAT": "BDAT 400 LAST\r\n" + half} {
		t.Run("control "+way, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := startBare(t, func(s *smtp.Server) { s.ReadTimeout = time.Minute })
				c := b.greeted()
				c.envelope()
				c.send(begin)
				time.Sleep(time.Minute + time.Second)
				c.send(forged)
				io.ReadAll(c.in)
				if len(b.messages()) != 1 {
					t.Error("bare go-smtp does not run the rest of a body any more")
				}
			})
		})
		t.Run("msa "+way, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := start(t, nil)
				c := r.greeted()
				c.envelope()
				c.send(begin)
				time.Sleep(10 * time.Minute)
				_, _ = io.WriteString(c, forged)
				all, _ := io.ReadAll(c.in)
				if codes := codesOf(string(all)); codes != "354 421" && codes != "421" {
					t.Errorf("replies %q", all)
				}
				r.none()
			})
		})
	}
}

// A transaction whose chunks are given up leaves nothing.
func TestAbandonedChunks(t *testing.T) {
	for _, after := range []string{"RSET", "EHLO again", "QUIT"} {
		t.Run(after, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := start(t, nil)
				c := r.greeted()
				c.envelope()
				c.send("BDAT 15\r\nSubject: gone\r\n")
				c.want("250 ")
				c.cmd(after, "2")
				synctest.Wait()
				if r.box.open != 0 || r.box.aborted != 1 {
					t.Errorf("%d drafts open, %d aborted", r.box.open, r.box.aborted)
				}
				r.none()
				if after != "QUIT" {
					if got := c.bdat("Subject: next\r\n\r\n"); !strings.HasPrefix(got, "250") {
						t.Errorf("the next: %q", got)
					}
					if got := r.one().text(); got != "Subject: next\r\n\r\n" {
						t.Errorf("stored %q", got)
					}
				}
			})
		})
	}
}

// The result of a message that was given up in its middle never becomes that
// of the next one.
func TestResultsStayApart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, nil)
		c := r.greeted()
		for i := range 200 {
			c.send("MAIL FROM:<a@example.com>\r\nRCPT TO:<b@example.com>\r\nBDAT 0\r\nRSET\r\n" +
				"MAIL FROM:<a@example.com>\r\nRCPT TO:<b@example.com>\r\nBDAT 3\r\na\r\nBDAT 0 LAST\r\n")
			for _, want := range []string{"250 2.1.0", "250 2.1.5", "250 2.0.0 chunk", "250 2.0.0 Session reset", "250 2.1.0", "250 2.1.5", "250 2.0.0 chunk"} {
				c.want(want)
			}
			got := c.want("250 2.0.0 queued as ")
			if ms := r.box.messages(); len(ms) != i+1 || !strings.Contains(got, ms[i].ID.String()) {
				t.Fatalf("%d messages after round %d: %q", len(ms), i, got)
			}
		}
	})
}

// Commands between chunks do not disturb the message, and none of them can
// make its octets commands.
func TestCommandsBetweenChunks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, nil)
		c := r.greeted()
		c.envelope()
		c.cmd("BDAT 0", "250 2.0.0 chunk taken")
		c.cmd("DATA", "503 ")
		c.cmd("MAIL FROM:<x@example.com>", "503 ")
		c.cmd("RCPT TO:<x@example.com>", "503 ")
		c.cmd("NOOP", "250 ")
		c.cmd("BDAT 3\r\na", "250 2.0.0 chunk taken")
		c.cmd("VRFY x", "252 ")
		c.cmd("BDAT 3 LAST\r\nb", "250 2.0.0 queued")
		if got := r.one().text(); got != "\r\na\r\nb\r\n" {
			t.Errorf("stored %q", got)
		}
		// A chunk that is refused for its place is read past.
		c.cmd("BDAT 27 LAST\r\nMAIL FROM:<x@example.com>", "503 ")
		c.cmd("MAIL FROM:<a@example.com>", "250")
		c.cmd("BDAT 27\r\nMAIL FROM:<x@example.com>", "503 ")
		c.cmd("RCPT TO:<b@example.com>", "250")
		c.cmd("DATA", "354")
		c.cmd("c\r\n.", "250 2.0.0 queued")
		if n := len(r.box.messages()); n != 2 {
			t.Errorf("%d messages, want 2", n)
		}
	})
}

// What stands in the socket before the greeting was not written by a mail
// client.
func TestSpeaksTooSoon(t *testing.T) {
	nc, l := tcpPair(t)
	c := newClient(t, nc)
	c.send("EHLO x\r\n")
	r := &rig{t: t, box: &box{}, log: &logBuffer{}}
	r.serve(patient{l}, nil)
	c.want("554 5.5.1 ")
	c.eof()
	if len(r.log.lines("rejected")) != 1 {
		t.Errorf("log: %s", r.log)
	}
}

// patient accepts a connection when its client has said something.
type patient struct{ net.Listener }

func (l patient) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	for err == nil && !spokeEarly(c) {
		runtime.Gosched()
	}
	return c, err
}

func TestNotSMTP(t *testing.T) {
	for name, first := range map[string]string{
		"GET":          "GET / HTTP/1.1\r\nHost: x\r\n\r\n",
		"POST":         "post /mail HTTP/1.1\r\nContent-Type: text/plain\r\n\r\n",
		"CONNECT":      "CONNECT 127.0.0.1:25 HTTP/1.1\r\n\r\n",
		"TLS":          "\x16\x03\x01\x00\xa5\x01\x00\x00\xa1\x03\x03",
		"binary":       "\x00\x01\x02\x03",
		"one dot":      ".\r\n",
		"8-bit":        "\xffhello",
		"HTTP control": "GET /\x00 HTTP/1.1\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := start(t, nil)
				c := r.dial()
				c.want("220")
				c.send(first + "EHLO x\r\nMAIL FROM:<a@example.com>\r\nRCPT TO:<b@example.com>\r\nDATA\r\nforged\r\n.\r\n")
				c.want("500 5.5.2 ")
				if rest, _ := io.ReadAll(c.in); len(rest) != 0 {
					t.Errorf("the dialogue goes on: %q", rest)
				}
				r.none()
				if len(r.log.lines("rejected")) != 1 {
					t.Errorf("log: %s", r.log)
				}
			})
		})
	}
	t.Run("control", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			c := startBare(t, nil).greeted()
			c.cmd("POST / HTTP/1.1", "500")
			c.cmd("NOOP", "250") // goes on
		})
	})
}

// A client that sends too much finds the reply when it looks, and not a reset
// connection, which it would take for a passing fault.
func TestReplyOutlivesUnreadInput(t *testing.T) {
	nc, l := tcpPair(t)
	r := &rig{t: t, box: &box{}, log: &logBuffer{}}
	r.serve(l, func(o *Options) { o.MaxMessage = 1000 })
	c := newClient(t, nc)
	c.want("220")
	c.cmd("EHLO x", "250")
	c.envelope()
	c.cmd("DATA", "354")
	c.send(lines(int(overrun(1000)) + 100_000))
	c.want("552 5.3.4 ")
	c.eof()
	r.none()
}

func TestErrorBudget(t *testing.T) {
	for name, tt := range map[string]struct {
		line  string
		times int
	}{
		"unknown command": {"XYZZY", maxUnknown},
		"syntax":          {"MAIL FROM:<a b>", maxErrors},
		"order":           {"RCPT TO:<a@example.com>", maxErrors},
		"control octets":  {"NOOP \x01", maxErrors},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := start(t, nil).greeted()
				for range tt.times {
					c.cmd(tt.line, "5")
				}
				c.cmd(tt.line, "5")
				c.want("421 4.7.0 ")
				c.eof()
			})
		})
	}
}

func TestLongCommand(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := start(t, nil).greeted()
		c.cmd("NOOP "+strings.Repeat("x", 512), "250") // RFC 5321 4.5.3.1.4
		c.cmd("NOOP "+strings.Repeat("x", lineBuffer-7), "250")
		c.send("NOOP " + strings.Repeat("x", lineBuffer-5))
		c.want("500 5.5.6 ")
		if rest, _ := io.ReadAll(c.in); len(rest) != 0 {
			t.Errorf("goes on: %q", rest)
		}
	})
}

// The log of a hostile client is one line per event with nothing raw in it.
func TestLogHoldsNoRawOctets(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, nil)
		for b := range 256 {
			c := r.dial()
			c.want("220")
			for _, line := range []string{"EHLO a%b", "MAIL FROM:<a%b@example.com>", "MAIL FROM:<\"a%b\"@example.com>", "RCPT TO:<a%b>", "%X"} {
				if _, err := io.WriteString(c, strings.ReplaceAll(line, "%", string([]byte{byte(b)}))+"\r\n"); err != nil {
					break
				}
				synctest.Wait()
			}
			c.Close()
			synctest.Wait()
		}
		begin := "time=" + time.Now().Format(time.DateOnly) + "T" // the bubble's clock stands still
		for line := range strings.Lines(r.log.String()) {
			for _, c := range []byte(strings.TrimSuffix(line, "\n")) {
				if c < ' ' || c > '~' {
					t.Fatalf("octet %#x in %q", c, line)
				}
			}
			if !strings.HasPrefix(line, begin) {
				t.Fatalf("a line that is no event: %q", line)
			}
		}
	})
}
