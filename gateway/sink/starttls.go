package sink

import (
	"bufio"
	"crypto/tls"
	"net"
)

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
