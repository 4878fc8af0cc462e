package sink

import (
	"io"
	"strings"
	"time"
)

// hangTime ends a hang, so that nothing waits for ever.
const hangTime = time.Hour

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
