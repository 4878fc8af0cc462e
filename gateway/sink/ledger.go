package sink

import (
	"bytes"
	"fmt"
	"strings"
	"time"
)

// headMax is how much of a body is kept for its Message-ID.
const headMax = 64 << 10

// note writes one line to the ledger.
func (s *Server) note(event, id, rest string) {
	if s.opts.Ledger == nil {
		return
	}
	line := fmt.Sprintf("%s %s %s %s\n", event, id, time.Now().UTC().Format(time.RFC3339Nano), rest)
	if _, err := s.opts.Ledger.Write([]byte(line)); err != nil {
		s.log.Error("writing the ledger", "err", err)
	}
}

// messageID finds the Message-ID in a header section, "-" if there is none.
func messageID(head []byte) string {
	for line := range bytes.Lines(head) {
		if len(bytes.TrimRight(line, "\r\n")) == 0 {
			break
		}
		if name, value, ok := strings.Cut(string(line), ":"); ok && strings.EqualFold(name, "Message-ID") {
			if id := strings.Join(strings.Fields(value), ""); id != "" {
				return id
			}
		}
	}
	return "-"
}
