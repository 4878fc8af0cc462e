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
	verb   string
	line   string // for go-smtp, without its end
	name   string // HELO, EHLO: the client's name, printable ASCII
	path   string // MAIL, RCPT: as the client wrote it
	params        // MAIL, RCPT
	chunk  int64  // BDAT: octets that follow
	last   bool   // BDAT: and are the end of the message
}

// What go-smtp is told of MAIL and RCPT. It keeps the order of commands; the
// path and the parameters are the session's, so how it would read them matters
// to nobody.
const (
	someMail = "MAIL FROM:<>"
	someRcpt = "RCPT TO:<a@b>"
)

// parse reads a command line. A refusal named cut ends the connection:
// there is no telling what the octets behind it are.
func parse(line string, maxMessage int64) (cmd command, refusal *smtp.SMTPError, cut bool) {
	line = strings.TrimRight(line, "\r\n ")
	verb, arg, _ := strings.Cut(line, " ")
	cmd = command{verb: capitals(verb), line: line}
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
	notUTF8        = refuse(553, 5, 6, 7, "a command is ASCII, and addresses beyond it are UTF-8")
	badName        = refuse(501, 5, 5, 4, "give your name: one printable word without spaces, at most 255 characters")
	badChunk       = refuse(501, 5, 5, 4, "BDAT takes a size and LAST, closing the connection")
	badSender      = refuse(501, 5, 1, 7, "say MAIL FROM:<address>, with an address like name@domain or nothing")
	badRecipient   = refuse(501, 5, 1, 3, "say RCPT TO:<address>, with an address like name@domain")
)

// checkOctets lets pass what shows itself: an address is logged and printed as
// it is.
func checkOctets(line string) *smtp.SMTPError {
	if !utf8.ValidString(line) {
		return notUTF8
	}
	for _, r := range line {
		if r < ' ' || r == 0x7f || r >= utf8.RuneSelf && !shows(r) {
			return badOctets
		}
	}
	return nil
}

// shows is false for characters that move what stands round them, or are not to
// be seen. The joiners are not to be seen either, but some scripts write no word
// without them (RFC 5892 A.1, A.2).
func shows(r rune) bool {
	const nonJoiner, joiner = '\u200c', '\u200d'
	return r == nonJoiner || r == joiner || !unicode.In(r, unicode.Cc, unicode.Cf, unicode.Co, unicode.Cs, unicode.Z)
}

// capitals is for words of the protocol: ASCII only, for other letters are
// capitalized to ASCII ones too.
func capitals(s string) string {
	return strings.Map(func(r rune) rune {
		if 'a' <= r && r <= 'z' {
			r -= 'a' - 'A'
		}
		return r
	}, s)
}

func isASCII(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return r >= utf8.RuneSelf })
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
	path, rest, ok := cutPath(arg)
	// A name alone is what machines send as (root); an upstream may have a
	// sender to put in its place (RFC 6409 8.1).
	bare := isLocalPart(path) && len(path) <= maxPath
	if !ok || path != "" && !bare && !isMailbox(path) {
		return badSender
	}
	c.path, c.line = path, someMail
	return c.params.mail(rest, maxMessage)
}

func (c *command) rcpt(arg string) *smtp.SMTPError {
	arg, ok := cutPrefixFold(arg, "TO:")
	if !ok {
		return badRecipient
	}
	path, rest, ok := cutPath(arg)
	postmaster := capitals(path) == "POSTMASTER" // RFC 5321 4.5.1
	if !ok || !postmaster && !isMailbox(path) {
		return badRecipient
	}
	c.path, c.line = path, someRcpt
	return c.params.rcpt(rest)
}

// bdat reads the size of a chunk (RFC 3030 2).
func (c *command) bdat(arg string, maxMessage int64) *smtp.SMTPError {
	size, mark, _ := strings.Cut(arg, " ")
	mark = strings.Trim(mark, " ")
	if mark != "" && capitals(mark) != "LAST" || size == "" || strings.Trim(size, "0123456789") != "" {
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
