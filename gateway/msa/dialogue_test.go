package msa

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestOneMessage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, nil)
		c := r.greeted()
		c.cmd("MAIL FROM:<ann@example.com> SIZE=100 BODY=8BITMIME", "250 2.1.0 ")
		c.cmd("RCPT TO:<bob@example.net>", "250 2.1.5 ")
		c.cmd("DATA", "354 ")
		c.send("Subject: hello\r\nDate: Thu, 1 Jan 2026 00:00:00 +0000\r\nMessage-ID: <1@x>\r\n\r\nHi\r\n..\r\n.\r\n")
		got := c.want("250 2.0.0 queued as ")
		c.cmd("QUIT", "221 2.0.0")
		c.eof()

		m := r.one()
		if got != "250 2.0.0 queued as "+m.ID.String()+"\r\n" {
			t.Errorf("the reply names no stored message: %q", got)
		}
		want := "Received: from client.example.net ([127.0.0.1])\r\n" +
			"\tby gw.example.org with ESMTP id " + m.ID.String() + "\r\n" +
			"\tfor <bob@example.net>;\r\n\t" + m.Accepted.Format("Mon, 02 Jan 2006 15:04:05 +0000") + "\r\n" +
			"Subject: hello\r\nDate: Thu, 1 Jan 2026 00:00:00 +0000\r\nMessage-ID: <1@x>\r\n\r\nHi\r\n.\r\n"
		if m.body != want {
			t.Errorf("stored\n%q, want\n%q", m.body, want)
		}
		if m.ReversePath != "ann@example.com" || fmt.Sprint(addresses(m)) != "[bob@example.net]" || m.EightBit ||
			m.Client.Addr != "127.0.0.1" || m.Client.Helo != "client.example.net" || !m.Accepted.Equal(time.Now()) {
			t.Errorf("envelope %+v", m.NewMessage)
		}
		if l := r.log.lines("accepted"); len(l) != 1 || !strings.Contains(l[0], "id="+m.ID.String()+" from=ann@example.com to=[bob@example.net] size=82 took=0s client=127.0.0.1") {
			t.Errorf("log: %q", l)
		}
	})
}

func TestEHLO(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, nil)
		c := r.dial()
		c.want("220 gw.example.org ESMTP")
		got := c.cmd("EHLO x", "250-gw.example.org ")
		var offered []string
		for line := range strings.Lines(got) {
			offered = append(offered, strings.TrimSpace(line[4:]))
		}
		if want := "PIPELINING,8BITMIME,ENHANCEDSTATUSCODES,CHUNKING,SMTPUTF8,DSN,SIZE 1048576"; strings.Join(offered[1:], ",") != want {
			t.Errorf("offers %q, want %s", offered[1:], want)
		}
		if got := c.cmd("HELO x", "250 gw.example.org "); strings.Contains(got, "2.0.0") {
			t.Errorf("HELO has an enhanced code: %q", got)
		}
	})
}

// All replies to a batch come in order and in as few segments as can be.
func TestPipelining(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, nil)
		c := r.dial()
		segment := func() string {
			synctest.Wait()
			b := make([]byte, 64<<10)
			n, err := c.Read(b)
			if err != nil {
				t.Fatal(err)
			}
			return string(b[:n])
		}
		segment()
		c.send("EHLO x\r\n")
		if got := segment(); !strings.HasSuffix(got, "250 SIZE 1048576\r\n") {
			t.Errorf("EHLO in pieces: %q", got)
		}
		c.send("MAIL FROM:<a@example.com>\r\nRCPT TO:<b@example.com>\r\nRCPT TO:<nobody>\r\nRCPT TO:<c@example.com>\r\nDATA\r\n")
		codes := codesOf(segment())
		if codes != "250 250 501 250 354" {
			t.Errorf("batch: %s", codes)
		}
		c.send("Subject: 1\r\n\r\none\r\n.\r\nRSET\r\nMAIL FROM:<>\r\nRCPT TO:<d@example.com>\r\nDATA\r\n")
		if codes := codesOf(segment()); codes != "250 250 250 250 354" {
			t.Errorf("second batch: %s", codes)
		}
		c.send("two\r\n.\r\nQUIT\r\n")
		if codes := codesOf(segment()); codes != "250 221" {
			t.Errorf("end: %s", codes)
		}
		if n := len(r.box.messages()); n != 2 {
			t.Errorf("%d messages, want 2", n)
		}
	})
}

// A long batch may stand behind a body in the same segments.
func TestPipeliningBehindBody(t *testing.T) {
	for _, n := range []int{1, 100, 1200} {
		synctest.Test(t, func(t *testing.T) {
			r := start(t, func(o *Options) { o.Limits.MaxRecipients = 2000 })
			c := r.greeted()
			c.envelope()
			c.cmd("DATA", "354")
			batch := "MAIL FROM:<a@example.com>\r\n"
			for i := range n {
				batch += fmt.Sprintf("RCPT TO:<somebody-%04d@example.com>\r\n", i)
			}
			go c.send(lines(60_000) + ".\r\n" + batch + "DATA\r\n")
			c.want("250 2.0.0 queued")
			for range n + 1 {
				c.want("250 2.1.")
			}
			c.want("354")
			go c.send(lines(10_000) + ".\r\nQUIT\r\n")
			c.want("250 2.0.0 queued")
			c.want("221")
			ms := r.box.messages()
			if len(ms) != 2 || ms[0].text() != lines(60_000) || ms[1].text() != lines(10_000) || len(ms[1].Recipients) != n {
				t.Errorf("%d messages, or other ones", len(ms))
			}
		})
	}
}

// A command may come in any pieces.
func TestLinesInPieces(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, nil)
		c := r.dial()
		c.want("220")
		for _, b := range []byte("ehlo x\r\nmail from:<a@example.com>\r\nrcpt to:<b@example.com>\r\ndata\r\nhi\r\n.\r\nquit\r\n") {
			c.send(string(b))
			synctest.Wait()
		}
		for _, want := range []string{"250-", "250", "250", "354", "250", "221"} {
			c.want(want)
		}
		if got := r.one().text(); got != "\r\nhi\r\n" {
			t.Errorf("stored %q", got)
		}
	})
}

func codesOf(replies string) string {
	var codes []string
	for line := range strings.Lines(replies) {
		if len(line) > 3 && line[3] == ' ' {
			codes = append(codes, line[:3])
		}
	}
	return strings.Join(codes, " ")
}

func TestReplies(t *testing.T) {
	const mail, rcpt = "MAIL FROM:<a@example.com>", "RCPT TO:<b@example.com>"
	tests := []struct {
		name   string
		before []string // commands that are accepted
		line   string
		want   string
	}{
		{"order: MAIL before EHLO", []string{"-"}, mail, "503 5.5.1 "},
		{"order: RCPT before MAIL", nil, rcpt, "503 5.5.1 "},
		{"order: DATA before MAIL", nil, "DATA", "503 5.5.1 "},
		{"order: DATA before RCPT", []string{mail}, "DATA", "503 5.5.1 "},
		{"order: BDAT before RCPT", []string{mail}, "BDAT 0 LAST", "503 5.5.1 "},
		{"nested MAIL", []string{mail, rcpt}, mail, "503 5.5.1 "},
		{"RSET ends a transaction", []string{mail, rcpt, "RSET"}, "DATA", "503 5.5.1 "},
		{"EHLO ends a transaction", []string{mail, rcpt, "EHLO again"}, "DATA", "503 5.5.1 "},
		{"MAIL after RSET", []string{mail, rcpt, "RSET"}, mail, "250 2.1.0 "},
		{"RSET before EHLO", []string{"-"}, "RSET", "250 2.0.0 "},
		{"NOOP with an argument", nil, "NOOP x y", "250 2.0.0 "},
		{"QUIT with an argument", nil, "quit now", "221 2.0.0 "},
		{"DATA with an argument", []string{mail, rcpt}, "DATA x", "501 5.5.4 "},
		{"VRFY", nil, "VRFY bob", "252 2.5.0 "},
		{"EXPN", nil, "EXPN list", "502 5.5.1 "},
		{"HELP", nil, "HELP", "502 5.5.1 "},
		{"AUTH is not offered", nil, "AUTH PLAIN AGEAYg==", "502 5.5.1 "},
		{"STARTTLS is not offered", nil, "STARTTLS", "502 5.5.1 "},
		{"LHLO", nil, "LHLO x", "500 5.5.2 "},
		{"unknown", nil, "XYZZY", "500 5.5.2 "},
		{"short", nil, "X", "500 5.5.2 "},
		{"empty", nil, "", "500 5.5.2 "},
		{"control octet", nil, "NOOP \x1b[2J", "500 5.5.2 "},
		{"NUL", nil, "NOOP \x00", "500 5.5.2 "},
		{"bare CR", nil, "NOOP\rQUIT", "500 5.5.2 "},
		{"tab", nil, "MAIL\tFROM:<a@example.com>", "500 5.5.2 "},

		{"EHLO without a name", nil, "EHLO", "501 5.5.4 "},
		{"EHLO with spaces", nil, "EHLO my pc", "501 5.5.4 "},
		{"EHLO with a control octet", nil, "EHLO a\x07b", "501 5.5.4 "},
		{"EHLO with broken UTF-8", nil, "EHLO m\xfcller", "501 5.5.4 "},
		{"EHLO with bidi marks", nil, "EHLO a\u202eb", "501 5.5.4 "},
		{"EHLO too long", nil, "EHLO " + strings.Repeat("a", 256), "501 5.5.4 "},
		{"EHLO longest", nil, "EHLO " + strings.Repeat("a", 255), "250-"},
		{"EHLO literal", nil, "EHLO [192.0.2.1]", "250-"},
		{"EHLO odd", nil, `EHLO (%s)"\{};<x>'`, "250-"},
		{"EHLO umlaut", nil, "EHLO müller-pc", "250-"},

		{"no brackets", nil, "MAIL FROM:a@example.com", "250 "},
		{"a space", nil, "MAIL FROM: <a@example.com>", "250 "},
		{"null reverse-path", nil, "MAIL FROM:<>", "250 "},
		{"no reverse-path", nil, "MAIL FROM:", "501 5.1.7 "},
		{"no address", nil, "MAIL", "501 5.1.7 "},
		{"sender without a domain", nil, "MAIL FROM:<root>", "250 "},
		{"source route", nil, "MAIL FROM:<@x,@y:a@example.com>", "250 "},
		{"two at signs", nil, "MAIL FROM:<a@b@example.com>", "501 5.1.7 "},
		{"space in it", nil, "MAIL FROM:<a b@example.com>", "501 5.1.7 "},
		{"unclosed", nil, "MAIL FROM:<a@example.com", "501 5.1.7 "},
		{"text behind", nil, "MAIL FROM:<a@example.com>x", "501 5.1.7 "},
		{"8-bit", nil, "MAIL FROM:<ü@example.com>", "553 5.6.7 "},
		{"SIZE too big", nil, mail + " SIZE=1048577", "552 5.3.4 "},
		{"SIZE just right", nil, mail + " SIZE=1048576", "250 "},
		{"SIZE of 20 digits", nil, mail + " SIZE=99999999999999999999", "552 5.3.4 "},
		{"SIZE of 21 digits", nil, mail + " SIZE=100000000000000000000", "501 5.5.4 "},
		{"SIZE of nothing", nil, mail + " SIZE=", "501 5.5.4 "},
		{"SIZE of words", nil, mail + " SIZE=big", "501 5.5.4 "},
		{"SIZE twice", nil, mail + " SIZE=1 SIZE=2", "501 5.5.4 "},
		{"BODY", nil, mail + " body=7bit", "250 "},
		{"BODY unknown", nil, mail + " BODY=9BIT", "501 5.5.4 "},
		{"BODY twice", nil, mail + " BODY=7BIT BODY=7BIT", "501 5.5.4 "},
		{"BINARYMIME", nil, mail + " BODY=BINARYMIME", "555 5.5.4 "},
		{"AUTH=", nil, mail + " AUTH=<>", "555 5.5.4 "},
		{"REQUIRETLS", nil, mail + " REQUIRETLS", "555 5.5.4 "},
		{"unknown parameter", nil, mail + " X=Y=Z", "555 5.5.4 "},

		{"recipient without a domain", []string{mail}, "RCPT TO:<bob>", "501 5.1.3 "},
		{"no recipient", []string{mail}, "RCPT TO:<>", "501 5.1.3 "},
		{"postmaster", []string{mail}, "RCPT TO:<PostMaster>", "250 2.1.5 "},
		{"quoted", []string{mail}, `RCPT TO:<"a b>\" c"@example.com>`, "250 2.1.5 "},
		{"quoted with a NUL", []string{mail}, "RCPT TO:<\"a\x00\"@example.com>", "500 5.5.2 "},
		{"quoted and open", []string{mail}, `RCPT TO:<"a@example.com>`, "501 5.1.3 "},
		{"dots", []string{mail}, "RCPT TO:<a..b@example.com>", "501 5.1.3 "},
		{"domain with a dash", []string{mail}, "RCPT TO:<a@-x.example.com>", "501 5.1.3 "},
		{"literal", []string{mail}, "RCPT TO:<a@[IPv6:2001:db8::1]>", "250 2.1.5 "},
		{"unknown parameter", []string{mail}, rcpt + " X", "555 5.5.4 "},
		{"BDAT without a size", []string{mail, rcpt}, "BDAT", "501 5.5.4 "},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := start(t, nil)
				c := r.dial()
				c.want("220")
				if len(tt.before) == 0 || tt.before[0] != "-" {
					c.cmd("EHLO first", "250")
				} else {
					tt.before = tt.before[1:]
				}
				for _, line := range tt.before {
					c.cmd(line, "250")
				}
				got := c.cmd(tt.line, tt.want)
				if strings.ContainsAny(got, "\x00\x07\x1b") {
					t.Errorf("the reply echoes control octets: %q", got)
				}
			})
		})
	}
}

// go-smtp begins a second transaction with the recipients of the first.
func TestNestedMailControl(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := startBare(t, nil).greeted()
		c.envelope()
		c.cmd("MAIL FROM:<other@example.com>", "250")
		c.cmd("DATA", "354")
	})
}

// An address is kept as it was written: unquoted, this one would add a
// parameter to a command that is built from it.
func TestQuotedLocalPart(t *testing.T) {
	const odd = `"v@evil> NOTIFY=NEVER x"@example.com`
	synctest.Test(t, func(t *testing.T) {
		r := start(t, nil)
		c := r.greeted()
		c.cmd("MAIL FROM:<"+odd+"> SIZE=5", "250")
		c.cmd("RCPT TO:<"+odd+">", "250")
		c.cmd("RCPT TO:<postmaster>", "250")
		c.cmd("DATA", "354")
		c.cmd("x\r\n.", "250")
		if m := r.one(); m.ReversePath != odd || fmt.Sprint(addresses(m)) != "["+odd+" postmaster]" {
			t.Errorf("envelope %q %q", m.ReversePath, m.Recipients)
		}
	})
}

func TestRecipients(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, func(o *Options) { o.Limits.MaxRecipients = 5 })
		c := r.greeted()
		c.cmd("MAIL FROM:<>", "250")
		c.cmd("RCPT TO:<bob@example.net>", "250")
		c.cmd("RCPT TO:<bob@EXAMPLE.net>", "250")
		c.cmd("RCPT TO:<Bob@example.net>", "250")
		c.cmd("RCPT TO:<bob@example.net>", "250")
		c.cmd("RCPT TO:<carol@example.net>", "250")
		for range 50 { // far more than the errors that end a session
			c.cmd("RCPT TO:<dave@example.net>", "452 4.5.3 ")
		}
		c.cmd("DATA", "354")
		c.cmd("x\r\n.", "250")
		m := r.one()
		if got := fmt.Sprint(addresses(m)); got != "[bob@example.net Bob@example.net carol@example.net]" {
			t.Errorf("recipients %s", got)
		}
		if strings.Contains(m.body, "bob@") {
			t.Errorf("a recipient of several is named: %q", m.body)
		}
		if n := len(r.log.lines("rejected")); n != maxRefusals {
			t.Errorf("%d refusals logged, want %d", n, maxRefusals)
		}
	})
}

func TestHostileNameInReceived(t *testing.T) {
	tests := []struct{ ehlo, want string }{
		{"EHLO client.example.net", "from client.example.net ([127.0.0.1])"},
		{"EHLO my_pc", "from my_pc ([127.0.0.1])"},
		{"EHLO [192.0.2.7]", "from [192.0.2.7] ([127.0.0.1])"},
		{`EHLO x)(\y`, `from [127.0.0.1] (helo=x\)\(\\\\y)`},
		{"EHLO müller", `from [127.0.0.1] (helo=m\\u00fcller)`},
		{"EHLO <a@b>;", "from [127.0.0.1] (helo=<a@b>;)"},
	}
	for _, tt := range tests {
		t.Run(tt.ehlo, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := start(t, nil)
				c := r.dial()
				c.want("220")
				c.cmd(tt.ehlo, "250")
				c.data("x\r\n")
				if h := r.one().header(); !strings.HasPrefix(h, "Received: "+tt.want+"\r\n\tby gw.example.org with ESMTP") {
					t.Errorf("header %q", h)
				}
			})
		})
	}
}

func TestAllow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, func(o *Options) { o.Allow = nil })
		c := r.greeted()
		if got := c.cmd("MAIL FROM:<a@example.com>", "550 5.7.1 "); !strings.Contains(got, "`allow`") {
			t.Errorf("the refusal names no key: %q", got)
		}
		c.cmd("RCPT TO:<b@example.com>", "503")
	})
}

func TestPrivate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, func(o *Options) { o.Private = true })
		c := r.dial()
		c.want("220")
		c.cmd("HELO secret-laptop", "250")
		c.data("x\r\n")
		h := r.one().header()
		if !strings.HasPrefix(h, "Received: by gw.example.org with SMTP id ") || strings.Contains(h, "secret") || strings.Contains(h, "127.0.0.1") {
			t.Errorf("header %q", h)
		}
	})
}

func TestRejectedIsLogged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, nil)
		c := r.greeted()
		c.cmd("MAIL FROM:<a@example.com>", "250")
		c.cmd("RCPT TO:<bob>", "501")
		c.cmd("MAIL FROM:<b@example.com>", "503")
		l := r.log.lines("rejected")
		if len(l) != 2 || !strings.Contains(l[0], "client=127.0.0.1 helo=client.example.net from=a@example.com") || !strings.Contains(l[0], `code=501 enhanced=5.1.3 text="say RCPT`) {
			t.Fatalf("log %q", l)
		}
		if !strings.Contains(l[1], `from=b@example.com to="" code=503`) {
			t.Errorf("the refused sender is not the sender: %q", l[1])
		}
	})
}
