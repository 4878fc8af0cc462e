package msa

import (
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/emersion/go-smtp"

	"mailroam/queue"
)

// params are what a client said behind the path of MAIL or RCPT.
type params struct {
	size   int64        // SIZE (RFC 1870), 0 when it was not given
	utf8   bool         // SMTPUTF8 (RFC 6531 3.4)
	ret    queue.Return // RET, ENVID (RFC 3461 4.3, 4.4)
	notify queue.Notify // NOTIFY (4.1)
	orcpt  string       // ORCPT (4.2), as it was given
	// extended: one was given that only EHLO offers. SIZE and BODY are not
	// counted: devices add them to HELO too, and they change nothing.
	extended bool
}

const (
	maxEnvID = 100 // RFC 3461 4.4
	maxORcpt = 500 // RFC 3461 4
)

var (
	badSize   = refuse(501, 5, 5, 4, "SIZE is a number of octets")
	badBody   = refuse(501, 5, 5, 4, "BODY is 7BIT or 8BITMIME")
	badUTF8   = refuse(501, 5, 5, 4, "SMTPUTF8 takes no value")
	badRet    = refuse(501, 5, 5, 4, "RET is FULL or HDRS")
	badEnvID  = refuse(501, 5, 5, 4, "ENVID is xtext of at most 100 characters (RFC 3461 4)")
	badNotify = refuse(501, 5, 5, 4, "NOTIFY is NEVER, or some of SUCCESS,FAILURE,DELAY with commas between them")
	badORcpt  = refuse(501, 5, 5, 4, "ORCPT is type;address, in xtext or as RFC 6533 3 says, at most 500 characters")
	noValue   = refuse(501, 5, 5, 4, "a parameter has no value behind its =")
	twice     = refuse(501, 5, 5, 4, "a parameter is given twice")
	// RFC 5321 4.1.1.11
	unknownParam = refuse(555, 5, 5, 4, "a parameter is not recognized or not offered")
)

// eachParam reads what stands behind a path (RFC 5321 4.1.2), nothing twice.
func eachParam(s string, take func(key, value string) *smtp.SMTPError) *smtp.SMTPError {
	seen := make([]string, 0, 5)
	for param := range strings.SplitSeq(s, " ") {
		if param == "" {
			continue
		}
		key, value, valued := strings.Cut(param, "=")
		key = capitals(key)
		if refusal := take(key, value); refusal != nil {
			return refusal
		}
		switch {
		case valued && value == "":
			return noValue
		case slices.Contains(seen, key):
			return twice
		}
		seen = append(seen, key)
	}
	return nil
}

func (p *params) mail(s string, maxMessage int64) *smtp.SMTPError {
	return eachParam(s, func(key, value string) *smtp.SMTPError {
		switch key {
		case "SIZE":
			return p.setSize(value, maxMessage)
		case "BODY": // what the body holds decides, not what is said of it
			switch capitals(value) {
			case "7BIT", "8BITMIME":
				return nil
			case "BINARYMIME":
				return unknownParam
			}
			return badBody
		case "SMTPUTF8":
			p.utf8, p.extended = true, true
			if value != "" {
				return badUTF8
			}
		case "RET":
			p.extended = true
			switch capitals(value) {
			case "FULL":
				p.ret.Full = true
			case "HDRS":
				p.ret.Header = true
			default:
				return badRet
			}
		case "ENVID":
			p.extended = true
			if p.ret.EnvID = value; len(value) > maxEnvID || !isXtext(value) {
				return badEnvID
			}
		default:
			return unknownParam
		}
		return nil
	})
}

func (p *params) rcpt(s string) *smtp.SMTPError {
	return eachParam(s, func(key, value string) (refusal *smtp.SMTPError) {
		switch key {
		case "NOTIFY":
			p.notify, refusal = readNotify(value)
		case "ORCPT":
			if p.orcpt = value; len(value) > maxORcpt || !isORcpt(value) {
				refusal = badORcpt
			}
		default:
			return unknownParam
		}
		p.extended = true
		return refusal
	})
}

func (p *params) setSize(value string, maxMessage int64) *smtp.SMTPError {
	if value == "" || len(value) > 20 || strings.Trim(value, "0123456789") != "" {
		return badSize
	}
	var err error
	if p.size, err = strconv.ParseInt(value, 10, 64); err != nil || p.size > maxMessage {
		return tooLarge
	}
	return nil
}

func readNotify(value string) (n queue.Notify, refusal *smtp.SMTPError) {
	for word := range strings.SplitSeq(value, ",") {
		var wish queue.Notify
		switch capitals(word) {
		case "NEVER":
			wish = queue.NotifyNever
		case "SUCCESS":
			wish = queue.NotifySuccess
		case "FAILURE":
			wish = queue.NotifyFailure
		case "DELAY":
			wish = queue.NotifyDelay
		}
		if wish == 0 || n&wish != 0 {
			return 0, badNotify
		}
		n |= wish
	}
	if n&queue.NotifyNever != 0 && n != queue.NotifyNever {
		return 0, badNotify
	}
	return n, nil
}

// isXtext holds RFC 3461 4 against a value. What it stands for must be
// printable: it is written into notices, where +0D+0A would begin a new field.
func isXtext(s string) bool {
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '+':
			r, ok := hexRune(s[i+1:min(i+3, len(s))], 2)
			if !ok || r < ' ' || r > '~' {
				return false
			}
			i += 2
		case c <= ' ' || c > '~' || c == '=':
			return false
		}
	}
	return s != ""
}

// isORcpt checks the type of an address, and the address as that type has it.
func isORcpt(s string) bool {
	kind, address, ok := strings.Cut(s, ";")
	if !ok || kind == "" || !isASCII(kind) || strings.ContainsFunc(kind, func(r rune) bool { return !isAtext(r) || r == '=' }) {
		return false
	}
	if capitals(kind) == "UTF-8" {
		return isUnitext(address)
	}
	return isXtext(address)
}

// isUnitext holds RFC 6533 3 against an address: as it is, but for what would
// be in the way in a command, which is written as \x{HEX}.
func isUnitext(s string) bool {
	var b strings.Builder
	for s != "" {
		if hex, ok := strings.CutPrefix(s, `\x{`); ok {
			hex, rest, closed := strings.Cut(hex, "}")
			r, ok := hexRune(hex, 6)
			if !ok || !closed {
				return false
			}
			b.WriteRune(r)
			s = rest
			continue
		}
		if strings.IndexByte(`\+=`, s[0]) >= 0 {
			return false
		}
		b.WriteByte(s[0])
		s = s[1:]
	}
	address := b.String()
	return checkOctets(address) == nil && isMailbox(address)
}

// hexRune reads two to most hexadecimal digits, which RFC 3461 4 and RFC 6533 3
// want in capitals.
func hexRune(s string, most int) (rune, bool) {
	if len(s) < 2 || len(s) > most || strings.Trim(s, "0123456789ABCDEF") != "" {
		return 0, false
	}
	n, err := strconv.ParseInt(s, 16, 32)
	return rune(n), err == nil && utf8.ValidRune(rune(n))
}

// merge joins what was asked for the same mailbox twice: it gets one copy, and
// its sender all that was asked for either time. To hear something stands over
// to hear nothing: one notice too many is a lesser harm than a loss in silence.
func merge(a, b queue.Addressee) queue.Addressee {
	if a.Notify != b.Notify {
		const unsaid = queue.NotifyFailure | queue.NotifyDelay // RFC 3461 4.1
		for _, n := range []*queue.Notify{&a.Notify, &b.Notify} {
			if *n == 0 {
				*n = unsaid
			}
		}
		a.Notify = (a.Notify | b.Notify) &^ queue.NotifyNever
	}
	if a.ORcpt == "" {
		a.ORcpt = b.ORcpt
	}
	return a
}
