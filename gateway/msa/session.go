package msa

import (
	"context"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/emersion/go-smtp"

	"mailroam/queue"
)

// session is one client's dialogue: the gate in front of go-smtp (gate.go) and
// what go-smtp calls behind it. All of it runs in the connection's goroutine.
type session struct {
	server *Server
	conn   *conn
	work   context.Context // ends when sessions are cut off

	helo  string // as in command.name
	esmtp bool
	cmd   command // under way
	tally tally
	env   envelope
}

// envelope is a mail transaction.
type envelope struct {
	open  bool
	began time.Time
	helo  string
	esmtp bool
	from  string
	rcpts []queue.Addressee // each once
	named int               // RCPTs accepted
	size  int64             // as the client told, 0 when it did not
	utf8  bool              // SMTPUTF8 was said: addresses and the header may be beyond ASCII
	ret   queue.Return
}

// Mail begins a transaction (RFC 5321 4.1.1.2). Its options are read by the
// gate, and not from go-smtp.
func (s *session) Mail(string, *smtp.MailOptions) error {
	if s.env.open {
		// go-smtp would begin a second one with the recipients of the first.
		return refuse(503, 5, 5, 1, "a transaction is open, end it with RSET first")
	}
	if !s.mayRelay() {
		return notAllowed
	}
	if s.cmd.extended && !s.esmtp {
		return unknownParam
	}
	if !s.cmd.utf8 && !isASCII(s.cmd.path) {
		return eightBit
	}
	if err := s.permit(s.cmd.path, ""); err != nil {
		return err
	}
	if err := s.server.Admit(s.cmd.size); err != nil {
		return s.replyFor(err)
	}
	s.env = envelope{
		open: true, began: time.Now(), helo: s.helo, esmtp: s.esmtp,
		from: s.cmd.path, size: s.cmd.size, utf8: s.cmd.utf8, ret: s.cmd.ret,
	}
	return nil
}

var (
	notAllowed = refuse(550, 5, 7, 1, "your address may not send here: add its network to `allow` of this [[listen]]")
	eightBit   = refuse(553, 5, 6, 7, "an address beyond ASCII is taken only when SMTPUTF8 was said in MAIL")
)

// mayRelay looks the client's address up in the networks that may send.
func (s *session) mayRelay() bool {
	for _, p := range s.server.Allow {
		if p.Contains(s.conn.addr) {
			return true
		}
	}
	return false
}

// Rcpt adds a recipient. One named twice gets one copy.
func (s *session) Rcpt(string, *smtp.RcptOptions) error {
	if s.cmd.extended && !s.env.esmtp {
		return unknownParam
	}
	if !s.env.utf8 && !(isASCII(s.cmd.path) && isASCII(s.cmd.orcpt)) {
		return eightBit
	}
	if s.env.named >= s.server.Limits.MaxRecipients {
		return refuse(452, 4, 5, 3, "too many recipients, send to the rest in another transaction") // RFC 5321 4.5.3.1.10
	}
	if err := s.permit(s.env.from, s.cmd.path); err != nil {
		return err
	}
	s.env.named++
	to := queue.Addressee{ // without the line that they stood in
		Address: strings.Clone(s.cmd.path), Notify: s.cmd.notify, ORcpt: strings.Clone(s.cmd.orcpt),
	}
	i := slices.IndexFunc(s.env.rcpts, func(r queue.Addressee) bool { return sameMailbox(r.Address, to.Address) })
	if i < 0 {
		s.env.rcpts = append(s.env.rcpts, to)
	} else {
		s.env.rcpts[i] = merge(s.env.rcpts[i], to)
	}
	return nil
}

// permit refuses what could never leave, here where its sender sees why. 5.7.1:
// the sender may not send to the destination (RFC 3463 3.8).
func (s *session) permit(from, to string) error {
	if err := s.server.Permit(from, to); err != nil {
		return refuse(550, 5, 7, 1, plain(err.Error()))
	}
	return nil
}

// Data takes the message. What it returns becomes the reply. The reader is not
// needed: go-smtp would look at each octet by itself.
func (s *session) Data(io.Reader) error {
	if !s.conn.beginBody() {
		s.conn.hangUp()
		return shuttingDown
	}
	defer s.conn.endBody()
	id, err := s.accept()
	if err != nil {
		return s.replyFor(err)
	}
	return refuse(250, 2, 0, 0, "queued as "+id.String())
}

// Reset ends the transaction.
func (s *session) Reset() {
	s.env = envelope{}
}

// Logout ends the session.
func (s *session) Logout() error {
	s.Reset()
	return nil
}

// replyFor turns an error into its reply, and tells the log what the reply
// keeps to itself.
func (s *session) replyFor(err error) *smtp.SMTPError {
	if silent(err) {
		s.conn.vanish()
	}
	reply := replyFor(err)
	if reply == localTrouble || silent(err) {
		s.server.Log.Error("alert", "text", "new mail could not be stored: "+queue.Printable(err.Error(), maxLogged))
	}
	return reply
}
