package sink

import (
	"bufio"
	"bytes"
	"net"
	"slices"
	"strconv"
	"strings"
)

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
	to, rcptParams   []string
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

func (s *session) forget() {
	s.open, s.from, s.mailParams, s.to, s.rcptParams = false, "", "", nil, nil
}

func (s *session) offers(keyword string) bool { return !slices.Contains(s.srv.opts.Without, keyword) }

// adds says that a keyword is among those that are offered besides.
func (s *session) adds(keyword string) bool {
	return slices.Contains(s.srv.opts.Extra, keyword) && (keyword != "REQUIRETLS" || s.tls) // RFC 8689 2
}

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
	for _, line := range s.srv.opts.Extra {
		if line != "REQUIRETLS" || s.tls {
			lines = append(lines, line)
		}
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
