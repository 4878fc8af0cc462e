package relay

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"mailroam/gateway/sink"
)

func TestOffers(t *testing.T) {
	for ehlo, want := range map[string]Offers{
		"250-mx\r\n250 SIZE 1000\r\n":                           {Known: true, Size: 1000},
		"250-mx\r\n250-8BITMIME\r\n250-SMTPUTF8\r\n250 DSN\r\n": {Known: true, EightBit: true, UTF8: true, DSN: true},
		"250-mx\r\n250-SMTPUTF8\r\n250 REQUIRETLS\r\n":          {Known: true}, // neither means anything like that
		"250 mx\r\n": {Known: true},
		"250-mx\r\n250-smtputf8\r\n250-8bitmime\r\n250 size 0\r\n": {Known: true, EightBit: true, UTF8: true},
		"500 what?\r\n": {Known: true}, // and HELO
		"421 later\r\n": {},
		"250-mx\r\n250 SIZE 1000\r\n250 early\r\n250 early\r\n250 x\r\n": {Known: true, Size: 1000},
	} {
		withPeer(t, Options{}, []func(*peer){func(p *peer) {
			p.opening(ehlo)
			p.hear("HELO")
			p.say("250 mx\r\n")
			p.rest()
		}}, func(w *world) {
			if o := w.up.Offers(); o != (Offers{}) {
				t.Errorf("before: %+v", o)
			}
			_ = w.up.Probe(w.t.Context())
			if o := w.up.Offers(); o != want {
				t.Errorf("%q: %+v", ehlo, o)
			}
		})
	}
}

// TestOffersInTheClear: what was said before STARTTLS is not what is offered.
func TestOffersInTheClear(t *testing.T) {
	id := identity(t, host)
	withPeer(t, Options{Endpoints: []Endpoint{{Mode: RequireStartTLS, Host: host, Port: "25", Roots: id.Roots}}}, []func(*peer){func(p *peer) {
		p.opening("250-mx\r\n250-STARTTLS\r\n250-SIZE 5\r\n250 DSN\r\n")
		p.hear("STARTTLS")
		p.say("220 go\r\n")
		p.secure(id.Server)
		p.hear("EHLO")
		p.say("250-mx\r\n250 REQUIRETLS\r\n")
		p.rest()
	}}, func(w *world) {
		if err := w.up.Probe(w.t.Context()); err != nil {
			t.Fatal(err)
		}
		if o := w.up.Offers(); o != (Offers{Known: true, RequireTLS: true}) {
			t.Errorf("%+v", o)
		}
	})
}

func TestLimitsKeyword(t *testing.T) {
	for in, want := range map[string][3]int{
		"LIMITS MAILMAX=5 RCPTMAX=20":       {5, 20},
		"limits rcptmax=3 RCPTDOMAINMAX=1":  {0, 3, 1},
		"LIMITS":                            {},
		"LIMITS MAILMAX=0 RCPTMAX=-1":       {},
		"LIMITS MAILMAX=1000000 RCPTMAX=x":  {},
		"LIMITS MAILMAX RCPTMAX= =5 A=B=C":  {},
		"LIMITS MAILMAX=99999999999999999":  {},
		"LIMITS MAILMAX=7 unknown rcptmax=": {7, 0, 0},
		"LIMITS RCPTDOMAINMAX=0":            {},
	} {
		if c := parseEHLO("mx\n" + in); [3]int{c.messages, c.recipients, c.domains} != want {
			t.Errorf("%s: %d, %d, %d", in, c.messages, c.recipients, c.domains)
		}
	}
}

// TestLearntSize: a refusal for size steers the choice, for a day; asked all the
// same, the upstream is asked, and what it takes disproves it.
func TestLearntSize(t *testing.T) {
	large := strings.Repeat("0123456789abc\r\n", 5000)
	for _, c := range []struct {
		fault string
		want  int64
	}{
		{"mail#1=552 5.3.4 no", 74999},
		{"mail#1=552 too big", 74999},
		{"dot#1=552 5.2.3 no", 74999},
		{"dot#1=554 5.3.4 no", 74999},
		{"body#1=552 5.3.4 no", 74999},
		{"dot#1=552 mailbox full", 0},
		{"rcpt#1=552 5.2.3 not for her", 0},
		{"dot#1=552 5.2.2 full", 0},
		{"dot#1=451 5.3.4 nonsense", 0},
	} {
		inWorld(t, sink.Options{Faults: faults(t, c.fault)}, Options{}, func(w *world) {
			w.deliver(mail(large, "b@example.com"))
			if l, o := w.up.Learned(), w.up.Offers(); l.Size != c.want || o.Size != c.want || o.Shown != (c.want > 0) {
				t.Errorf("%s: %+v, %+v", c.fault, l, o)
			}
			w.want(w.deliver(mail("Subject: x\r\n\r\n", "b@example.com")), "dot 250")
			if l := w.up.Learned(); l.Size != c.want {
				t.Errorf("a smaller one disproved it: %+v", l)
			}
			w.want(w.deliver(mail(large, "b@example.com")), "dot 250")
			if l := w.up.Learned(); l.Size != 0 {
				t.Errorf("not disproved: %+v", l)
			}
		})
	}
	// So little may be sent anywhere: it is not too large.
	for _, fault := range []string{"mail=552 5.3.4 no", "mail=552 quota exceeded", "dot=552 5.2.3 no"} {
		inWorld(t, sink.Options{Faults: faults(t, fault)}, Options{}, func(w *world) {
			if w.deliver(mail(letter, "b@example.com")); w.up.Learned() != (Learned{}) {
				t.Errorf("%s: %+v", fault, w.up.Learned())
			}
		})
	}
	inWorld(t, sink.Options{Size: 1000}, Options{}, func(w *world) {
		w.up.Teach(Learned{Size: 500, Recipients: 7})
		if o := w.up.Offers(); o != (Offers{Size: 500, Shown: true}) {
			t.Errorf("taught: %+v", o)
		}
		_ = w.up.Probe(w.t.Context())
		if o := w.up.Offers(); o.Size != 500 || !o.Known || !o.Shown {
			t.Errorf("taught and heard: %+v", o)
		}
		time.Sleep(lessonLasts + time.Second)
		if o, l := w.up.Offers(), w.up.Learned(); o.Size != 1000 || o.Shown || l != (Learned{}) {
			t.Errorf("a day later: %+v, %+v", o, l)
		}
	})
}

// crowd is an upstream that takes so many recipients at a time, and notes how
// many it was asked for.
func crowd(ehlo string, takes int, asked *[]int) func(*peer) {
	return func(p *peer) {
		p.opening(ehlo)
		var n int
		for {
			line, err := p.r.ReadString('\n')
			switch {
			case err != nil:
				return
			case strings.HasPrefix(line, "MAIL"):
				*asked, n = append(*asked, 0), 0
			case strings.HasPrefix(line, "RCPT"):
				(*asked)[len(*asked)-1]++
				switch n++; {
				case strings.Contains(line, "nobody"):
					n--
					p.say("550 5.1.1 no such user\r\n")
					continue
				case n > takes:
					p.say("452 4.5.3 too many\r\n")
					continue
				}
			case strings.HasPrefix(line, "DATA"):
				if n == 0 {
					p.say("503 no\r\n")
				} else {
					p.say("354 go\r\n")
				}
				continue
			case line != ".\r\n" && line != "RSET\r\n":
				continue
			}
			p.say("250 ok\r\n")
		}
	}
}

// TestBatches: nobody is asked for more recipients than are known to be taken.
func TestBatches(t *testing.T) {
	all := []string{"a@x", "b@x", "c@x", "d@x", "e@x"}
	for name, c := range map[string]struct {
		ehlo   string
		ours   int
		takes  int
		want   string // the recipients of each transaction of two deliveries
		learnt int
	}{
		"no limit":           {piped, 0, 9, "[5 5]", 0},
		"learnt":             {piped, 0, 2, "[5 3 1 2 2 1]", 2},
		"learnt in lockstep": {plain, 0, 2, "[5 3 1 2 2 1]", 2},
		"configured":         {piped, 3, 9, "[3 2 3 2]", 0},
		"announced":          {"250-mx\r\n250-PIPELINING\r\n250 LIMITS RCPTMAX=4\r\n", 0, 9, "[4 1 4 1]", 0},
		"the least":          {"250-mx\r\n250-PIPELINING\r\n250 LIMITS RCPTMAX=4\r\n", 3, 2, "[3 3 1 2 2 1]", 2},
	} {
		var got []int
		withPeer(t, Options{MaxRecipients: c.ours}, []func(*peer){crowd(c.ehlo, c.takes, &got)}, func(w *world) {
			for range 2 {
				w.want(w.deliver(mail(letter, all...)), "dot 250", "dot 250", "dot 250", "dot 250", "dot 250")
			}
			if fmt.Sprint(got) != c.want || w.up.Learned().Recipients != c.learnt || w.net.Dials() != 1 {
				t.Errorf("%s: got %v, want %s; learnt %+v, %d connections", name, got, c.want, w.up.Learned(), w.net.Dials())
			}
		})
	}
	// A batch of which nobody exists does not speak for the next one.
	var got []int
	withPeer(t, Options{MaxRecipients: 2}, []func(*peer){crowd(piped, 9, &got)}, func(w *world) {
		w.want(w.deliver(mail(letter, "nobody1@x", "nobody2@x", "a@x")), "rcpt 550", "rcpt 550", "dot 250")
	})
	// Too many before the first: no batch is learnt, and nobody is asked again.
	withPeer(t, Options{MaxRecipients: 2}, []func(*peer){crowd(piped, 0, &got)}, func(w *world) {
		w.want(w.deliver(mail(letter, all...)), "rcpt 452", "rcpt 452", "rcpt 452", "rcpt 452", "rcpt 452")
		if w.up.Learned() != (Learned{}) {
			t.Errorf("learnt %+v", w.up.Learned())
		}
	})
}

// TestDomainsOfASession: no session names recipients of more domains than the
// upstream takes in one, whatever messages they are of.
func TestDomainsOfASession(t *testing.T) {
	for name, tt := range map[string]struct {
		extra []string
		send  []string // the recipients of each message
		want  string   // those of each session, message by message
	}{
		"no limit":         {nil, []string{"a@x b@y", "c@z"}, "[[a@x b@y] [c@z]]"},
		"one":              {[]string{"LIMITS RCPTDOMAINMAX=1"}, []string{"a@x b@y c@X"}, "[[a@x c@X]] [[b@y]]"},
		"two":              {[]string{"LIMITS RCPTDOMAINMAX=2"}, []string{"a@x b@y c@z d@x e@w"}, "[[a@x b@y d@x]] [[c@z e@w]]"},
		"over messages":    {[]string{"LIMITS RCPTDOMAINMAX=2"}, []string{"a@x", "b@x", "c@y", "d@z", "e@z"}, "[[a@x] [b@x] [c@y]] [[d@z] [e@z]]"},
		"in part":          {[]string{"LIMITS RCPTDOMAINMAX=2"}, []string{"a@x", "b@y c@z", "d@z"}, "[[a@x] [b@y]] [[c@z] [d@z]]"},
		"with recipients":  {[]string{"LIMITS RCPTMAX=2 RCPTDOMAINMAX=1"}, []string{"a@x b@x c@x d@y"}, "[[a@x b@x] [c@x]] [[d@y]]"},
		"and with MAILMAX": {[]string{"LIMITS MAILMAX=1 RCPTDOMAINMAX=1"}, []string{"a@x b@y", "c@y"}, "[[a@x]] [[b@y]] [[c@y]]"},
	} {
		inWorld(t, sink.Options{Extra: tt.extra}, Options{}, func(w *world) {
			for _, to := range tt.send {
				rcpts := strings.Fields(to)
				w.want(w.deliver(mail(letter, rcpts...)), slices.Repeat([]string{"dot 250"}, len(rcpts))...)
			}
			sessions := make([][][]string, w.sink.Conns())
			for _, m := range w.sink.Messages() {
				sessions[m.Conn-1] = append(sessions[m.Conn-1], m.To)
			}
			if got := strings.Trim(fmt.Sprint(sessions), "[]"); got != strings.Trim(tt.want, "[]") {
				t.Errorf("%s: %s, want %s", name, got, tt.want)
			}
		})
	}
}

// TestBatchesEnd: what ends the first transaction is said to those who were not
// asked for only if it is about them too; a doubt never is.
func TestBatchesEnd(t *testing.T) {
	for fault, want := range map[string][]string{
		"mail=550 5.7.1 no": {"mail 550", "mail 550", "mail 550"},
		"dot=554 5.6.0 no":  {"dot 554", "dot 554", "rcpt 452"},
		"data=451 no":       {"data 451", "data 451", "rcpt 452"},
		"dot=close":         {"dot in doubt", "dot in doubt", "rcpt 452"},
		"data=close":        {"data error", "data error", "data error"},
		"dot#2=close":       {"dot 250", "dot 250", "dot in doubt"},
		"mail#2=421 enough": {"dot 250", "dot 250", "dot 250"},
	} {
		inWorld(t, sink.Options{Faults: faults(t, fault)}, Options{MaxRecipients: 2}, func(w *world) {
			w.want(w.deliver(mail(letter, "a@x", "b@x", "c@x")), want...)
		})
	}
	inWorld(t, sink.Options{}, Options{MaxRecipients: 2}, func(w *world) {
		d := mail(letter, "a@x", "b@x", "c@x")
		d.BeforeDot = func(_ context.Context, accepted []int, soFar []RcptResult) error {
			if len(accepted) == 2 && soFar[2].Final() {
				t.Errorf("final before it was asked for: %v", soFar[2])
			}
			return nil
		}
		w.want(w.deliver(d), "dot 250", "dot 250", "dot 250")
	})
}

// TestMessagesPerConnection: a session ends by our QUIT before the upstream ends
// it.
func TestMessagesPerConnection(t *testing.T) {
	habit := func(n int, last string) func(*peer) {
		return func(p *peer) {
			p.opening(piped)
			for range n {
				if !p.hear("DATA") {
					return
				}
				p.say("250 ok\r\n250 ok\r\n354 go\r\n")
				p.hear(".\r\n")
				p.say("250 ok\r\n")
			}
			p.say(last)
		}
	}
	for name, c := range map[string]struct {
		limit int
		ehlo  []string
		want  string // messages of each connection
	}{
		"configured": {4, nil, "[4 4 2]"},
		"announced":  {0, []string{"LIMITS MAILMAX=3"}, "[3 3 3 1]"},
		"the least":  {4, []string{"LIMITS MAILMAX=3"}, "[3 3 3 1]"},
		"none":       {0, nil, "[10]"},
	} {
		inWorld(t, sink.Options{Extra: c.ehlo}, Options{MaxMessages: c.limit}, func(w *world) {
			for range 10 {
				w.want(w.deliver(mail(letter, "b@example.com")), "dot 250")
			}
			count := make([]int, w.sink.Conns())
			for _, m := range w.sink.Messages() {
				count[m.Conn-1]++
			}
			if fmt.Sprint(count) != c.want {
				t.Errorf("%s: %v, want %s", name, count, c.want)
			}
		})
	}
	// Learnt from one that closes after each third message, in either way.
	for _, last := range []string{"", "421 4.7.0 enough\r\n"} {
		withPeer(t, Options{}, []func(*peer){habit(3, last)}, func(w *world) {
			for range 12 {
				w.want(w.deliver(mail(letter, "b@example.com")), "dot 250")
				synctest.Wait()
				time.Sleep(time.Millisecond)
			}
			if got := w.up.idle.life.limit.n; got != 3 || w.net.Dials() != 4 {
				t.Errorf("%q: learnt %d over %d connections", last, got, w.net.Dials())
			}
		})
	}
	// Many that end together, as in a restart, are one event.
	withPeer(t, Options{}, []func(*peer){func(p *peer) {
		p.opening(piped)
		p.rest()
	}}, func(w *world) {
		var cs []*conn
		for range 4 {
			c, err := w.up.connect(w.t.Context(), w.t.Context(), newBudget(false, time.Now()), unwatched())
			if err != nil {
				t.Fatal(err)
			}
			c.mails = 1
			cs = append(cs, c)
		}
		time.Sleep(time.Millisecond)
		for _, c := range cs {
			w.up.idle.ended(c, time.Millisecond)
			c.abort()
		}
		if got := w.up.idle.life.limit.n; got != 0 {
			t.Errorf("learnt %d", got)
		}
	})
	// Two restarts on one day, and a session in between that lived on.
	inWorld(t, sink.Options{}, Options{}, func(w *world) {
		restarts := func() {
			c := w.up.idle.pop()
			w.up.idle.ended(c, time.Millisecond)
			c.abort()
			time.Sleep(time.Hour)
		}
		for _, messages := range []int{1, 5, 1} {
			for range messages {
				w.want(w.deliver(mail(letter, "b@example.com")), "dot 250")
			}
			if messages == 1 {
				restarts()
			}
			w.up.CloseIdle()
		}
		if got := w.up.idle.life.limit.n; got != 0 {
			t.Errorf("learnt %d from restarts", got)
		}
	})
	// A transaction of several batches ends its session in the middle, too.
	inWorld(t, sink.Options{}, Options{MaxMessages: 2, MaxRecipients: 1}, func(w *world) {
		w.want(w.deliver(mail(letter, "a@x", "b@x", "c@x")), "dot 250", "dot 250", "dot 250")
		if w.sink.Conns() != 2 {
			t.Errorf("%d connections", w.sink.Conns())
		}
	})
}

// TestQuitBeforeLimit looks at the octets.
func TestQuitBeforeLimit(t *testing.T) {
	var rest string
	withPeer(t, Options{MaxMessages: 1}, []func(*peer){func(p *peer) {
		p.opening(piped)
		p.hear("DATA")
		p.say("250 ok\r\n250 ok\r\n354 go\r\n")
		p.hear(".\r\n")
		p.say("250 ok\r\n")
		rest = p.rest()
	}}, func(w *world) {
		w.want(w.deliver(mail(letter, "b@example.com")), "dot 250")
		synctest.Wait()
		if rest != "QUIT\r\n" || w.kept() != 0 {
			t.Errorf("told %q, %d kept", rest, w.kept())
		}
	})
}
