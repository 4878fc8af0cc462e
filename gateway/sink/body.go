package sink

import (
	"bufio"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

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
			From: s.from, Hello: s.hello, User: s.user, To: s.to, Params: s.mailParams, RcptParams: s.rcptParams,
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
