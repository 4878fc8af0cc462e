package sink

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"
)

// hangTime ends a hang, so that nothing waits for ever.
const hangTime = time.Hour

// headMax is how much of a body is kept for its Message-ID.
const headMax = 64 << 10

// session is one connection.
type session struct {
	srv  *Server
	conn net.Conn
	in   *bufio.Reader
	out  *bufio.Writer
	pace pacer
	cut  <-chan struct{}
	n    int // of the connection

	tls         bool
	hello, user string

	// The transaction.
	open             bool
	msg              int // of the server's transactions
	from, mailParams string
	to               []string
}

func newSession(srv *Server, c net.Conn, cut <-chan struct{}) *session {
	s := &session{srv: srv, cut: cut, n: int(srv.conns.Add(1))}
	s.use(c)
	return s
}

// use makes c the connection, without anything buffered from an earlier one.
func (s *session) use(c net.Conn) {
	s.conn = c
	s.pace.s = s
	s.in = bufio.NewReaderSize(c, 16<<10)
	s.out = bufio.NewWriterSize(&s.pace, 4<<10)
}

// pacer writes one octet a second when slow.
type pacer struct {
	s    *session
	slow bool
}

func (p *pacer) Write(b []byte) (int, error) {
	if !p.slow {
		return p.s.conn.Write(b)
	}
	for i := range b {
		if _, err := p.s.conn.Write(b[i : i+1]); err != nil {
			return i, err
		}
		if !p.s.sleep(time.Second) {
			return i, errEnd
		}
	}
	return len(b), nil
}

func (s *session) run() {
	if s.srv.opts.Implicit && s.startTLS() != nil {
		return
	}
	if code, err := s.answer(Greeting, "", "220 "+s.srv.opts.Name+" ESMTP sink"); err != nil || code/100 != 2 && s.refused() != nil {
		return
	}
	for {
		line, err := s.readLine()
		if err != nil {
			return
		}
		if s.command(line) != nil {
			_ = s.out.Flush()
			return
		}
	}
}

// refused waits for QUIT after a bad greeting (RFC 5321 3.1).
func (s *session) refused() error {
	for {
		line, err := s.readLine()
		if err != nil {
			return err
		}
		if verb, _ := cut(line); verb == "QUIT" {
			return s.command(line)
		}
		s.reply("503 5.5.1 only QUIT now")
	}
}

// readLine flushes before it would wait, so that the replies to a pipelined
// group leave together.
func (s *session) readLine() (string, error) {
	if ahead, _ := s.in.Peek(s.in.Buffered()); bytes.IndexByte(ahead, '\n') < 0 {
		if err := s.out.Flush(); err != nil {
			return "", err
		}
	}
	line, err := s.in.ReadSlice('\n')
	if err != nil {
		return "", err
	}
	return string(bytes.TrimRight(line, "\r\n")), nil
}

func (s *session) reply(text string) {
	_, _ = s.out.WriteString(text) // an error stays with the writer until Flush
	_, _ = s.out.WriteString("\r\n")
}

// answer replies as the faults want, else with normal. It gives the code of the
// first reply, which decides how the session goes on, and an error when the
// session is over.
func (s *session) answer(at Stage, rcpt, normal string) (int, error) {
	steps := s.srv.fault(at, rcpt, s.msg, s.n)
	code, err := s.act(steps)
	if code < 0 && err == nil {
		s.reply(normal)
		code = replyCode(normal)
	}
	return code, err
}

// act takes the steps; code is -1 when none of them stands for the reply.
func (s *session) act(steps []Step) (code int, err error) {
	code = -1
	said := func(c int) {
		if code < 0 {
			code = c
		}
	}
	for _, step := range steps {
		switch step.Do {
		case Reply:
			s.reply(step.Text)
			said(replyCode(step.Text))
		case Garbage:
			_, _ = s.out.WriteString("\x00\x16\x03\xff\r\nHTTP/1.1 400 Bad Request\r\n\x1b[31m\r\n")
			said(0)
		case Slow:
			s.pace.slow = true
		case Delay:
			_ = s.out.Flush()
			if !s.sleep(step.For) {
				return code, errEnd
			}
		case Flood:
			for err == nil {
				_, err = s.out.WriteString("250-" + strings.Repeat("x", 60) + "\r\n")
			}
			return code, err
		case Hang:
			_ = s.out.Flush()
			_ = s.conn.SetReadDeadline(time.Now().Add(hangTime))
			_, _ = io.Copy(io.Discard, s.in)
			return code, errEnd
		case Close:
			_ = s.out.Flush()
			_ = s.conn.Close()
			return code, errEnd
		case Reset:
			_ = s.out.Flush()
			abort(s.conn)
			return code, errEnd
		}
	}
	return code, nil
}

// sleep says whether the sink is still on the net after d.
func (s *session) sleep(d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-s.cut:
		return false
	}
}

// cut splits a command line; the verb comes in upper case (RFC 5321 2.4).
func cut(line string) (verb, args string) {
	verb, args, _ = strings.Cut(line, " ")
	return strings.ToUpper(verb), strings.TrimSpace(args)
}

func (s *session) command(line string) error {
	verb, args := cut(line)
	var err error
	switch verb {
	case "EHLO", "HELO":
		err = s.ehlo(verb, args)
	case "STARTTLS":
		err = s.doStartTLS()
	case "AUTH":
		err = s.auth(args)
	case "MAIL":
		err = s.mail(args)
	case "RCPT":
		err = s.rcpt(args)
	case "DATA":
		err = s.data()
	case "RSET":
		s.forget()
		_, err = s.answer(Rset, "", "250 2.0.0 ok")
	case "NOOP":
		s.reply("250 2.0.0 ok")
	case "VRFY":
		s.reply("252 2.5.0 send it and see")
	case "QUIT":
		if _, err = s.answer(Quit, "", "221 2.0.0 bye"); err == nil {
			err = errEnd
		}
	default:
		s.reply("500 5.5.2 no such command")
	}
	return err
}

func (s *session) forget() { s.open, s.from, s.mailParams, s.to = false, "", "", nil }

func (s *session) offers(keyword string) bool { return !slices.Contains(s.srv.opts.Without, keyword) }

func (s *session) ehlo(verb, name string) error {
	s.forget()
	s.hello = name
	if verb == "HELO" {
		_, err := s.answer(Helo, "", "250 "+s.srv.opts.Name)
		return err
	}
	lines := []string{s.srv.opts.Name}
	for _, k := range []string{"PIPELINING", "8BITMIME", "ENHANCEDSTATUSCODES"} {
		if s.offers(k) {
			lines = append(lines, k)
		}
	}
	if s.offers("SIZE") {
		lines = append(lines, strings.TrimSpace("SIZE "+strconv.FormatInt(s.srv.opts.Size, 10)))
	}
	if s.srv.opts.TLS != nil && !s.tls && s.offers("STARTTLS") {
		lines = append(lines, "STARTTLS")
	}
	if s.srv.opts.Users != nil && s.offers("AUTH") {
		lines = append(lines, "AUTH PLAIN LOGIN")
	}
	var b strings.Builder
	for i, l := range lines {
		sep := "-"
		if i == len(lines)-1 {
			sep = " "
		} else {
			l += "\r\n"
		}
		b.WriteString("250" + sep + l)
	}
	_, err := s.answer(Ehlo, "", b.String())
	return err
}

func (s *session) doStartTLS() error {
	if s.srv.opts.TLS == nil || s.tls {
		s.reply("502 5.5.1 no STARTTLS here")
		return nil
	}
	code, err := s.answer(StartTLS, "", "220 2.0.0 go ahead")
	if err != nil || code != 220 {
		return err
	}
	if err := s.out.Flush(); err != nil {
		return err
	}
	s.forget()
	s.hello, s.user = "", "" // RFC 3207 4.2
	return s.startTLS()
}

func (s *session) startTLS() error {
	s.in.Reset(s.conn) // what came before in the clear is not heard (RFC 3207 6)
	if steps := s.srv.fault(TLS, "", s.msg, s.n); len(steps) > 0 {
		if _, err := s.in.Peek(1); err != nil {
			return err
		}
		if code, err := s.act(steps); err != nil || code >= 0 {
			_ = s.out.Flush()
			return errEnd
		}
	}
	c := tls.Server(&peeked{s.conn, s.in}, s.srv.opts.TLS)
	if err := c.Handshake(); err != nil {
		return err
	}
	s.tls = true
	s.use(c)
	return nil
}

// peeked is a connection of which r has already read a part.
type peeked struct {
	net.Conn
	r *bufio.Reader
}

func (p *peeked) Read(b []byte) (int, error) { return p.r.Read(b) }
func (p *peeked) NetConn() net.Conn          { return p.Conn }

// auth does PLAIN and LOGIN, with and without an initial response (RFC 4954).
func (s *session) auth(args string) error {
	if s.srv.opts.Users == nil {
		s.reply("502 5.5.1 no AUTH here")
		return nil
	}
	mechanism, initial, _ := strings.Cut(args, " ")
	ask := func(prompt string) (string, error) {
		line := initial
		if initial = ""; line == "" {
			s.reply("334 " + base64.StdEncoding.EncodeToString([]byte(prompt)))
			var err error
			if line, err = s.readLine(); err != nil {
				return "", err
			}
		}
		b, err := base64.StdEncoding.DecodeString(line)
		if err != nil {
			return "*", nil
		}
		return string(b), nil
	}
	var user, pass string
	switch strings.ToUpper(mechanism) {
	case "PLAIN":
		resp, err := ask("")
		if err != nil {
			return err
		}
		if part := strings.Split(resp, "\x00"); len(part) == 3 {
			user, pass = part[1], part[2]
		}
	case "LOGIN":
		var err error
		if user, err = ask("Username:"); err == nil {
			pass, err = ask("Password:")
		}
		if err != nil {
			return err
		}
	default:
		s.reply("504 5.5.4 no such mechanism")
		return nil
	}
	normal := "535 5.7.8 wrong user name or password"
	if want, ok := s.srv.opts.Users[user]; ok && want == pass {
		normal = "235 2.7.0 welcome"
	}
	code, err := s.answer(Auth, "", normal)
	if code == 235 {
		s.user = user
	}
	return err
}

func (s *session) mail(args string) error {
	if s.open {
		s.reply("503 5.5.1 one MAIL at a time")
		return nil
	}
	s.msg = int(s.srv.transactions.Add(1))
	from, params, ok := path(args, "FROM:")
	normal := "250 2.1.0 ok"
	switch {
	case !ok:
		normal = "501 5.1.7 want MAIL FROM:<address>"
	case s.srv.opts.Users != nil && s.user == "":
		normal = "530 5.7.0 authentication required"
	default:
		if bad := s.params(params); bad != "" {
			normal = bad
		}
	}
	code, err := s.answer(Mail, "", normal)
	if code/100 == 2 {
		s.open, s.from, s.mailParams = true, from, params
	}
	return err
}

// params checks the parameters of MAIL; only what was offered may be used
// (RFC 5321 4.1.1.11).
func (s *session) params(params string) (bad string) {
	for p := range strings.FieldsSeq(params) {
		key, value, _ := strings.Cut(p, "=")
		switch key = strings.ToUpper(key); {
		case key == "SIZE" && s.offers("SIZE"):
			n, err := strconv.ParseInt(value, 10, 64)
			if err != nil {
				return "501 5.5.4 bad SIZE"
			}
			if s.srv.opts.Size > 0 && n > s.srv.opts.Size {
				return "552 5.3.4 too big"
			}
		case key == "BODY" && s.offers("8BITMIME"):
		default:
			return "555 5.5.4 parameter not offered"
		}
	}
	return ""
}

func (s *session) rcpt(args string) error {
	to, _, ok := path(args, "TO:")
	normal := "250 2.1.5 ok"
	switch {
	case !s.open:
		normal = "503 5.5.1 MAIL first"
	case !ok || to == "":
		normal = "501 5.1.3 want RCPT TO:<address>"
	}
	code, err := s.answer(Rcpt, to, normal)
	if code/100 == 2 && s.open {
		s.to = append(s.to, to)
	}
	return err
}

// path reads "FROM:<address> params"; a quoted local part may hold anything.
func path(args, prefix string) (address, params string, ok bool) {
	if len(args) < len(prefix) || !strings.EqualFold(args[:len(prefix)], prefix) {
		return "", "", false
	}
	args = strings.TrimLeft(args[len(prefix):], " ")
	if args == "" || args[0] != '<' {
		return "", "", false
	}
	quoted := false
	for i := 1; i < len(args); i++ {
		switch c := args[i]; {
		case quoted && c == '\\':
			i++
		case c == '"':
			quoted = !quoted
		case !quoted && c == '>':
			return args[1:i], strings.TrimSpace(args[i+1:]), true
		}
	}
	return "", "", false
}

func (s *session) data() error {
	normal := "354 go ahead"
	switch {
	case !s.open:
		normal = "503 5.5.1 MAIL first"
	case len(s.to) == 0:
		normal = "554 5.5.1 no valid recipients"
	}
	code, err := s.answer(Data, "", normal)
	if err != nil || code != 354 {
		return err
	}
	if err := s.out.Flush(); err != nil {
		return err
	}
	body, err := s.body()
	if err != nil {
		return err
	}
	err = s.dot(body)
	s.forget()
	return err
}

// dot files the message and answers.
func (s *session) dot(b received) error {
	id := "-"
	if s.srv.opts.Ledger != nil {
		id = messageID(b.head)
		s.srv.note("dot-seen", id, strings.Join(s.to, " "))
	}
	steps := s.srv.fault(Dot, "", s.msg, s.n)
	normal := "250 2.0.0 taken"
	switch {
	case len(s.to) == 0:
		normal = "554 5.5.1 no valid recipients"
	case s.srv.opts.Size > 0 && b.size > s.srv.opts.Size:
		normal = "552 5.3.4 too big"
	}
	if takes(steps, normal) && len(s.to) > 0 {
		err := s.srv.take(Message{
			From: s.from, Hello: s.hello, User: s.user, To: s.to, Params: s.mailParams,
			Body: b.body, Size: b.size, At: time.Now(), TLS: s.tls, Conn: s.n,
		})
		if err != nil {
			normal = "451 4.3.0 could not file it"
		}
	}
	code, err := s.act(steps)
	if code < 0 && err == nil {
		s.reply(normal)
		code = replyCode(normal)
	}
	if code >= 0 && s.srv.opts.Ledger != nil {
		_ = s.out.Flush()
		s.srv.note("answered", id, strconv.Itoa(code))
	}
	return err
}

// takes says whether the steps, or else the normal reply, accept the message.
func takes(steps []Step, normal string) bool {
	for _, step := range steps {
		switch step.Do {
		case Take:
			return true
		case Reply:
			return replyCode(step.Text)/100 == 2
		case Garbage, Flood, Hang, Close, Reset:
			return slices.ContainsFunc(steps, func(s Step) bool { return s.Do == Take })
		}
	}
	return replyCode(normal)/100 == 2
}

// received is a body that came in whole.
type received struct {
	body, head []byte
	size       int64
}

// body reads up to the final dot. Only CRLF.CRLF ends it (RFC 5321 4.1.1.4).
func (s *session) body() (received, error) {
	var b received
	steps := s.srv.fault(Body, "", s.msg, s.n)
	if len(steps) > 0 {
		if _, err := s.in.Peek(1); err != nil {
			return b, err
		}
		if err := s.bodyFault(steps); err != nil {
			return b, err
		}
	}
	keep := s.srv.needsBody()
	atStart, afterCR := true, false // of a line
	for {
		line, err := s.in.ReadSlice('\n')
		if err != nil && err != bufio.ErrBufferFull {
			return b, err
		}
		if atStart && line[0] == '.' {
			if len(line) == 3 && line[1] == '\r' && line[2] == '\n' {
				return b, nil
			}
			line = line[1:]
		}
		n := len(line)
		switch {
		case n == 0: // a dot and the end of the buffer
			atStart, afterCR = false, false
		case line[n-1] == '\n':
			atStart = n > 1 && line[n-2] == '\r' || n == 1 && afterCR
			afterCR = false
		default:
			atStart, afterCR = false, line[n-1] == '\r'
		}
		b.size += int64(n)
		if keep {
			b.body = append(b.body, line...)
		}
		if s.srv.opts.Ledger != nil && len(b.head) < headMax {
			b.head = append(b.head, line...)
		}
	}
}

// bodyFault takes the steps; a reply here is an early one, and the body is
// read on. A hang stops reading, so that the sender's window closes.
func (s *session) bodyFault(steps []Step) error {
	for i, step := range steps {
		if step.Do == Hang {
			if _, err := s.act(steps[:i]); err != nil {
				return err
			}
			_ = s.out.Flush()
			s.sleep(hangTime)
			return errEnd
		}
	}
	if _, err := s.act(steps); err != nil {
		return err
	}
	if err := s.out.Flush(); err != nil {
		return fmt.Errorf("early reply: %w", err)
	}
	return nil
}
