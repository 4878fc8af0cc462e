package msa

import (
	"context"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"time"

	"mailroam/queue"
)

const (
	maxLogged   = 200 // octets of a text
	maxListed   = 3   // recipients named
	maxRefusals = 20  // logged for one connection
	maxErrors   = 20  // of syntax or order, before the connection ends
	maxUnknown  = 3   // unknown commands before it does
)

// tally counts what went wrong on a connection.
type tally struct {
	errors, unknown, logged int
}

// note sees each reply line: it logs refusals and ends a dialogue that is only
// errors. A reply that will not leave is none.
func (s *session) note(line []byte) {
	if line[0] != '4' && line[0] != '5' || s.conn.mute.Load() {
		return
	}
	code, enhanced, text := splitReply(string(line))
	s.rejected(code, enhanced, text)
	switch code {
	case 500, 501, 502, 503, 504, 555:
		s.tally.errors++
	}
	if s.conn.err == nil && (s.tally.errors > maxErrors || s.tally.unknown > maxUnknown) {
		s.conn.err = tooManyErrors
	}
}

// splitReply reads a reply line of our own making.
func splitReply(line string) (code int, enhanced, text string) {
	line = strings.TrimSpace(line)
	code, _ = strconv.Atoi(line[:min(3, len(line))])
	rest := line[min(4, len(line)):]
	if e, t, ok := strings.Cut(rest, " "); ok && strings.Count(e, ".") == 2 {
		return code, e, t
	}
	return code, "", rest
}

func (s *session) rejected(code int, enhanced, text string) {
	if s.tally.logged++; s.tally.logged > maxRefusals {
		return
	}
	if s.tally.logged == maxRefusals {
		text += " (what else this connection is refused is not logged)"
	}
	from, to := s.env.from, s.cmd.path
	if s.cmd.verb == "MAIL" {
		from, to = s.cmd.path, "" // the sender that was refused
	}
	s.server.Log.LogAttrs(s.work, slog.LevelInfo, "rejected",
		slog.String("client", s.conn.client()), slog.String("helo", s.helo),
		slog.String("from", from), slog.String("to", to),
		slog.Int("code", code), slog.String("enhanced", enhanced), slog.String("text", text))
}

// accepted needs no escaping: what a client can put into these was checked.
func (s *session) accepted(id queue.ID, env envelope, size int64) {
	s.server.Log.LogAttrs(s.work, slog.LevelInfo, "accepted",
		slog.String("id", id.String()), slog.String("from", env.from), slog.Any("to", some(env.rcpts)),
		slog.Int64("size", size), slog.Duration("took", time.Since(env.began).Round(time.Millisecond)),
		slog.String("client", s.conn.client()))
}

// some names the first recipients and counts the others.
func some(rcpts []queue.Addressee) []string {
	list := make([]string, 0, maxListed+1)
	for _, r := range rcpts[:min(len(rcpts), maxListed)] {
		list = append(list, r.Address)
	}
	if more := len(rcpts) - maxListed; more > 0 {
		list = append(list, fmt.Sprintf("+%d", more))
	}
	return list
}

// complaints takes what go-smtp logs: panics, and failures to accept.
type complaints struct{ log *slog.Logger }

func (c complaints) Printf(format string, v ...any) {
	c.log.LogAttrs(context.Background(), slog.LevelError, "alert",
		slog.String("text", queue.Printable(fmt.Sprintf(format, v...), 4<<10)))
}

func (c complaints) Println(v ...any) { c.Printf("%s", fmt.Sprintln(v...)) }

// client names the other end for the log and the queue.
func (c *conn) client() string {
	if !c.addr.IsValid() {
		return ""
	}
	return c.addr.String()
}
