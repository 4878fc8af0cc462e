package msa

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"mailroam/gateway/header"
	"mailroam/queue"
)

// ways are the two ways a body can come.
var ways = map[string]func(*client, string) string{"DATA": (*client).data, "BDAT": (*client).bdat}

// lines makes a message of n octets.
func lines(n int) string {
	const head, line = "Subject: x\r\n\r\n", "0123456789 abcdefghijklmnopqrstuvwxyz\r\n"
	n -= len(head) + len("\r\n")
	return head + strings.Repeat(line, n/len(line)) + strings.Repeat("x", n%len(line)) + "\r\n"
}

// Exactly the limit passes, one octet more does not. go-smtp's own count
// refuses the limit itself in DATA.
func TestSizeLimit(t *testing.T) {
	const limit = 100_000
	for way, send := range ways {
		t.Run(way, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := start(t, func(o *Options) { o.MaxMessage = limit })
				c := r.greeted()
				if got := send(c, lines(limit)); !strings.HasPrefix(got, "250 2.0.0 queued") {
					t.Fatalf("exactly the limit: %q", got)
				}
				if got := r.one().text(); got != lines(limit) {
					t.Fatalf("stored %d octets of another text", len(got))
				}
				if got := send(c, lines(limit+1)); !strings.HasPrefix(got, "552 5.3.4 ") {
					t.Fatalf("one more: %q", got)
				}
				// The dialogue goes on behind the body that was refused.
				if got := send(c, lines(50)); !strings.HasPrefix(got, "250 2.0.0 queued") {
					t.Fatalf("the next: %q", got)
				}
				c.cmd("MAIL FROM:<a@example.com> SIZE=100000", "250")
				c.cmd("RSET", "250")
				c.cmd("MAIL FROM:<a@example.com> SIZE=100001", "552 5.3.4 ")
				if n := len(r.box.messages()); n != 2 {
					t.Errorf("%d messages, want 2", n)
				}
			})
		})
	}
}

// Dots that are stuffed for the way are no octets of the message (RFC 1870 3).
func TestSizeCountsNoStuffing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, func(o *Options) { o.MaxMessage = 6 })
		if got := r.greeted().data("\r\n..x\r\n"); !strings.HasPrefix(got, "250") {
			t.Errorf("six octets: %q", got)
		}
	})
}

// Whoever sends on and on gets the 552 and the end of the connection.
func TestEndlessBody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, func(o *Options) { o.MaxMessage = 1000 })
		c := r.greeted()
		c.envelope()
		c.cmd("DATA", "354")
		go func() {
			line := []byte(strings.Repeat("x", 998) + "\r\n")
			for {
				if _, err := c.Write(line); err != nil {
					return
				}
			}
		}()
		c.want("552 5.3.4 ")
		if _, err := io.ReadAll(c.in); err == nil {
			c.Close()
		}
		r.none()
	})
}

func TestHugeChunk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, nil)
		for _, size := range []string{"4294967295", "4294967296", "99999999999999999999", "-1", "1x"} {
			c := r.greeted()
			c.envelope()
			c.send("BDAT " + size + " LAST\r\nMAIL FROM:<evil@example.com>\r\n")
			got, err := c.reply()
			if err != nil || got[0] != '5' {
				t.Errorf("BDAT %s: %q, %v", size, got, err)
			}
			c.eof() // what follows is no command
		}
		r.none()
	})
}

func TestChunks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, nil)
		c := r.greeted()
		// All in one flight (RFC 3030 4.2), a lone CR at the end of a chunk, a
		// chunk of nothing, lines of any length, dots that mean nothing.
		long := strings.Repeat("y", 70_000)
		c.send("MAIL FROM:<a@example.com>\r\nRCPT TO:<b@example.com>\r\n" +
			"BDAT 13\r\nSubject: x\r\n\rBDAT 0\r\nBDAT 1\r\n\n" +
			fmt.Sprintf("BDAT %d\r\n%s\r\n", len(long)+2, long) +
			"BDAT 7 LAST\r\n\r\n.\r\n.\rNOOP\r\n")
		for _, want := range []string{"250 2.1.0", "250 2.1.5", "250", "250", "250", "250"} {
			c.want(want)
		}
		c.want("550 5.6.0") // it ended with a bare CR
		c.want("250 2.0.0")
		r.none()
		c.envelope()
		c.send("BDAT 14\r\nSubject: x\r\n\r\nBDAT 3\r\n.\r\nBDAT 0 LAST\r\n")
		c.want("250 2.0.0 chunk taken")
		c.want("250 2.0.0 chunk taken")
		c.want("250 2.0.0 queued")
		if got := r.one().text(); got != "Subject: x\r\n\r\n.\r\n" {
			t.Errorf("stored %q", got)
		}
	})
}

// A line of any length passes in a chunk that comes with its command. go-smtp
// counts it as a command line when both come in one segment.
func TestLongLineInChunk(t *testing.T) {
	body := "Subject: x\r\n\r\n" + strings.Repeat("z", 9000) + "\r\n"
	flight := fmt.Sprintf("BDAT %d LAST\r\n%s", len(body), body)
	synctest.Test(t, func(t *testing.T) {
		control := startBare(t, nil).greeted()
		control.envelope()
		control.send(flight)
		if got, _ := control.reply(); strings.HasPrefix(got, "250") {
			t.Errorf("control: bare go-smtp took it: %q", got)
		}
		r := start(t, nil)
		c := r.greeted()
		c.envelope()
		c.send(flight)
		c.want("250 2.0.0 queued")
		if r.one().text() != body {
			t.Error("another text was stored")
		}
	})
}

// The line ends that others have taken for the end of a message (CVE-2023-51764
// to 51766 and their kin). Each is one message or none: never a second one.
var smuggling = []string{
	"\n.\n", "\n.\r\n", "\r\n.\n", "\r.\r", "\r.\n", "\n.\r", "\r.\r\n", "\r\n.\r",
	"\r\r\n.\r\r\n", "\r\n\r.\r\n", "\n\n.\n\n", "\r\n.\r\r\n", "\r\n.\x00\r\n", "\r\n\x00.\r\n",
	"\r\n.\x00\n", "\n.\x00\n", "\x00\r\n.\r", "\r\n.\n\r\n", "\n\r.\n\r", "\r\n .\r\n", "\r\n.\t\r\n",
	"\r\n..\n", "\u0085.\u0085", "\r\n.\v\n", "\f.\f", "\u2028.\u2028",
}

func TestSmuggling(t *testing.T) {
	const forged = "MAIL FROM:<evil@example.com>\r\nRCPT TO:<victim@example.net>\r\nDATA\r\nSubject: forged\r\n\r\n"
	for way, send := range ways {
		for _, end := range smuggling {
			t.Run(fmt.Sprintf("%s %q", way, end), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					r := start(t, nil)
					c := r.greeted()
					got := send(c, "Subject: x\r\n\r\nfirst"+end+forged+"second\r\n")
					ms := r.box.messages()
					switch {
					case strings.HasPrefix(got, "5") && len(ms) == 0:
					case strings.HasPrefix(got, "250 2.0.0 queued") && len(ms) == 1:
						checkText(t, ms[0].body)
						if !strings.HasSuffix(ms[0].body, "second\r\n") || ms[0].ReversePath != "ann@example.com" {
							t.Errorf("cut: %q", ms[0].body)
						}
					default:
						t.Fatalf("reply %q, %d messages", got, len(ms))
					}
					c.cmd("NOOP", "250") // in step
				})
			})
		}
	}
}

// checkText wants lines that end with CRLF and neither CR nor LF elsewhere.
func checkText(t *testing.T, s string) {
	t.Helper()
	if rest := strings.ReplaceAll(s, "\r\n", ""); strings.ContainsAny(rest, "\r\n\x00") || s != "" && !strings.HasSuffix(s, "\r\n") {
		t.Errorf("bare CR, LF or NUL, or an open line: %q", s)
	}
}

func TestText(t *testing.T) {
	const head = "Subject: x\r\n\r\n"
	tests := []struct {
		name, sent, want string // want is what is stored, or the beginning of a reply
		bits             bool
	}{
		{"clean", head + "a\r\nb\r\n", head + "a\r\nb\r\n", false},
		{"bare LF", "Subject: x\n\na\n\nb\r\n", head + "a\r\n\r\nb\r\n", false},
		{"mixed", head + "a\nb\r\nc\n\r\n", head + "a\r\nb\r\nc\r\n\r\n", false},
		{"bare CR", head + "a\rb\r\n", "550 5.6.0 ", false},
		{"CR CR LF", head + "a\r\r\n", "550 5.6.0 ", false},
		{"NUL", head + "a\x00b\r\n", "550 5.6.0 ", false},
		{"NUL in the header", "Subject: \x00\r\n\r\n", "550 5.6.0 ", false},
		{"8-bit", head + "gr\xc3\xbc\xc3\x9fe\r\n", head + "gr\xc3\xbc\xc3\x9fe\r\n", true},
		{"8-bit in no charset", head + "0123456789\xff\r\n", head + "0123456789\xff\r\n", true},
		{"8-bit header", "Subject: \xfc\r\n\r\n", "Subject: \xfc\r\n\r\n", true},
		{"control octets", head + "\x01\x1b\x7f\r\n", head + "\x01\x1b\x7f\r\n", false},
		{"only a header", "Subject: x\r\n", "Subject: x\r\n", false},
		{"empty", "", "", false},
		{"no header", "hello world\r\nFrom: x\r\n", "\r\nhello world\r\nFrom: x\r\n", false},
		{"only text", "hello\r\n", "\r\nhello\r\n", false},
		{"empty header", "\r\nhello\r\n", "\r\nhello\r\n", false},
		{"mbox", "From a@b Thu\r\nSubject: x\r\n\r\n", "From a@b Thu\r\nSubject: x\r\n\r\n", false},
		{"long line", head + strings.Repeat("l", 100_000) + "\r\n", head + strings.Repeat("l", 100_000) + "\r\n", false},
		{"largest header", bigHeader(maxHeader), bigHeader(maxHeader), false},
		{"larger header", bigHeader(maxHeader + 1), "552 5.3.4 ", false},
		{"endless header", bigHeader(maxHeader * 2)[:maxHeader*3/2] + "\r\n", "552 5.3.4 ", false},
		{"one line header", "Subject: " + strings.Repeat("y", maxHeader) + "\r\n\r\n", "552 5.3.4 ", false},
		{"10,000 fields", strings.Repeat("X: y\r\n", 10_000) + "\r\n", strings.Repeat("X: y\r\n", 10_000) + "\r\n", false},
	}
	for way, send := range ways {
		for _, tt := range tests {
			t.Run(way+" "+tt.name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					r := start(t, nil)
					c := r.greeted()
					got := send(c, tt.sent)
					if strings.HasPrefix(tt.want, "5") {
						if !strings.HasPrefix(got, tt.want) {
							t.Errorf("reply %q, want %q", got, tt.want)
						}
						r.none()
						c.cmd("NOOP", "250")
						return
					}
					if !strings.HasPrefix(got, "250 2.0.0 queued") {
						t.Fatalf("reply %q", got)
					}
					m := r.one()
					checkText(t, m.body)
					if m.text() != tt.want {
						t.Errorf("stored %.300q, want %.300q", m.text(), tt.want)
					}
					if m.EightBit != tt.bits {
						t.Errorf("EightBit = %v", m.EightBit)
					}
				})
			})
		}
	}
}

// bigHeader makes a header of n octets, the empty line among them.
func bigHeader(n int) string {
	const line = "X-Field: 0123456789\r\n"
	n -= len("Y:\r\n\r\n")
	return strings.Repeat(line, n/len(line)) + "Y:" + strings.Repeat("y", n%len(line)) + "\r\n\r\n"
}

// A chunk may end without an end of line; the next hop wants one.
func TestLastLineOfChunk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, nil)
		if got := r.greeted().bdat("Subject: x\r\n\r\nlast"); !strings.HasPrefix(got, "250") {
			t.Fatal(got)
		}
		if got := r.one().text(); got != "Subject: x\r\n\r\nlast\r\n" {
			t.Errorf("stored %q", got)
		}
	})
}

func TestDotStuffing(t *testing.T) {
	const text = ".\r\n..\r\n.a\r\n\r\n...\r\na.\r\n"
	synctest.Test(t, func(t *testing.T) {
		r := start(t, nil)
		c := r.greeted()
		stuffed := strings.ReplaceAll("\r\n"+text, "\r\n.", "\r\n..")
		if got := c.data(stuffed); !strings.HasPrefix(got, "250") {
			t.Fatal(got)
		}
		if got := r.one().text(); got != "\r\n"+text {
			t.Errorf("stored %q", got)
		}
	})
}

func TestAddedFields(t *testing.T) {
	tests := []struct {
		name, header string
		added        string
	}{
		{"both missing", "Subject: x\r\n\r\n", "Received Date Message-ID"},
		{"none missing", "message-id: <1@x>\r\nDATE : today\r\n\r\n", "Received"},
		{"Date missing", "Message-ID: <1@x>\r\n\r\nDate: y\r\n", "Received Date"},
		{"only in other fields", "X-Date: y\r\nSubject: Date: z\r\n Message-ID: folded\r\n\r\n", "Received Date Message-ID"},
		{"behind a line that is no field", "Subject: x\r\nwhat is this\r\nDate: y\r\nMessage-ID: <1@x>\r\n\r\n", "Received"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := start(t, nil)
				if got := r.greeted().data(tt.header + "text\r\n"); !strings.HasPrefix(got, "250") {
					t.Fatal(got)
				}
				m := r.one()
				id := "1@x"
				if strings.Contains(tt.added, "Message-ID") {
					id = m.ID.String() + "@gw.example.org"
				}
				if m.MessageID != id {
					t.Errorf("its ID is %q, want %q", m.MessageID, id)
				}
				block, found := strings.CutSuffix(m.body, tt.header+"text\r\n")
				if !found {
					t.Fatalf("the message was changed: %q", m.body)
				}
				var names []string
				for rest := []byte(block); len(rest) > 0; {
					var f []byte
					f, rest = header.Next(rest)
					name, value := header.Cut(f)
					names = append(names, string(name))
					date := strings.TrimSpace(string(value))
					if string(name) == "Received" {
						_, date, _ = strings.Cut(date, ";\r\n\t")
					}
					if at, err := time.Parse(dateLayout, date); string(name) != "Message-ID" && (err != nil || !at.Equal(m.Accepted)) {
						t.Errorf("%s: %q, %v", name, value, err)
					}
				}
				if got := strings.Join(names, " "); got != tt.added {
					t.Errorf("added %s, want %s", got, tt.added)
				}
				if strings.Contains(block, "Message-ID") && !strings.Contains(block, "\r\nMessage-ID: <"+m.ID.String()+"@gw.example.org>\r\n") {
					t.Errorf("Message-ID in %q", block)
				}
			})
		})
	}
}

func TestLoop(t *testing.T) {
	own := "Received: from x ([192.0.2.1])\r\n\tby GW.example.org with ESMTP id " + queue.NewID().String() + "\r\n\tfor <b@example.com>;\r\n\tSat, 01 Jan 2000 00:00:00 +0000\r\n"
	private := "Received: by gw.example.org with SMTP id " + queue.NewID().String() + ";\r\n\tSat, 01 Jan 2000 00:00:00 +0000\r\n"
	other := "Received: from gw.example.org by mx.example.com with ESMTP id 4XyzABC; Sat, 01 Jan 2000 00:00:00 +0000\r\n"
	tests := []struct{ name, header, want string }{
		{"others", strings.Repeat(other, 50), "250"},
		{"too many", strings.Repeat(other, 51), "554 5.4.6"},
		{"too many in any case", strings.Repeat(strings.ToLower(other), 51), "554 5.4.6"},
		{"our own", other + own, "554 5.4.6"},
		{"our own, private", private, "554 5.4.6"},
		{"our host's other mailer", "Received: by gw.example.org (Postfix) id 4XyzABC; x\r\n", "250"},
		{"sent again by a person", "Resent-From: a@example.com\r\n" + own, "250"},
		{"and then in a loop", own + "Resent-From: a@example.com\r\n" + other, "554 5.4.6"},
		{"only quoted", "Subject: x\r\n\r\n" + own, "250"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := start(t, nil)
				c := r.greeted()
				if got := c.data(tt.header + "\r\ntext\r\n"); !strings.HasPrefix(got, tt.want) {
					t.Errorf("reply %q, want %s", got, tt.want)
				}
				c.cmd("NOOP", "250")
			})
		})
	}
}

// What goes out once must not look like a loop only because of its size in
// Received fields, and what we write we must know again.
func TestOwnFieldIsKnown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, nil)
		c := r.greeted()
		c.data("Subject: x\r\n\r\n")
		if got := c.data(r.one().body); !strings.HasPrefix(got, "554 5.4.6") {
			t.Errorf("its own message again: %q", got)
		}
	})
}

// The body is split over segments at every place.
func TestBodyInPieces(t *testing.T) {
	const body = "Subject: x\r\n\r\n..a\r\nb\n.\r\r\n"
	const clean = "Subject: x\r\n\r\n..\r\n..a\r\nb\nc\r\n..\r\n"
	for at := range len(clean) {
		synctest.Test(t, func(t *testing.T) {
			r := start(t, nil)
			c := r.greeted()
			c.envelope()
			c.cmd("DATA", "354")
			c.send(clean[:at])
			synctest.Wait()
			c.send(clean[at:] + ".")
			synctest.Wait()
			c.send("\r")
			synctest.Wait()
			c.send("\nNOOP\r\n")
			c.want("250 2.0.0 queued")
			c.want("250 2.0.0")
			if got := r.one().text(); got != "Subject: x\r\n\r\n.\r\n.a\r\nb\r\nc\r\n.\r\n" {
				t.Fatalf("split at %d: stored %q", at, got)
			}
			if got := c.data(body); !strings.HasPrefix(got, "550 5.6.0") {
				t.Fatalf("a bare CR passes: %q", got)
			}
		})
	}
}

func TestLargeBody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, func(o *Options) { o.MaxMessage = 20 << 20 })
		c := r.greeted()
		text := lines(10 << 20)
		for way, send := range ways {
			if got := send(c, text); !strings.HasPrefix(got, "250") {
				t.Fatalf("%s: %q", way, got)
			}
			ms := r.box.messages()
			if !bytes.Equal([]byte(ms[len(ms)-1].text()), []byte(text)) {
				t.Errorf("%s: another text was stored", way)
			}
		}
	})
}
