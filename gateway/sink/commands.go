package sink

import (
	"strconv"
	"strings"
)

func (s *session) mail(args string) error {
	if s.open {
		s.reply("503 5.5.1 one MAIL at a time")
		return nil
	}
	s.msg = int(s.srv.transactions.Add(1))
	from, params, ok := path(args, "FROM:")
	normal := "250 2.1.0 ok"
	switch {
	case !ok:
		normal = "501 5.1.7 want MAIL FROM:<address>"
	case s.srv.opts.Users != nil && s.user == "":
		normal = "530 5.7.0 authentication required"
	default:
		if bad := s.params(params); bad != "" {
			normal = bad
		}
	}
	code, err := s.answer(Mail, "", normal)
	if code/100 == 2 {
		s.open, s.from, s.mailParams = true, from, params
	}
	return err
}

// params checks the parameters of MAIL; only what was offered may be used
// (RFC 5321 4.1.1.11).
func (s *session) params(params string) (bad string) {
	for p := range strings.FieldsSeq(params) {
		key, value, _ := strings.Cut(p, "=")
		switch key = strings.ToUpper(key); {
		case key == "SIZE" && s.offers("SIZE"):
			n, err := strconv.ParseInt(value, 10, 64)
			if err != nil {
				return "501 5.5.4 bad SIZE"
			}
			if s.srv.opts.Size > 0 && n > s.srv.opts.Size {
				return "552 5.3.4 too big"
			}
		case key == "BODY" && s.offers("8BITMIME"):
		case (key == "SMTPUTF8" || key == "REQUIRETLS") && s.adds(key):
		case (key == "RET" || key == "ENVID") && s.adds("DSN"):
		default:
			return "555 5.5.4 parameter not offered"
		}
	}
	return ""
}

func (s *session) rcpt(args string) error {
	to, params, ok := path(args, "TO:")
	normal := "250 2.1.5 ok"
	switch {
	case !s.open:
		normal = "503 5.5.1 MAIL first"
	case !ok || to == "":
		normal = "501 5.1.3 want RCPT TO:<address>"
	case params != "" && !s.adds("DSN"):
		normal = "555 5.5.4 parameter not offered"
	}
	code, err := s.answer(Rcpt, to, normal)
	if code/100 == 2 && s.open {
		s.to = append(s.to, to)
		if s.adds("DSN") {
			s.rcptParams = append(s.rcptParams, params)
		}
	}
	return err
}

// path reads "FROM:<address> params"; a quoted local part may hold anything.
func path(args, prefix string) (address, params string, ok bool) {
	if len(args) < len(prefix) || !strings.EqualFold(args[:len(prefix)], prefix) {
		return "", "", false
	}
	args = strings.TrimLeft(args[len(prefix):], " ")
	if args == "" || args[0] != '<' {
		return "", "", false
	}
	quoted := false
	for i := 1; i < len(args); i++ {
		switch c := args[i]; {
		case quoted && c == '\\':
			i++
		case c == '"':
			quoted = !quoted
		case !quoted && c == '>':
			return args[1:i], strings.TrimSpace(args[i+1:]), true
		}
	}
	return "", "", false
}

func (s *session) data() error {
	normal := "354 go ahead"
	switch {
	case !s.open:
		normal = "503 5.5.1 MAIL first"
	case len(s.to) == 0:
		normal = "554 5.5.1 no valid recipients"
	}
	code, err := s.answer(Data, "", normal)
	if err != nil || code != 354 {
		return err
	}
	if err := s.out.Flush(); err != nil {
		return err
	}
	body, err := s.body()
	if err != nil {
		return err
	}
	err = s.dot(body)
	s.forget()
	return err
}
