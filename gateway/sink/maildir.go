package sink

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"time"
)

// file puts a message in the Maildir, the final delivery's trace fields on top
// (RFC 5321 4.4) and the received octets unchanged below. Nothing is synced:
// this is practice.
func (s *Server) file(m Message) error {
	var b bytes.Buffer
	fmt.Fprintf(&b, "Return-Path: <%s>\r\n", m.From)
	for _, to := range m.To {
		fmt.Fprintf(&b, "Delivered-To: %s\r\n", to)
	}
	b.Write(m.Body)
	for _, sub := range []string{"tmp", "new", "cur"} {
		if err := os.MkdirAll(filepath.Join(s.opts.Dir, sub), 0o700); err != nil {
			return err
		}
	}
	name := fmt.Sprintf("%d.M%dP%dQ%d.sink", m.At.Unix(), m.At.Nanosecond()/int(time.Microsecond), os.Getpid(), s.files.Add(1))
	tmp := filepath.Join(s.opts.Dir, "tmp", name)
	if err := os.WriteFile(tmp, b.Bytes(), 0o600); err != nil {
		return err
	}
	return os.Rename(tmp, filepath.Join(s.opts.Dir, "new", name))
}
