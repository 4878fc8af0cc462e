package msa

import "time"

// gate reads one command line. It gives what go-smtp is to read, or answers
// itself and gives nothing.
func (s *session) gate(line []byte) []byte {
	c := s.conn
	cmd, refusal, cut := parse(string(line), s.server.MaxMessage)
	if refusal == unknownCommand {
		s.tally.unknown++
	}
	s.path = cmd.path
	if refusal == nil && cmd.verb == "DATA" {
		// Asked again before 354: the disk may have filled since MAIL.
		if err := s.server.Admit(s.declared()); err != nil {
			refusal = s.replyFor(err)
		}
	}
	if refusal != nil {
		c.reply(refusal)
		if cut {
			c.hangUp()
		}
		return nil
	}
	switch cmd.verb {
	case "HELO", "EHLO":
		s.helo, s.esmtp = cmd.name, cmd.verb == "EHLO"
	case "BDAT":
		c.chunk, c.pace = cmd.chunk, s.server.pace(time.Now())
	}
	return append([]byte(cmd.line), '\r', '\n')
}

func (s *session) declared() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.env.size
}
