package relay

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"
)

// rogue is an upstream that does what its dice say, and the wire to it. It has
// neither goroutine nor kernel: it acts within the calls of its client, so that
// what came before what is certain.
type rogue struct {
	dice   *rand.Rand
	malice int // of a hundred answers, so many are not as they should be
	log    *wirelog

	heard []byte // of the client's octets, what is no unit yet
	body  bool   // the client is sending one
	plan  []word // not arrived yet
	buf   []byte // arrived, not read
	said  int    // octets
	end   error  // arrived

	readBy, writeBy time.Time
	once            sync.Once
	closed          chan struct{}
}

// word is something to say at some time.
type word struct {
	at      time.Time
	text    string
	slow    bool // an octet a second
	endless bool
	end     error // of the connection
}

// wirelog is what went over the wire, in its order.
type wirelog struct {
	events []event
	taken  int // octets that the client read
}

type event struct {
	client bool
	text   []byte
}

func newRogue(dice *rand.Rand) *rogue {
	r := &rogue{dice: dice, malice: []int{0, 3, 10, 30, 100}[dice.IntN(5)], log: &wirelog{}, closed: make(chan struct{})}
	r.answer("", "220 mx")
	if r.one(20) { // it hangs up at some time, whatever is going on
		r.plan = append(r.plan, word{at: time.Now().Add(r.span()), end: io.EOF})
	}
	return r
}

func (r *rogue) one(in int) bool { return r.dice.IntN(in) == 0 }

// span is some time: mostly short, at times longer than anybody waits.
func (r *rogue) span() time.Duration {
	return []time.Duration{0, time.Microsecond, 500 * time.Microsecond, 2 * time.Millisecond, time.Second, 20 * time.Second, 4 * time.Minute, 20 * time.Minute}[r.dice.IntN(8)]
}

// maxSaid is where even what is endless ends: far behind where a client should
// have stopped to listen.
const maxSaid = 1 << 20

// say puts something behind all that is planned.
func (r *rogue) say(after time.Duration, w word) {
	w.at = time.Now().Add(after)
	for _, before := range r.plan {
		if before.at.After(w.at) && before.end == nil {
			w.at = before.at
		}
	}
	r.plan = append(r.plan, w)
}

var (
	answers = []string{
		"200 ok", "220 hello", "235 welcome", "250 ok", "251 ok", "252 ok", "334 go on", "354 go", "399 what", "421 4.3.2 closing", "450 4.2.1 busy", "452 4.5.3 too many",
		"500 what", "501 5.5.4 no", "503 no", "535 5.7.8 no", "550 5.1.1 no", "552 5.3.4 too big", "554 no", "555 5.5.4 no",
	}
	nonsense = []string{
		"\r\n", "\n", "25\r\n", "250", "250\r", "250-\r\n", "250-more\r\n", "250-a\r\n251 b\r\n", "250\tok\r\n", "250ok\r\n", "2 50 ok\r\n", " 250 ok\r\n", "150 ok\r\n", "650 ok\r\n", "000 ok\r\n",
		"HTTP/1.1 200 OK\r\n\r\n", "\x16\x03\x01\x02\x00", "\x00250 ok\r\n", "250 \x1b[31m\x00\x07ok\r\n", "250 ok\x00\r\n", "250 \xff\xfe\r\n", "٢٥٠ ok\r\n", "250 ok\r250 ok\r\n", "*\r\n", "SSH-2.0-x\r\n",
	}
)

// answer replies to a unit of the client's as it should, or as the dice say.
func (r *rogue) answer(to, proper string) {
	proper += "\r\n"
	if r.dice.IntN(100) >= r.malice {
		r.say(0, word{text: proper})
		return
	}
	code := answers[r.dice.IntN(len(answers))] + "\r\n"
	switch r.dice.IntN(16) {
	case 0: // nothing
	case 1, 2, 3:
		r.say(0, word{text: code})
	case 4:
		r.say(0, word{text: proper + code})
	case 5:
		r.say(0, word{text: code + proper})
	case 6: // now and again, soon or late
		r.say(0, word{text: proper})
		r.say(r.span(), word{text: code})
	case 7:
		r.say(r.span(), word{text: proper})
	case 8: // in two parts
		cut := r.dice.IntN(len(proper))
		r.say(0, word{text: proper[:cut]})
		r.say(r.span(), word{text: proper[cut:]})
	case 9:
		r.say(r.span(), word{text: nonsense[r.dice.IntN(len(nonsense))]})
	case 10:
		r.say(0, word{text: nonsense[r.dice.IntN(len(nonsense))] + proper})
	case 11:
		r.say(0, word{text: proper, slow: true})
	case 12:
		w := word{text: []string{"250-x\r\n", "x", "250 ok\r\n", "\r\n"}[r.dice.IntN(4)], endless: true, slow: r.one(2)}
		if !w.slow {
			w.text = strings.Repeat(w.text, 500)
		}
		r.say(0, w)
	case 13:
		r.say(0, word{text: "250" + []string{" ", "-"}[r.dice.IntN(2)] + strings.Repeat("x", r.dice.IntN(100<<10)) + "\r\n" + proper})
	case 14:
		r.say(r.span(), word{text: proper, end: []error{io.EOF, syscall.ECONNRESET}[r.dice.IntN(2)]})
	case 15:
		r.say(r.span(), word{end: []error{io.EOF, syscall.ECONNRESET}[r.dice.IntN(2)]})
	}
}

// hear takes octets of the client's, and answers each unit.
func (r *rogue) hear(p []byte) {
	r.heard = append(r.heard, p...)
	if r.body && r.malice > 0 && r.one(8) { // the dot can wait
		r.say(r.span(), word{text: answers[r.dice.IntN(len(answers))] + "\r\n"})
	}
	for {
		if r.body {
			i := endOfBody(r.heard)
			if i < 0 {
				return
			}
			r.heard, r.body = r.heard[i:], false
			r.answer(".", "250 taken")
			continue
		}
		line, rest, ok := bytes.Cut(r.heard, []byte("\n"))
		if !ok {
			return
		}
		r.heard = rest
		switch verb, _, _ := strings.Cut(strings.TrimSpace(string(line)), " "); verb {
		case "EHLO":
			r.answer(verb, r.offer())
		case "DATA":
			r.body = true
			r.answer(verb, "354 go")
		case "AUTH":
			r.answer(verb, "235 welcome")
		case "STARTTLS":
			r.answer(verb, "220 go")
		case "QUIT":
			r.say(0, word{text: "221 bye\r\n", end: io.EOF})
		default:
			r.answer(verb, "250 ok")
		}
	}
}

// offer is a reply to EHLO.
func (r *rogue) offer() string {
	lines := []string{"mx", "PIPELINING", "SIZE 1000000", "8BITMIME", "DSN", "STARTTLS", "AUTH PLAIN", "LIMITS RCPTMAX=1", "LIMITS MAILMAX=1"}
	reply := ""
	for i, l := range lines[:len(lines)-1] {
		if i == 0 || !r.one(3) {
			reply += "250-" + l + "\r\n"
		}
	}
	return reply + "250 " + lines[len(lines)-1-r.dice.IntN(2)*6]
}

// endOfBody is where a body ends with its dot, -1 if it does not yet.
func endOfBody(b []byte) int {
	if bytes.HasPrefix(b, []byte(".\r\n")) {
		return 3
	}
	if i := bytes.Index(b, []byte("\r\n.\r\n")); i >= 0 {
		return i + 5
	}
	return -1
}

// arrive moves what is due to the client's side.
func (r *rogue) arrive() {
	for len(r.buf) < 4<<10 && r.end == nil {
		next := -1
		for i, w := range r.plan {
			if !w.at.After(time.Now()) && (next < 0 || w.at.Before(r.plan[next].at)) {
				next = i
			}
		}
		if next < 0 {
			return
		}
		w := &r.plan[next]
		text := w.text
		if w.slow && len(text) > 0 {
			text = text[:1]
		}
		r.buf = append(r.buf, text...)
		if r.said += len(text); r.said > maxSaid {
			w.endless = false
		}
		if len(text) > 0 {
			r.log.events = append(r.log.events, event{text: []byte(text)})
		}
		switch {
		case w.endless && w.slow:
			w.text, w.at = w.text[1:]+text, w.at.Add(time.Second)
		case w.endless:
		case len(text) < len(w.text):
			w.text, w.at = w.text[1:], w.at.Add(time.Second)
		default:
			r.end = w.end
			r.plan = append(r.plan[:next], r.plan[next+1:]...)
		}
	}
}

// until waits, and is false when the client closed the connection.
func (r *rogue) until(at time.Time) bool {
	timer := time.NewTimer(time.Until(at))
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-r.closed:
		return false
	}
}

func (r *rogue) Read(p []byte) (int, error) {
	for {
		r.arrive()
		next := time.Now().Add(100 * time.Hour) // without a deadline nobody reads for long
		if !r.readBy.IsZero() {
			next = r.readBy
		}
		switch {
		case len(r.buf) > 0:
			n := copy(p, r.buf)
			r.buf = r.buf[n:]
			r.log.taken += n
			return n, nil
		case r.end != nil:
			return 0, r.end
		}
		late := true
		for _, w := range r.plan {
			if !w.at.After(next) {
				next, late = w.at, false
			}
		}
		if !r.until(next) {
			return 0, net.ErrClosed
		}
		if late {
			return 0, os.ErrDeadlineExceeded
		}
	}
}

func (r *rogue) Write(p []byte) (int, error) {
	r.arrive()
	select {
	case <-r.closed:
		return 0, net.ErrClosed
	default:
	}
	n := len(p)
	if r.malice > 0 && r.one(100) { // it reads no further
		n = r.dice.IntN(n)
	}
	if r.end == syscall.ECONNRESET {
		n = 0
	}
	r.log.events = append(r.log.events, event{true, bytes.Clone(p[:n])})
	r.hear(p[:n])
	switch {
	case n == len(p):
		return n, nil
	case r.end != nil:
		return n, syscall.EPIPE
	case !r.until(r.writeBy):
		return n, net.ErrClosed
	default:
		return n, os.ErrDeadlineExceeded
	}
}

func (r *rogue) Close() error {
	r.once.Do(func() { close(r.closed) })
	return nil
}

func (r *rogue) SetDeadline(t time.Time) error {
	r.readBy, r.writeBy = t, t
	return nil
}

func (r *rogue) SetReadDeadline(t time.Time) error {
	r.readBy = t
	return nil
}

func (r *rogue) SetWriteDeadline(t time.Time) error {
	r.writeBy = t
	return nil
}

func (r *rogue) LocalAddr() net.Addr  { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 1} }
func (r *rogue) RemoteAddr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 25} }

// truth is what the wire says became of one recipient of one message.
type truth struct {
	sent  bool // its dot was written whole
	taken bool // and answered by 2xx, in order
}

// read is the oracle: it reads a log as the standard has it, without a line of
// the client's code. The k-th reply answers the k-th thing that the client said,
// if it came after that; one that came before makes nonsense of all that
// follows. It gives how many things the client said, and whether one was MAIL.
func (l *wirelog) read(fates map[string]*truth) (said int, mailed bool) {
	replies := l.replies()
	units := l.units(replies)
	var mail, data int
	var to []string
	inOrder := true
	for k, u := range units {
		var code int
		if k < len(replies) && inOrder {
			if inOrder = u.at < replies[k].at; inOrder {
				code = replies[k].code
			}
		}
		line := u.text
		switch verb, rest, _ := strings.Cut(line, " "); {
		case u.body:
			subject, _, _ := strings.Cut(line, "\r\n")
			for _, rcpt := range to {
				if mail/100 != 2 || data != 354 {
					continue
				}
				f := fates[subject+" "+rcpt]
				f.sent = true
				f.taken = f.taken || code/100 == 2
			}
			mail, to = 0, nil
		case verb == "MAIL":
			mailed, mail, to = true, code, nil
		case verb == "RCPT" && code/100 == 2:
			rcpt, _, _ := strings.Cut(strings.TrimPrefix(rest, "TO:<"), ">")
			to = append(to, rcpt)
		case verb == "DATA":
			data = code
		case verb == "RSET", verb == "EHLO":
			mail, to = 0, nil
		}
	}
	return len(units), mailed
}

type unit struct {
	text string
	body bool
	at   int // the event that brought its end
}

type numbered struct {
	code int
	at   int // the event that brought its beginning
}

// stream is one side's octets, with the event of each.
func (l *wirelog) stream(client bool) (text []byte, at func(int) int) {
	var ends, events []int // where each event's octets end
	for i, e := range l.events {
		if e.client == client {
			text = append(text, e.text...)
			ends, events = append(ends, len(text)), append(events, i)
		}
	}
	return text, func(octet int) int {
		i, _ := slices.BinarySearch(ends, octet+1)
		return events[i]
	}
}

// replies are those up to the first that is none.
func (l *wirelog) replies() (all []numbered) {
	text, at := l.stream(false)
	for begin, lines, pos := 0, 0, 0; ; {
		i := bytes.IndexByte(text[pos:], '\n')
		if i < 0 {
			return all
		}
		line := bytes.TrimSuffix(text[pos:pos+i], []byte("\r"))
		pos += i + 1
		lines++
		if len(line) < 3 || line[0] < '2' || line[0] > '5' || line[1] < '0' || line[1] > '9' || line[2] < '0' || line[2] > '9' || len(line) > 3 && line[3] != ' ' && line[3] != '-' {
			return all
		}
		if lines > maxReplyLines || pos-begin > maxReplyBytes {
			return all
		}
		if len(line) == 3 || line[3] == ' ' {
			all = append(all, numbered{int(line[0]-'0')*100 + int(line[1]-'0')*10 + int(line[2]-'0'), at(begin)})
			begin, lines = pos, 0
		}
	}
}

// units are what the client said: to be connected is the first, then lines and
// bodies.
func (l *wirelog) units(replies []numbered) []unit {
	text, at := l.stream(true)
	all := []unit{{at: -1}}
	for pos := 0; pos < len(text); {
		k := len(all) - 1
		body := all[k].text == "DATA" && k < len(replies) && replies[k].code == 354
		n := bytes.IndexByte(text[pos:], '\n') + 1
		if body {
			n = endOfBody(text[pos:])
		}
		if n <= 0 {
			break
		}
		u := unit{string(bytes.TrimSuffix(text[pos:pos+n], []byte("\r\n"))), body, at(pos + n - 1)}
		all = append(all, u)
		pos += n
	}
	return all
}

// session is what a client does with rogues: some deliveries.
type session struct {
	seed      uint64
	mode      Mode
	deliver   []Delivery
	username  string
	fates     map[string]*truth // of a message and a recipient
	logs      []*wirelog
	malignant *rand.Rand
}

func newSession(seed uint64) *session {
	dice := rand.New(rand.NewPCG(seed, 1))
	s := &session{seed: seed, mode: Insecure, fates: map[string]*truth{}, malignant: rand.New(rand.NewPCG(seed, 2))}
	if dice.IntN(8) == 0 {
		s.mode = []Mode{Implicit, RequireStartTLS}[dice.IntN(2)]
	}
	if dice.IntN(4) == 0 {
		s.username = "ann"
	}
	for n := range 1 + dice.IntN(3) {
		size := 1
		if dice.IntN(50) == 0 {
			size = 1500
		}
		text := fmt.Sprintf("Subject: %d\r\n\r\n%s.\r\n", n, strings.Repeat(strings.Repeat("x", 62)+"\r\n", size))
		d := mail(text, []string{"a@x", "b@x", "c@x"}[:1+dice.IntN(3)]...)
		d.Hurry, d.Recipients[0].Notify = dice.IntN(2) == 0, "NEVER"
		for _, r := range d.Recipients {
			s.fates[fmt.Sprintf("Subject: %d %s", n, r.Address)] = &truth{}
		}
		s.deliver = append(s.deliver, d)
	}
	return s
}

// dial makes another rogue.
func (s *session) dial(context.Context, string, string) (net.Conn, error) {
	r := newRogue(rand.New(rand.NewPCG(s.malignant.Uint64(), 3)))
	s.logs = append(s.logs, r.log)
	return r, nil
}

// wrong is something wrong with the results of a session.
type wrong struct{ what, more string }

// judge gives what is wrong with the results of a session.
func (s *session) judge(all []Result) (faults []wrong) {
	blame := func(what, format string, a ...any) { faults = append(faults, wrong{what, fmt.Sprintf(format, a...)}) }
	units, taken := 0, 0
	for _, l := range s.logs {
		said, mailed := l.read(s.fates)
		if mailed && s.mode != Insecure {
			blame("mail for a peer that has proven nothing", "")
		}
		units += said
		taken += l.taken
	}
	// What was not read is not remembered: a reply at a time, and a buffer.
	if most := units * (maxReplyBytes + 4<<10); taken > most {
		blame("too much is read", "%d octets in answer to %d things said", taken, units)
	}
	for n, res := range all {
		for i, r := range res.Rcpts {
			rcpt := s.deliver[n].Recipients[i].Address
			f := s.fates[fmt.Sprintf("Subject: %d %s", n, rcpt)]
			switch {
			case !r.Final():
				blame("no result", "message %d to %s", n, rcpt)
			case r.Accepted() && (!f.taken || s.mode != Insecure):
				blame("a false delivery", "message %d to %s: %v", n, rcpt, r)
			case r.InDoubt && !f.sent:
				blame("a doubt without a dot", "message %d to %s: %v", n, rcpt, r)
			case f.sent && r.Stage != Dot:
				blame("a dot and no doubt", "message %d to %s: %v", n, rcpt, r)
			}
		}
		// A transaction for each recipient, another one without parameters, and one
		// on a session that had died; of each what its steps may take.
		transactions := time.Duration(len(res.Rcpts) + 2)
		if most := transactions * (8*patient.setup + 6*patient.command + dotTimeout + 2*blockTimeout); res.Took > most {
			blame("too much time", "message %d took %v", n, res.Took)
		}
	}
	return faults
}
