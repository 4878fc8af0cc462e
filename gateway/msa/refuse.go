package msa

import (
	"context"
	"errors"

	"github.com/emersion/go-smtp"

	"mailroam/queue"
)

// refuse makes a reply. Its text is ours alone: it never quotes the client.
func refuse(code, class, subject, detail int, text string) *smtp.SMTPError {
	return &smtp.SMTPError{Code: code, EnhancedCode: smtp.EnhancedCode{class, subject, detail}, Message: text}
}

// The refusals of connections and of the dialogue. They are values that
// nobody changes.
var (
	shuttingDown   = refuse(421, 4, 3, 2, "the service is shutting down, try again in a moment")
	tooManyConns   = refuse(421, 4, 7, 0, "too many connections, try again later")
	tooManyFromYou = refuse(421, 4, 7, 0, "too many connections from your address, try again later")
	tooManyErrors  = refuse(421, 4, 7, 0, "too many errors, closing the connection")
	idleTooLong    = refuse(421, 4, 4, 2, "no command in time, closing the connection")
	lastedTooLong  = refuse(421, 4, 4, 2, "this connection has lasted long enough, connect again")
	bodyStalled    = refuse(421, 4, 4, 2, "the message came too slowly; nothing of it was stored, send it again")
	bodyCut        = refuse(421, 4, 4, 2, "the connection was lost inside the message; nothing of it was stored")
	lineTooLong    = refuse(500, 5, 5, 6, "command line too long, closing the connection")
	notSMTP        = refuse(500, 5, 5, 2, "this is an SMTP server without TLS, closing the connection")
	spokeTooSoon   = refuse(554, 5, 5, 1, "you spoke before the greeting, closing the connection")

	localTrouble = refuse(451, 4, 3, 0, "local trouble, nothing was stored; try again later")
	noSpace      = refuse(452, 4, 3, 1, "not enough disk space now, nothing was stored; try again later")
	tooLarge     = refuse(552, 5, 3, 4, "the message is larger than the limit (SIZE)")
)

// replyFor is the only way from an error to a reply: go-smtp answers 554 with
// the error's text to anything but a bare *smtp.SMTPError, and trouble of ours
// is never the message's fault and none of the client's business.
func replyFor(err error) *smtp.SMTPError {
	var reply *smtp.SMTPError
	switch {
	case errors.As(err, &reply):
		return reply
	case errors.Is(err, queue.ErrFull):
		return noSpace
	case errors.Is(err, context.Canceled):
		return shuttingDown
	}
	return localTrouble
}

// silent says that no reply to err could be trusted: whether the message is
// on disk is not known.
func silent(err error) bool {
	return errors.Is(err, queue.ErrPoisoned) || errors.Is(err, queue.ErrClosed)
}
