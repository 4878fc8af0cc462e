package msa

import "time"

// gate reads one command line. It gives what go-smtp is to read, or answers
// itself and gives nothing.
func (s *session) gate(line []byte) []byte {
	cmd, ok := s.read(line)
	if !ok {
		return nil
	}
	switch cmd.verb {
	case "HELO", "EHLO":
		s.helo, s.esmtp = cmd.name, cmd.verb == "EHLO"
	case "DATA":
		s.conn.chunk = chunk{}
		// Asked again before 354: the disk may have filled since MAIL.
		if err := s.server.Admit(s.env.size); err != nil {
			s.conn.reply(s.replyFor(err))
			return nil
		}
	case "BDAT":
		// go-smtp's own BDAT takes the message in a second goroutine, which
		// after an RSET may give its result to the next message. So it is
		// told of DATA, once for all chunks, and its 354 is hidden.
		s.conn.begin(cmd)
		if s.env.open && len(s.env.rcpts) > 0 {
			s.conn.hide = true
		}
		return []byte("DATA\r\n")
	}
	return append([]byte(cmd.line), '\r', '\n')
}

// read parses a command line. A bad one is answered.
func (s *session) read(line []byte) (cmd command, ok bool) {
	cmd, refusal, cut := parse(string(line), s.server.MaxMessage)
	s.cmd = cmd
	if refusal == nil {
		return cmd, true
	}
	if refusal == unknownCommand {
		s.tally.unknown++
	}
	s.conn.reply(refusal)
	if cut {
		s.conn.hangUp()
	}
	return cmd, false
}

// begin expects the octets that a BDAT announced.
func (c *conn) begin(bdat command) {
	c.chunk = chunk{on: true, left: bdat.chunk, last: bdat.last}
	c.pace = c.server.pace(time.Now())
}
