package relay

import (
	"strconv"
	"strings"
	"unicode/utf8"
)

// params says which parameters the commands of a transaction carry: only what
// is offered (RFC 5321 4.1.1.11).
type params struct {
	eightBit, utf8, requireTLS bool
	size, dsn                  bool // may be left out, if need be
}

// mail appends the parameters of MAIL.
func (p params) mail(out []byte, e *Envelope) []byte {
	if p.size {
		out = strconv.AppendInt(append(out, " SIZE="...), e.Size, 10)
	}
	if p.eightBit {
		out = append(out, " BODY=8BITMIME"...)
	}
	if p.utf8 {
		out = append(out, " SMTPUTF8"...)
	}
	if p.requireTLS {
		out = append(out, " REQUIRETLS"...)
	}
	if p.dsn {
		if e.Ret == "FULL" || e.Ret == "HDRS" {
			out = append(append(out, " RET="...), e.Ret...)
		}
		if e.EnvID != "" && isEnvID(e.EnvID) {
			out = append(append(out, " ENVID="...), e.EnvID...)
		}
	}
	return out
}

// rcpt appends the parameters of RCPT.
func (p params) rcpt(out []byte, r *Recipient) []byte {
	if !p.dsn {
		return out
	}
	if r.Notify != "" && isNotify(r.Notify) {
		out = append(append(out, " NOTIFY="...), r.Notify...)
	}
	if r.ORcpt != "" && isORcpt(r.ORcpt, p.utf8) {
		out = append(append(out, " ORCPT="...), r.ORcpt...)
	}
	return out
}

// spareMail says that MAIL carries what it could do without.
func (p params) spareMail(e *Envelope) bool {
	return p.size || p.dsn && (e.Ret != "" || e.EnvID != "")
}

// spareRcpt says the same of RCPT.
func (p params) spareRcpt(r *Recipient) bool { return p.dsn && (r.Notify != "" || r.ORcpt != "") }

// refusesParams says that a reply to MAIL or RCPT may be about its parameters:
// 555, or 501 or 504 unless it is about something else (RFC 5321 4.1.1.11).
func refusesParams(r Reply) bool {
	switch r.Code {
	case 501, 504, 555:
		return r.Enhanced == "" || r.Enhanced == "5.5.4"
	}
	return false
}

// What is let in was checked, so the following only guard against what would be
// an injection: a parameter that fails is left out, since the mail matters more
// than the words of a notice.

// isNotify checks NOTIFY (RFC 3461 4.1).
func isNotify(s string) bool {
	if s == "NEVER" {
		return true
	}
	for word := range strings.SplitSeq(s, ",") {
		if word != "SUCCESS" && word != "FAILURE" && word != "DELAY" {
			return false
		}
	}
	return true
}

// isEnvID checks ENVID (RFC 3461 4.4).
func isEnvID(s string) bool { return len(s) <= 100 && isXtext(s, false) }

// isORcpt checks ORCPT: a type of address, and xtext (RFC 3461 4.2); UTF-8 as it
// is only where the transaction says SMTPUTF8 (RFC 6533 3).
func isORcpt(s string, wide bool) bool {
	kind, address, ok := strings.Cut(s, ";")
	return ok && len(s) <= 500 && isAtom(kind) && isXtext(address, wide && strings.EqualFold(kind, "utf-8"))
}

func isAtom(s string) bool {
	for _, c := range []byte(s) {
		if c != '-' && (c < '0' || c > '9') && (c < 'A' || c > 'Z') && (c < 'a' || c > 'z') {
			return false
		}
	}
	return s != ""
}

// isXtext checks xtext (RFC 3461 4), of which no control character may come out
// when it is decoded.
func isXtext(s string, beyond bool) bool {
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c >= utf8.RuneSelf:
			n := wide(s[i:])
			if !beyond || n == 0 {
				return false
			}
			i += n - 1
		case c == '+':
			if i+2 >= len(s) || !isUpperHex(s[i+1]) || !isUpperHex(s[i+2]) {
				return false
			}
			if d, err := strconv.ParseUint(s[i+1:i+3], 16, 8); err != nil || d < ' ' || d > '~' {
				return false
			}
			i += 2
		case c < '!' || c > '~' || c == '=':
			return false
		}
	}
	return s != ""
}

func isUpperHex(c byte) bool { return '0' <= c && c <= '9' || 'A' <= c && c <= 'F' }
