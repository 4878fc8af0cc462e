package sink

import (
	"encoding/base64"
	"strings"
)

// auth does PLAIN and LOGIN, with and without an initial response (RFC 4954).
func (s *session) auth(args string) error {
	if s.srv.opts.Users == nil {
		s.reply("502 5.5.1 no AUTH here")
		return nil
	}
	mechanism, initial, _ := strings.Cut(args, " ")
	ask := func(prompt string) (string, error) {
		line := initial
		if initial = ""; line == "" {
			s.reply("334 " + base64.StdEncoding.EncodeToString([]byte(prompt)))
			var err error
			if line, err = s.readLine(); err != nil {
				return "", err
			}
		}
		b, err := base64.StdEncoding.DecodeString(line)
		if err != nil {
			return "*", nil
		}
		return string(b), nil
	}
	var user, pass string
	switch strings.ToUpper(mechanism) {
	case "PLAIN":
		resp, err := ask("")
		if err != nil {
			return err
		}
		if part := strings.Split(resp, "\x00"); len(part) == 3 {
			user, pass = part[1], part[2]
		}
	case "LOGIN":
		var err error
		if user, err = ask("Username:"); err == nil {
			pass, err = ask("Password:")
		}
		if err != nil {
			return err
		}
	default:
		s.reply("504 5.5.4 no such mechanism")
		return nil
	}
	normal := "535 5.7.8 wrong user name or password"
	if want, ok := s.srv.opts.Users[user]; ok && want == pass {
		normal = "235 2.7.0 welcome"
	}
	code, err := s.answer(Auth, "", normal)
	if code == 235 {
		s.user = user
	}
	return err
}
