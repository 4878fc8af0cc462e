package msa

import (
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/emersion/go-smtp"
)

// command is a line that was read and found well formed.
type command struct {
	verb  string
	line  string // for go-smtp, without its end
	name  string // HELO, EHLO: the client's name, printable ASCII
	path  string // MAIL, RCPT: as the client wrote it
	chunk int64  // BDAT: octets that follow
	last  bool   // BDAT: and are the end of the message
}

// parse reads a command line. A refusal named cut ends the connection:
// there is no telling what the octets behind it are.
func parse(line string, maxMessage int64) (cmd command, refusal *smtp.SMTPError, cut bool) {
	line = strings.TrimRight(line, "\r\n ")
	verb, arg, _ := strings.Cut(line, " ")
	cmd = command{verb: strings.ToUpper(verb), line: line}
	if cmd.verb != "EHLO" && cmd.verb != "HELO" {
		if refusal := checkOctets(line); refusal != nil {
			return cmd, refusal, isWeb(cmd.verb)
		}
	}
	switch cmd.verb {
	case "HELO", "EHLO":
		refusal = cmd.greet(arg)
	case "MAIL":
		refusal = cmd.mail(arg, maxMessage)
	case "RCPT":
		refusal = cmd.rcpt(arg)
	case "BDAT":
		refusal = cmd.bdat(arg, maxMessage)
		cut = refusal != nil
	case "DATA":
		if arg != "" {
			refusal = refuse(501, 5, 5, 4, "DATA takes no argument")
		}
	case "RSET", "NOOP", "QUIT", "VRFY":
		cmd.line = cmd.verb
	case "AUTH":
		refusal = refuse(502, 5, 5, 1, "AUTH is not offered here, send without it")
	case "STARTTLS":
		refusal = refuse(502, 5, 5, 1, "STARTTLS is not offered here, send without it")
	case "EXPN", "HELP", "TURN", "ETRN", "SEND", "SOML", "SAML":
		refusal = refuse(502, 5, 5, 1, "command not implemented")
	default:
		if isWeb(cmd.verb) {
			return cmd, notSMTP, true
		}
		refusal = unknownCommand
	}
	return cmd, refusal, cut
}

var (
	unknownCommand = refuse(500, 5, 5, 2, "command not recognized")
	badOctets      = refuse(500, 5, 5, 2, "control characters are not allowed in a command")
	eightBit       = refuse(553, 5, 6, 7, "addresses must be ASCII: SMTPUTF8 is not offered")
	badName        = refuse(501, 5, 5, 4, "give your name: one printable word without spaces, at most 255 characters")
	badSize        = refuse(501, 5, 5, 4, "SIZE is a number of octets")
	badBody        = refuse(501, 5, 5, 4, "BODY is 7BIT or 8BITMIME")
	badChunk       = refuse(501, 5, 5, 4, "BDAT takes a size and LAST, closing the connection")
	badSender      = refuse(501, 5, 1, 7, "say MAIL FROM:<address>, with an address like name@domain or nothing")
	badRecipient   = refuse(501, 5, 1, 3, "say RCPT TO:<address>, with an address like name@domain")
	twice          = refuse(501, 5, 5, 4, "a parameter is given twice")
	// RFC 5321 4.1.1.11
	unknownParam = refuse(555, 5, 5, 4, "a parameter is not recognized or not offered")
)

func checkOctets(line string) *smtp.SMTPError {
	high := false
	for i := range len(line) {
		switch c := line[i]; {
		case c < ' ' || c == 0x7f:
			return badOctets
		case c >= utf8.RuneSelf:
			high = true
		}
	}
	if high {
		return eightBit
	}
	return nil
}

// isWeb knows what browsers are made to send to any port. They must find no
// SMTP session behind their own headers.
func isWeb(verb string) bool {
	switch verb {
	case "GET", "POST", "PUT", "HEAD", "CONNECT", "OPTIONS", "DELETE", "PATCH", "TRACE", "PRI":
		return true
	}
	return false
}

// greet takes any name that shows itself: devices say what they like.
func (c *command) greet(name string) *smtp.SMTPError {
	if name == "" || !utf8.ValidString(name) {
		return badName
	}
	for _, r := range name {
		if !unicode.IsGraphic(r) || unicode.IsSpace(r) {
			return badName
		}
	}
	quoted := strconv.QuoteToASCII(name)
	c.name = quoted[1 : len(quoted)-1]
	if len(c.name) > maxDomain {
		return badName
	}
	c.line = c.verb + " " + c.name
	return nil
}

func (c *command) mail(arg string, maxMessage int64) *smtp.SMTPError {
	arg, ok := cutPrefixFold(arg, "FROM:")
	if !ok {
		return badSender
	}
	path, params, ok := cutPath(arg)
	// A name alone is what machines send as (root); an upstream may have a
	// sender to put in its place (RFC 6409 8.1).
	bare := isLocalPart(path) && len(path) <= maxPath
	if !ok || path != "" && !bare && !isMailbox(path) {
		return badSender
	}
	if refusal := checkMailParams(params, maxMessage); refusal != nil {
		return refusal
	}
	c.path, c.line = path, "MAIL FROM:<"+path+">"+params
	if bare {
		c.line = "MAIL FROM:<" + path + "@localhost>" + params // go-smtp wants a domain
	}
	return nil
}

func (c *command) rcpt(arg string) *smtp.SMTPError {
	arg, ok := cutPrefixFold(arg, "TO:")
	if !ok {
		return badRecipient
	}
	path, params, ok := cutPath(arg)
	postmaster := strings.EqualFold(path, "postmaster") // RFC 5321 4.5.1
	if !ok || !postmaster && !isMailbox(path) {
		return badRecipient
	}
	if strings.Trim(params, " ") != "" {
		return unknownParam
	}
	c.path, c.line = path, "RCPT TO:<"+path+">"
	if postmaster {
		c.line = "RCPT TO:<" + path + "@localhost>"
	}
	return nil
}

// checkMailParams takes SIZE (RFC 1870) and BODY (RFC 6152), once each.
func checkMailParams(s string, maxMessage int64) *smtp.SMTPError {
	var size, body bool
	for param := range strings.FieldsSeq(s) {
		key, value, _ := strings.Cut(param, "=")
		switch strings.ToUpper(key) {
		case "SIZE":
			if size {
				return twice
			}
			size = true
			if value == "" || len(value) > 20 || strings.Trim(value, "0123456789") != "" {
				return badSize
			}
			if n, err := strconv.ParseInt(value, 10, 64); err != nil || n > maxMessage {
				return tooLarge
			}
		case "BODY":
			if body {
				return twice
			}
			body = true
			switch strings.ToUpper(value) {
			case "7BIT", "8BITMIME":
			case "BINARYMIME":
				return unknownParam
			default:
				return badBody
			}
		default:
			return unknownParam
		}
	}
	return nil
}

// bdat reads the size of a chunk (RFC 3030 2).
func (c *command) bdat(arg string, maxMessage int64) *smtp.SMTPError {
	size, mark, _ := strings.Cut(arg, " ")
	mark = strings.Trim(mark, " ")
	if mark != "" && !strings.EqualFold(mark, "LAST") || size == "" || strings.Trim(size, "0123456789") != "" {
		return badChunk
	}
	n, err := strconv.ParseInt(size, 10, 64)
	if err != nil || n > overrun(maxMessage) {
		return tooLarge // and more than is read to throw it away
	}
	c.chunk, c.last = n, mark != ""
	return nil
}

func cutPrefixFold(s, prefix string) (string, bool) {
	if len(s) < len(prefix) || !strings.EqualFold(s[:len(prefix)], prefix) {
		return s, false
	}
	return s[len(prefix):], true
}
