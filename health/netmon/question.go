package netmon

import (
	"errors"
	"net"
	"os"
	"time"
)

// askAgain is how long a name server may be silent before it is asked again.
const askAgain = time.Second

// question is one question to a name server over UDP, repeated until it is
// answered. Go's resolver asks again after five seconds only, and the first
// packets in a new network are the ones that get lost. A second answer to the
// same question does no harm: nobody reads it.
type question struct {
	*net.UDPConn
	patience time.Duration // until it is asked again
	asked    []byte
	until    time.Time // the reader's deadline
}

// Write sends the question.
func (q *question) Write(p []byte) (int, error) {
	q.asked = append(q.asked[:0], p...)
	return q.UDPConn.Write(p)
}

// SetDeadline is what Go's resolver sets, once for question and answer.
func (q *question) SetDeadline(t time.Time) error {
	q.until = t
	return q.UDPConn.SetDeadline(t)
}

// Read waits for an answer.
func (q *question) Read(p []byte) (int, error) {
	for {
		again := time.Now().Add(q.patience)
		last := !q.until.IsZero() && !again.Before(q.until)
		if last {
			again = q.until
		}
		if err := q.SetReadDeadline(again); err != nil {
			return 0, err
		}
		n, err := q.UDPConn.Read(p)
		if last || !errors.Is(err, os.ErrDeadlineExceeded) {
			return n, err
		}
		if _, err := q.UDPConn.Write(q.asked); err != nil {
			return 0, err
		}
	}
}
