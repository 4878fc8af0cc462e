package dsn

import (
	"bytes"
	"net"
	"strconv"
	"strings"
	"time"

	"mailroam/queue"
)

// status is the part for programs (RFC 3464 2.2 and 2.3), and of how many
// recipients it tells.
func (r Report) status() (text []byte, told int) {
	var b bytes.Buffer
	if id := r.Message.Return.EnvID; id != "" { // RFC 3461 6.3 (b)
		plain, ok := unxtext(id)
		if !ok {
			plain = printASCII(id, 200)
		}
		line(&b, "Original-Envelope-Id: %s", printASCII(plain, 200))
	}
	line(&b, "Reporting-MTA: dns; %s", printASCII(r.Hostname, 255))
	line(&b, "Arrival-Date: %s", r.Message.Accepted.UTC().Format(time.RFC1123Z))
	room := maxStatus
	if r.Message.UTF8 && !r.EightBit { // it may have to be encoded
		room /= 3
	}
	for _, e := range r.About {
		end := b.Len()
		line(&b, "")
		r.recipient(&b, e)
		if told > 0 && b.Len() > room {
			b.Truncate(end)
			break
		}
		told++
	}
	return b.Bytes(), told
}

func (r Report) recipient(b *bytes.Buffer, e queue.Recipient) {
	if o := r.original(e.ORcpt); o != "" {
		line(b, "Original-Recipient: %s", o)
	}
	line(b, "Final-Recipient: %s", r.typed(e.Address))
	line(b, "Action: %s", r.Kind)
	line(b, "Status: %s", r.code(e))
	at, host := r.tried(e.Last.Upstream)
	if host != "" {
		line(b, "Remote-MTA: dns; %s", printASCII(host, 255))
	}
	if e.Last.Code != 0 {
		diagnosis := printASCII
		if r.Message.UTF8 { // RFC 6533 4
			diagnosis = printable
		}
		line(b, "Diagnostic-Code: smtp; %s", diagnosis(e.Last.String(), maxText))
	}
	if !at.IsZero() {
		line(b, "Last-Attempt-Date: %s", at.UTC().Format(time.RFC1123Z))
	}
	line(b, "Final-Log-ID: %s", r.Message.ID)
	if r.Kind == Delayed && !r.Until.IsZero() {
		line(b, "Will-Retry-Until: %s", r.Until.UTC().Format(time.RFC1123Z))
	}
}

// tried is when an upstream was last tried, and which of its hosts answered.
func (r Report) tried(upstream string) (at time.Time, host string) {
	for _, a := range r.Message.Attempts {
		if a.Upstream != upstream {
			continue
		}
		at = a.At
		if h, _, err := net.SplitHostPort(a.Endpoint); err == nil {
			host = h
		}
	}
	return at, host
}

// code gives a status whose class fits the action (RFC 3464 2.3.4): 5 for a
// failure or, when the time ran out, 4; 4 for a delay; 2 for success.
func (r Report) code(e queue.Recipient) string {
	given := e.Last.Enhanced
	if !wellFormed(given) {
		given = ""
	}
	switch {
	case r.Kind == Relayed:
		if strings.HasPrefix(given, "2.") {
			return given
		}
		return "2.0.0"
	case r.Kind == Delayed:
		if len(given) > 1 && given[0] != '2' { // refused for good by all, and kept all the same
			return "4" + given[1:]
		}
		return "4.4.1" // no answer from the host
	case e.State == queue.Expired:
		return "4.4.7" // delivery time expired
	case strings.HasPrefix(given, "5."):
		return given
	default:
		return "5.0.0"
	}
}

// wellFormed says whether s is an enhanced status code (RFC 3463 2).
func wellFormed(s string) bool {
	numbers := strings.Split(s, ".")
	for _, n := range numbers {
		if v, err := strconv.ParseUint(n, 10, 16); err != nil || v > 999 {
			return false
		}
	}
	return len(numbers) == 3 && strings.Contains("2 4 5", numbers[0])
}
