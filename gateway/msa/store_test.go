package msa

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/emersion/go-smtp"

	"mailroam/queue"
)

// errTrouble is an error that no client may see.
var errTrouble = errors.New("write /var/lib/mailroam/queue.db: secret")

// Local trouble is 4xx, whatever it is and wherever it strikes, and tells the
// client nothing of ours. go-smtp turns any other error into 554 with its text.
func TestLocalTrouble(t *testing.T) {
	errs := map[string]struct {
		err  error
		want string
	}{
		"full":     {fmt.Errorf("x: %w", queue.ErrFull), "452 4.3.1 "},
		"unknown":  {errTrouble, "451 4.3.0 "},
		"wrapped":  {fmt.Errorf("committing: %w", errTrouble), "451 4.3.0 "},
		"EOF":      {io.EOF, "451 4.3.0 "},
		"poisoned": {fmt.Errorf("x: %w", queue.ErrPoisoned), ""},
		"closed":   {fmt.Errorf("x: %w", queue.ErrClosed), ""},
	}
	places := map[string]func(*box, error){
		"draft":  func(b *box, err error) { b.draftErr = err },
		"write":  func(b *box, err error) { b.writeErr = err },
		"commit": func(b *box, err error) { b.commitErr = err },
	}
	for way, send := range ways {
		for place, set := range places {
			for name, tt := range errs {
				t.Run(way+" "+place+" "+name, func(t *testing.T) {
					synctest.Test(t, func(t *testing.T) {
						r := start(t, nil)
						r.box.fail(func(b *box) { set(b, tt.err) })
						c := r.greeted()
						if tt.want == "" {
							unanswered(t, c, way)
							r.none()
							if l := r.log.lines("rejected"); len(l) != 0 {
								t.Errorf("a reply that never left is logged: %q", l)
							}
							return
						}
						got := send(c, lines(200_000))
						if !strings.HasPrefix(got, tt.want) || strings.Contains(got, "secret") || strings.Contains(got, "/var") {
							t.Errorf("reply %q, want %s", got, tt.want)
						}
						logged := strings.Contains(r.log.String(), "secret")
						if want := errors.Is(tt.err, errTrouble); logged != want {
							t.Errorf("cause logged: %v, want %v", logged, want)
						}
						r.none()
						r.box.fail(func(b *box) { set(b, nil) })
						if got := send(c, "x\r\n"); !strings.HasPrefix(got, "250") {
							t.Errorf("after it: %q", got)
						}
					})
				})
			}
		}
	}
	t.Run("control", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			b := startBare(t, func(s *smtp.Server) {
				s.Backend = smtp.BackendFunc(func(*smtp.Conn) (smtp.Session, error) { return &failing{}, nil })
			})
			if got := b.greeted().data("x\r\n"); !strings.HasPrefix(got, "554") || !strings.Contains(got, "secret") {
				t.Errorf("bare go-smtp keeps it to itself now: %q", got)
			}
		})
	})
}

// unanswered wants no reply to a message from a store whose state is not known.
func unanswered(t *testing.T, c *client, way string) {
	c.envelope()
	text := lines(200_000)
	flight := "DATA\r\n" + text + ".\r\n"
	if way == "BDAT" {
		flight = fmt.Sprintf("BDAT %d LAST\r\n%s", len(text), text)
	}
	sent := make(chan struct{})
	go func() {
		defer close(sent)
		_, _ = io.WriteString(c, flight+"NOOP\r\n")
	}()
	all, _ := io.ReadAll(c.in)
	<-sent
	if codes := codesOf(string(all)); codes != "" && codes != "354" {
		t.Errorf("replies %q", all)
	}
}

type failing struct{ naive }

func (*failing) Data(io.Reader) error { return fmt.Errorf("x: %w", errTrouble) }

// Space is asked for at MAIL with the size that was told, and again before the
// body is invited.
func TestAdmit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var asked []int64
		full := true
		r := start(t, func(o *Options) {
			o.Admit = func(size int64) error {
				asked = append(asked, size)
				if full {
					return fmt.Errorf("x: %w", queue.ErrFull)
				}
				return nil
			}
		})
		c := r.greeted()
		c.cmd("MAIL FROM:<a@example.com> SIZE=123", "452 4.3.1 ")
		c.cmd("RCPT TO:<b@example.com>", "503")
		full = false
		c.cmd("MAIL FROM:<a@example.com> SIZE=456", "250")
		c.cmd("RCPT TO:<b@example.com>", "250")
		full = true
		c.cmd("DATA", "452 4.3.1 ")
		c.cmd("BDAT 3\r\na", "452 4.3.1 ")
		full = false
		c.cmd("RSET", "250")
		if got := c.data("x\r\n"); !strings.HasPrefix(got, "250 2.0.0 queued") {
			t.Errorf("with space again: %q", got)
		}
		if got := fmt.Sprint(asked); got != "[123 456 456 456 0 0]" {
			t.Errorf("asked for %s", got)
		}
	})
}

func TestPermit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, func(o *Options) {
			o.Permit = func(from, to string) error {
				switch {
				case to == "bob@nowhere.example":
					return fmt.Errorf("%s may not send to nowhere.example", from)
				case from == "ann@example.com" || from == "":
					return nil
				}
				return fmt.Errorf("no upstream may send for <%s>:\r\n250 add it\x1b to the senders, bitte schön %s", from, strings.Repeat("x", 1000))
			}
		})
		c := r.greeted()
		got := c.cmd("MAIL FROM:<mal@example.com>", "550 5.7.1 no upstream may send for <mal@example.com>: 250 add it\\x1b to the senders, bitte sch??n")
		if len(got) > 512 || strings.Count(got, "\n") != 1 {
			t.Errorf("reply of %d octets: %q", len(got), got)
		}
		c.cmd("RCPT TO:<b@example.com>", "503")
		c.cmd("MAIL FROM:<>", "250")
		c.cmd("RSET", "250")
		c.cmd("MAIL FROM:<ann@example.com>", "250")
		c.cmd("RCPT TO:<bob@nowhere.example>", "550 5.7.1 ann@example.com may not send to nowhere.example")
		c.cmd("DATA", "503 5.5.1")
		for range 2 * maxErrors { // it is no error of the dialogue
			c.cmd("RCPT TO:<bob@nowhere.example>", "550 5.7.1")
		}
		c.cmd("RCPT TO:<bob@example.net>", "250")
		c.cmd("DATA", "354")
		if got := c.exchange("x\r\n.\r\n"); !strings.HasPrefix(got, "250 2.0.0 queued") {
			t.Error(got)
		}
		if m := r.one(); fmt.Sprint(addresses(m)) != "[bob@example.net]" {
			t.Errorf("to %v", addresses(m))
		}
	})
}

// Fresh mail can be born leased; a claim that nobody takes goes back.
func TestBornLeased(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var taken []queue.ID
		var unfiled []string
		free := true
		first := "work"
		r := start(t, func(o *Options) {
			o.File = func(m *queue.NewMessage) string {
				m.Lane = "lane"
				m.Due = m.Accepted
				return first
			}
			o.Take = func(c queue.Claim) bool {
				if free {
					taken = append(taken, c.ID)
				}
				return free
			}
			o.Unfile = func(first string) { unfiled = append(unfiled, first) }
		})
		c := r.greeted()
		c.data("1\r\n")
		free = false
		c.data("2\r\n")
		first = ""
		c.data("3\r\n")
		ms := r.box.messages()
		if len(ms) != 3 || ms[0].first != "work" || ms[1].first != "work" || ms[2].first != "" || ms[2].Lane != "lane" {
			t.Fatalf("stored %+v", ms)
		}
		if len(taken) != 1 || taken[0] != ms[0].ID || len(r.box.requeued) != 1 || r.box.requeued[0] != ms[1].ID {
			t.Errorf("taken %v, requeued %v", taken, r.box.requeued)
		}
		r.box.fail(func(b *box) { b.commitErr = queue.ErrFull })
		c.data("4\r\n") // was to be queued
		first = "home"
		c.data("5\r\n")
		if len(unfiled) != 1 || unfiled[0] != "home" {
			t.Errorf("unfiled %q", unfiled)
		}
	})
}

// A panic costs one connection a 421.
func TestPanic(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		boom := true
		r := start(t, func(o *Options) {
			o.File = func(*queue.NewMessage) string {
				if boom {
					panic("boom")
				}
				return ""
			}
		})
		for way, send := range ways {
			c := r.greeted()
			if got := send(c, "x\r\n"); !strings.HasPrefix(got, "421 ") || strings.Contains(got, "boom") {
				t.Errorf("%s: %q", way, got)
			}
			c.eof()
		}
		synctest.Wait()
		boom = false
		if got := r.greeted().data("x\r\n"); !strings.HasPrefix(got, "250") {
			t.Errorf("after it: %q", got)
		}
		if l := r.log.lines("alert"); len(l) != 2 || !strings.Contains(l[0], "boom") {
			t.Errorf("log %q", l)
		}
	})
}
