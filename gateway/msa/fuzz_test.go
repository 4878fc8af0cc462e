package msa

import (
	"context"
	"io"
	"strings"
	"testing"
	"testing/synctest"

	"mailroam/queue"
)

// FuzzDialogue plays whole dialogues, in two pieces. Whatever is said, each
// reply is well formed, each 250 to a body has its message, each message is
// clean, nothing hangs and nothing is left.
func FuzzDialogue(f *testing.F) {
	const open = "EHLO x\r\nMAIL FROM:<a@example.com>\r\nRCPT TO:<b@example.com>\r\n"
	f.Add("", 0)
	f.Add("HELO x\r\nMAIL FROM:<>\r\nRCPT TO:<postmaster>\r\nDATA\r\nhi\r\n.\r\nQUIT\r\n", 20)
	f.Add(open+"DATA\r\nSubject: x\r\n\r\n..\r\n.\r\nMAIL FROM:<c@d>\r\nRCPT TO:<e@f>\r\nDATA\r\n.\r\n", 70)
	f.Add(open+"BDAT 5\r\nabc\r\nBDAT 3 LAST\r\nx\r\nNOOP\r\n", 66)
	f.Add(open+"BDAT 0\r\nRSET\r\n"+open+"BDAT 0 LAST\r\n", 70)
	f.Add(open+"BDAT 100 LAST\r\nRSET\r\n", 70)
	f.Add(open+"BDAT 0\r\nDATA\r\nEHLO y\r\nQUIT\r\n", 90)
	f.Add(open+"BDAT 1\r\n\x00BDAT 1 LAST\r\nx", 80)
	f.Add("GET / HTTP/1.1\r\n\r\n"+open, 3)
	f.Add("EHLO \"\r\nVRFY x\r\nMAIL FROM:<\"a b\"@c> SIZE=1 BODY=7BIT\r\n", 12)
	f.Add("EHLO x\r\nMAIL FROM:<ü@用户.example> SMTPUTF8 RET=HDRS ENVID=a+2B\r\nRCPT TO:<\"ü\"@b> NOTIFY=SUCCESS,DELAY ORCPT=utf-8;\\x{FC}@b\r\nRCPT TO:<\"ü\"@B> NOTIFY=NEVER\r\nDATA\r\nFrom: ü <ü@b>\r\n\r\nü\r\n.\r\n", 90)
	f.Add("EHLO x\r\nMAIL FROM:<a@b> SMTPUTF8= RET=SOME\r\nMAIL FROM:<\xc0\xae@b> SMTPUTF8\r\nMAIL FROM:<a\u202e@b> SMTPUTF8\r\nRCPT TO:<a@b> ORCPT=rfc822;+0D+0A\r\n", 40)
	for _, end := range smuggling {
		f.Add(open+"DATA\r\nx"+end+open+"DATA\r\ny\r\n.\r\n", 80)
	}
	f.Fuzz(func(t *testing.T, said string, cut int) {
		if len(said) > 32<<10 {
			return
		}
		cut = (cut%(len(said)+1) + len(said) + 1) % (len(said) + 1)
		synctest.Test(t, func(t *testing.T) {
			r := start(t, nil)
			nc, err := r.net.Dial(context.Background(), "tcp", testAddr)
			if err != nil {
				t.Fatal(err)
			}
			defer nc.Close()
			heard := make(chan string)
			go func() {
				all, _ := io.ReadAll(nc)
				heard <- string(all)
			}()
			_, _ = io.WriteString(nc, said[:cut])
			synctest.Wait()
			_, _ = io.WriteString(nc, said[cut:])
			all := <-heard // after the idle limit at the latest
			r.stop()

			queued := 0
			for line := range strings.Lines(all) {
				if !wellFormed(line) {
					t.Fatalf("reply %q in %q", line, all)
				}
				if strings.HasPrefix(line, "250 2.0.0 queued as ") {
					queued++
				}
			}
			ms := r.box.messages()
			if len(ms) != queued {
				t.Fatalf("%d messages for %d replies: %q", len(ms), queued, all)
			}
			for _, m := range ms {
				checkText(t, m.body)
				if len(m.Recipients) == 0 || !strings.HasPrefix(m.body, "Received: ") {
					t.Fatalf("stored %+v", m)
				}
				if !m.EightBit && !isASCII(m.body) || m.UTF8 && !strings.Contains(m.body, " with UTF8SMTP id ") {
					t.Fatalf("EightBit %t, UTF8 %t: %q", m.EightBit, m.UTF8, m.body)
				}
				envelope := m.ReversePath + m.Return.EnvID
				for _, r := range m.Recipients {
					envelope += r.Address + r.ORcpt
					if n := r.Notify; n&queue.NotifyNever != 0 && n != queue.NotifyNever {
						t.Fatalf("recipient %+v", r)
					}
				}
				if checkOctets(envelope) != nil || !m.UTF8 && !isASCII(envelope) {
					t.Fatalf("envelope %q, UTF8 %t", envelope, m.UTF8)
				}
			}
		})
	})
}

// wellFormed holds RFC 5321 4.2 against a reply line.
func wellFormed(line string) bool {
	if len(line) < 6 || len(line) > 512 || !strings.HasSuffix(line, "\r\n") || line[0] < '2' || line[0] > '5' || line[3] != ' ' && line[3] != '-' {
		return false
	}
	for _, c := range []byte(line[:len(line)-2]) {
		if c < ' ' || c > '~' {
			return false
		}
	}
	return true
}
