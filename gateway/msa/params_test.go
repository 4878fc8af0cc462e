package msa

import (
	"fmt"
	"io"
	"net/smtp"
	"strings"
	"testing"
	"testing/synctest"

	"mailroam/queue"
)

// What a client may say behind a path, and what is kept of it.
func TestParams(t *testing.T) {
	const (
		never, success, failure, delay = queue.NotifyNever, queue.NotifySuccess, queue.NotifyFailure, queue.NotifyDelay

		malformed, unknown = "501 5.5.4 ", "555 5.5.4 "
	)
	x := strings.Repeat
	tests := []struct {
		name, line string
		refused    string
		want       params
	}{
		{"nothing", "MAIL ", "", params{}},
		{"spaces", "MAIL   SIZE=5   BODY=8BITMIME  ", "", params{size: 5}},
		{
			"all", "MAIL SIZE=5 ret=full envid=QQ314159 smtputf8 body=7bit", "",
			params{size: 5, utf8: true, extended: true, ret: queue.Return{Full: true, EnvID: "QQ314159"}},
		},
		{"SIZE and BODY need no EHLO", "MAIL SIZE=5 BODY=7BIT", "", params{size: 5}},
		{"SMTPUTF8 with a value", "MAIL SMTPUTF8=1", malformed, params{}},
		{"SMTPUTF8 with an empty value", "MAIL SMTPUTF8=", malformed, params{}},
		{"SMTPUTF8 twice", "MAIL SMTPUTF8 SMTPUTF8", malformed, params{}},
		{"RET=HDRS", "MAIL RET=hdrs", "", params{extended: true, ret: queue.Return{Header: true}}},
		{"RET of something", "MAIL RET=SOME", malformed, params{}},
		{"RET of nothing", "MAIL RET", malformed, params{}},
		{"RET twice", "MAIL RET=FULL RET=FULL", malformed, params{}},
		{"RET twice in two cases", "MAIL RET=FULL ret=HDRS", malformed, params{}},
		{"ENVID", "MAIL ENVID=a+2Bb+20c<>@", "", params{extended: true, ret: queue.Return{EnvID: "a+2Bb+20c<>@"}}},
		{"ENVID of 100", "MAIL ENVID=" + x("a", 100), "", params{extended: true, ret: queue.Return{EnvID: x("a", 100)}}},
		{"ENVID of 101", "MAIL ENVID=" + x("a", 101), malformed, params{}},
		{"ENVID of nothing", "MAIL ENVID=", malformed, params{}},
		{"ENVID of a line end", "MAIL ENVID=a+0D+0Ab", malformed, params{}},
		{"ENVID of DEL", "MAIL ENVID=+7F", malformed, params{}},
		{"ENVID beyond ASCII", "MAIL ENVID=+FC", malformed, params{}},
		{"ENVID in raw UTF-8", "MAIL ENVID=ü SMTPUTF8", malformed, params{}},
		{"ENVID in small letters", "MAIL ENVID=+2b", malformed, params{}},
		{"ENVID cut off", "MAIL ENVID=a+2", malformed, params{}},
		{"ENVID with =", "MAIL ENVID=a=b", malformed, params{}},
		{"NOTIFY on MAIL", "MAIL NOTIFY=NEVER", unknown, params{}},
		{"a no-break space is no space", "MAIL RET=FULL\u00a0ENVID=1", "500 5.5.2 ", params{}},
		{"letters that only look like theirs", "MAIL \u017fIZE=1", unknown, params{}},

		{"NOTIFY", "RCPT NOTIFY=success,Failure,DELAY", "", params{extended: true, notify: success | failure | delay}},
		{"NOTIFY in another order", "RCPT NOTIFY=DELAY,SUCCESS", "", params{extended: true, notify: success | delay}},
		{"NOTIFY=NEVER", "RCPT NOTIFY=NEVER", "", params{extended: true, notify: never}},
		{"NEVER and more", "RCPT NOTIFY=FAILURE,NEVER", malformed, params{}},
		{"NEVER twice", "RCPT NOTIFY=NEVER,NEVER", malformed, params{}},
		{"a wish twice", "RCPT NOTIFY=DELAY,DELAY", malformed, params{}},
		{"an empty wish", "RCPT NOTIFY=DELAY,", malformed, params{}},
		{"another wish", "RCPT NOTIFY=ALWAYS", malformed, params{}},
		{"NOTIFY of nothing", "RCPT NOTIFY", malformed, params{}},
		{"NOTIFY twice", "RCPT NOTIFY=DELAY NOTIFY=FAILURE", malformed, params{}},
		{"ORCPT", "RCPT ORCPT=rfc822;Bob+2Bx@Example.com", "", params{extended: true, orcpt: "rfc822;Bob+2Bx@Example.com"}},
		{"both", "RCPT ORCPT=rfc822;b@x NOTIFY=DELAY", "", params{extended: true, orcpt: "rfc822;b@x", notify: delay}},
		{"ORCPT of another type", "RCPT ORCPT=x400;/C+3DUS/", "", params{extended: true, orcpt: "x400;/C+3DUS/"}},
		{"ORCPT of 500", "RCPT ORCPT=rfc822;" + x("a", 493), "", params{extended: true, orcpt: "rfc822;" + x("a", 493)}},
		{"ORCPT of 501", "RCPT ORCPT=rfc822;" + x("a", 494), malformed, params{}},
		{"ORCPT without a type", "RCPT ORCPT=;b@x", malformed, params{}},
		{"ORCPT without an address", "RCPT ORCPT=rfc822;", malformed, params{}},
		{"ORCPT without ;", "RCPT ORCPT=b@x", malformed, params{}},
		{"ORCPT with an odd type", "RCPT ORCPT=rfc(822;b@x", malformed, params{}},
		{"ORCPT with = in its type", "RCPT ORCPT=rfc=822;b@x", malformed, params{}},
		{"ORCPT with a line end", "RCPT ORCPT=rfc822;b+0Ax", malformed, params{}},
		{"ORCPT raw in the wrong type", "RCPT ORCPT=rfc822;bü@x", malformed, params{}},
		{"ORCPT twice", "RCPT ORCPT=rfc822;b@x ORCPT=rfc822;b@x", malformed, params{}},
		{"utf-8", "RCPT ORCPT=utf-8;bü@müller.example", "", params{extended: true, orcpt: "utf-8;bü@müller.example"}},
		{"utf-8 in ASCII", `RCPT ORCPT=UTF-8;b\x{FC}\x{2B}1@\x{4E2D}.example`, "", params{extended: true, orcpt: `UTF-8;b\x{FC}\x{2B}1@\x{4E2D}.example`}},
		{"utf-8 of a control character", `RCPT ORCPT=utf-8;b\x{0A}@x`, malformed, params{}},
		{"utf-8 of what turns the text round", `RCPT ORCPT=utf-8;b\x{202E}@x`, malformed, params{}},
		{"utf-8 of half a pair", `RCPT ORCPT=utf-8;b\x{D800}@x`, malformed, params{}},
		{"utf-8 beyond Unicode", `RCPT ORCPT=utf-8;b\x{110000}@x`, malformed, params{}},
		{"utf-8 left open", `RCPT ORCPT=utf-8;b@x\x{FC`, malformed, params{}},
		{"utf-8 of no mailbox", `RCPT ORCPT=utf-8;bü`, malformed, params{}},
		{"utf-8 in xtext", `RCPT ORCPT=utf-8;b+2B@x`, malformed, params{}},
		{"RET on RCPT", "RCPT RET=FULL", unknown, params{}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			verb, rest, _ := strings.Cut(tt.line, " ")
			line := map[string]string{"MAIL": "MAIL FROM:<a@x> ", "RCPT": "RCPT TO:<b@x> "}[verb] + rest
			cmd, refusal, _ := parse(line, 1<<20)
			if refusal != nil {
				if got := string(format(refusal)); tt.refused == "" || !strings.HasPrefix(got, tt.refused) {
					t.Errorf("refused: %q, want %q", got, tt.refused)
				}
				return
			}
			if tt.refused != "" || cmd.params != tt.want {
				t.Errorf("got %+v, want %+v %s", cmd.params, tt.want, tt.refused)
			}
		})
	}
}

// A client that said HELO was offered nothing.
func TestParamsAfterHELO(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := start(t, nil).dial()
		c.want("220")
		c.cmd("MAIL FROM:<a@example.com> RET=FULL", "503 5.5.1 ") // the order comes first
		c.cmd("HELO x", "250")
		for _, p := range []string{"SMTPUTF8", "RET=HDRS", "ENVID=1"} {
			c.cmd("MAIL FROM:<a@example.com> "+p, "555 5.5.4 ")
		}
		c.cmd("MAIL FROM:<a@example.com> SIZE=10 BODY=8BITMIME", "250 2.1.0 ")
		c.cmd("RCPT TO:<b@example.com> NOTIFY=NEVER", "555 5.5.4 ")
		c.cmd("RCPT TO:<b@example.com> ORCPT=rfc822;b@x", "555 5.5.4 ")
		c.cmd("RCPT TO:<b@example.com>", "250 2.1.5 ")
	})
}

func TestWishesAreStored(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, nil)
		c := r.greeted()
		c.cmd("MAIL FROM:<a@example.com> RET=FULL ENVID=x+2B1", "250")
		c.cmd("RCPT TO:<b@example.com> NOTIFY=SUCCESS,DELAY ORCPT=rfc822;B+2B@example.com", "250")
		c.cmd("RCPT TO:<c@example.com> NOTIFY=NEVER", "250")
		c.cmd("RCPT TO:<d@example.com>", "250")
		c.cmd("DATA", "354")
		c.cmd("x\r\n.", "250")
		c.envelope()
		c.cmd("DATA", "354")
		c.cmd("x\r\n.", "250")
		ms := r.box.messages()
		if want := (queue.Return{Full: true, EnvID: "x+2B1"}); ms[0].Return != want {
			t.Errorf("return %+v", ms[0].Return)
		}
		want := []queue.Addressee{
			{Address: "b@example.com", Notify: queue.NotifySuccess | queue.NotifyDelay, ORcpt: "rfc822;B+2B@example.com"},
			{Address: "c@example.com", Notify: queue.NotifyNever},
			{Address: "d@example.com"},
		}
		if fmt.Sprint(ms[0].Recipients) != fmt.Sprint(want) {
			t.Errorf("recipients %+v, want %+v", ms[0].Recipients, want)
		}
		if ms[1].Return != (queue.Return{}) || ms[1].Recipients[0].Notify != 0 {
			t.Errorf("wishes of the message before: %+v", ms[1].NewMessage)
		}
	})
}

func TestMerge(t *testing.T) {
	const never, success, failure, delay = queue.NotifyNever, queue.NotifySuccess, queue.NotifyFailure, queue.NotifyDelay
	tests := []struct{ a, b, want queue.Notify }{
		{0, 0, 0},
		{never, never, never},
		{success, success, success},
		{success, failure, success | failure},
		{never, success, success},
		{success, never, success},
		{0, success, success | failure | delay},
		{0, never, failure | delay},
		{delay, 0, failure | delay},
	}
	for _, tt := range tests {
		got := merge(queue.Addressee{Notify: tt.a}, queue.Addressee{Notify: tt.b})
		if got.Notify != tt.want {
			t.Errorf("%q and %q: %q, want %q", tt.a, tt.b, got.Notify, tt.want)
		}
		for _, n := range []queue.Notify{success, failure, delay} {
			if got.Notify.Wants(n) != (tt.a.Wants(n) || tt.b.Wants(n)) {
				t.Errorf("%q and %q: %q lost or added", tt.a, tt.b, n)
			}
		}
	}
	first := merge(queue.Addressee{ORcpt: "rfc822;a@x"}, queue.Addressee{ORcpt: "rfc822;b@x"})
	if second := merge(queue.Addressee{}, queue.Addressee{ORcpt: "rfc822;b@x"}); first.ORcpt != "rfc822;a@x" || second.ORcpt != "rfc822;b@x" {
		t.Errorf("ORCPT %q, %q", first.ORcpt, second.ORcpt)
	}
}

// SMTPUTF8 is what lets addresses leave ASCII, and only what leaves it needs an
// upstream that offers it.
func TestSMTPUTF8(t *testing.T) {
	const ascii, plain = "a@example.com", "Subject: x\r\n\r\nx\r\n"
	tests := []struct {
		name           string
		mail, rcpt     string
		text           string
		eightBit, utf8 bool
	}{
		{"not said", ascii + ">", ascii + ">", plain, false, false},
		{"said for nothing", ascii + "> SMTPUTF8", ascii + ">", plain, false, false},
		{"the body alone", ascii + "> SMTPUTF8", ascii + ">", "Subject: x\r\n\r\ngrüße\r\n", true, false},
		{"the header", ascii + "> SMTPUTF8", ascii + ">", "Subject: grüße\r\n\r\nx\r\n", true, true},
		{"the header, not said", ascii + ">", ascii + ">", "Subject: grüße\r\n\r\nx\r\n", true, false},
		{"a header in Latin-1", ascii + "> SMTPUTF8", ascii + ">", "Subject: gr\xfc\xdfe\r\n\r\nx\r\n", true, false},
		{"the sender", "ü@example.com> SMTPUTF8", ascii + ">", plain, true, true},
		{"its domain", "a@müller.example> SMTPUTF8", ascii + ">", plain, true, true},
		{"a recipient", ascii + "> SMTPUTF8", "用户@例え.example>", plain, true, true},
		{"quoted", ascii + "> SMTPUTF8", `"ü b"@example.com>`, plain, true, true},
		{"joiners", ascii + "> SMTPUTF8", "نامه\u200cای@example.com>", plain, true, true},
		{"the original recipient", ascii + "> SMTPUTF8", ascii + "> ORCPT=utf-8;ü@example.com", plain, true, true},
		{"the same in ASCII", ascii + "> SMTPUTF8", ascii + `> ORCPT=utf-8;\x{FC}@example.com`, plain, false, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := start(t, nil)
				c := r.greeted()
				c.cmd("MAIL FROM:<"+tt.mail, "250 2.1.0 sender ok")
				c.cmd("RCPT TO:<"+tt.rcpt, "250 2.1.5 recipient ok")
				c.cmd("DATA", "354")
				c.send(tt.text + ".\r\n")
				c.want("250")
				m := r.one()
				if m.UTF8 != tt.utf8 || m.EightBit != tt.eightBit {
					t.Errorf("UTF8 %t, EightBit %t", m.UTF8, m.EightBit)
				}
				if from, _, _ := strings.Cut(tt.mail, ">"); m.ReversePath != from {
					t.Errorf("from %q", m.ReversePath)
				}
				with := " with ESMTP id "
				if strings.HasSuffix(tt.mail, "SMTPUTF8") {
					with = " with UTF8SMTP id "
				}
				if to, _, _ := strings.Cut(tt.rcpt, ">"); m.Recipients[0].Address != to || !strings.Contains(m.header(), with) || !strings.Contains(m.header(), "\r\n\tfor <"+to+">;") {
					t.Errorf("%q, %q", m.Recipients[0].Address, m.header())
				}
			})
		})
	}
}

func TestSMTPUTF8Refused(t *testing.T) {
	tests := []struct {
		mail, line, want string
	}{
		{"-", "MAIL FROM:<ü@example.com>", "553 5.6.7 "},
		{"-", "MAIL FROM:<a@müller.example> BODY=8BITMIME", "553 5.6.7 "},
		{"-", "MAIL FROM:<j\xf6rg@example.com> SMTPUTF8", "553 5.6.7 "},
		{"-", "MAIL FROM:<a\xed\xa0\x80@example.com> SMTPUTF8", "553 5.6.7 "}, // half a pair
		{"-", "MAIL FROM:<a\xc0\xae@example.com> SMTPUTF8", "553 5.6.7 "},     // a dot, longer than need be
		{"-", "MAIL FROM:<a\u0085@example.com> SMTPUTF8", "500 5.5.2 "},       // a line end to some
		{"-", "MAIL FROM:<a\u2028@example.com> SMTPUTF8", "500 5.5.2 "},
		{"-", "MAIL FROM:<a\u202e@example.com> SMTPUTF8", "500 5.5.2 "},
		{"-", "MAIL FROM:<a\u00a0b@example.com> SMTPUTF8", "500 5.5.2 "},
		{"-", "MAIL FROM:<a\ufeff@example.com> SMTPUTF8", "500 5.5.2 "},
		{"-", "MAIL FROM:<ü..ü@example.com> SMTPUTF8", "501 5.1.7 "},
		{"", "RCPT TO:<ü@example.com>", "553 5.6.7 "},
		{"", "RCPT TO:<u@example.com> ORCPT=utf-8;ü@example.com", "553 5.6.7 "},
		{" SMTPUTF8", "RCPT TO:<ü>", "501 5.1.3 "},
		{" SMTPUTF8", "RCPT TO:<postma\u017fter>", "501 5.1.3 "},
		{" SMTPUTF8", "RCPT TO:<ü@-ü.example>", "501 5.1.3 "},
		{" SMTPUTF8", "RCPT TO:<ü@" + strings.Repeat("ü", 64) + ".example>", "501 5.1.3 "},
		{" SMTPUTF8", "R\u017fET", "500 5.5.2 "},
	}
	for _, tt := range tests {
		t.Run(tt.line, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := start(t, nil).greeted()
				if tt.mail != "-" {
					c.cmd("MAIL FROM:<a@example.com>"+tt.mail, "250")
				}
				if got := c.cmd(tt.line, tt.want); !isASCII(got) {
					t.Errorf("reply %q", got)
				}
			})
		})
	}
}

// SMTPUTF8 is said for one transaction.
func TestSMTPUTF8Ends(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := start(t, nil).greeted()
		c.cmd("MAIL FROM:<ü@example.com> SMTPUTF8", "250")
		c.cmd("RSET", "250")
		c.cmd("MAIL FROM:<a@example.com>", "250")
		c.cmd("RCPT TO:<ü@example.com>", "553")
	})
}

// net/smtp says SMTPUTF8 wherever it is offered. Its plain mail must still go
// everywhere.
func TestNetSMTP(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, nil)
		nc := r.dial().Conn
		c, err := smtp.NewClient(nc, "gw.example.org")
		if err != nil {
			t.Fatal(err)
		}
		for _, to := range []string{"bob@example.net", "jörg@example.net"} {
			if err := c.Mail("ann@example.com"); err != nil {
				t.Fatal(err)
			}
			if err := c.Rcpt(to); err != nil {
				t.Fatal(err)
			}
			w, err := c.Data()
			if err != nil {
				t.Fatal(err)
			}
			_, _ = io.WriteString(w, "From: ann@example.com\r\n\r\nhi\r\n")
			if err := w.Close(); err != nil {
				t.Fatal(err)
			}
		}
		if err := c.Quit(); err != nil {
			t.Fatal(err)
		}
		ms := r.box.messages()
		if len(ms) != 2 || ms[0].UTF8 || !ms[1].UTF8 {
			t.Errorf("%d messages, or the wrong one needs SMTPUTF8", len(ms))
		}
	})
}

// What the header says is seen as the message comes in.
func TestFactsAreStored(t *testing.T) {
	for way, send := range ways {
		t.Run(way, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := start(t, nil)
				c := r.greeted()
				send(c, "From: Ann\n <ann@example.com>, x@example.org\nMessage-ID: <1@x>\nPrecedence: bulk\n\nFrom: body@example.com\r\n")
				send(c, "no header, From: nobody@example.com\r\n")
				ms := r.box.messages()
				if m := ms[0]; fmt.Sprint(m.Authors) != "[ann@example.com x@example.org]" || m.MessageID != "1@x" || !m.Automatic {
					t.Errorf("stored %+v", m.Content)
				}
				if m := ms[1]; m.Authors != nil || m.MessageID != m.ID.String()+"@gw.example.org" || m.Automatic {
					t.Errorf("stored %+v", m.Content)
				}
			})
		})
	}
}
