package relay

import (
	"strconv"
	"strings"
)

// capabilities are what an EHLO reply announces.
type capabilities struct {
	pipelining, eightBit, startTLS bool
	utf8, dsn, requireTLS          bool // RFC 6531, RFC 3461, RFC 8689
	sizeOffered                    bool
	size                           int64 // 0: no fixed limit
	messages, recipients           int   // MAIL in a session, RCPT in a transaction (RFC 9422); 0: no limit told
	domains                        int   // of recipients in a session (RFC 9422); 0: no limit told
	auth                           []string
}

// parseEHLO reads the lines after the first. Keywords come in any case (RFC
// 5321 2.4), and AUTH= is how it was written before RFC 2554.
func parseEHLO(text string) (c capabilities) {
	_, rest, _ := strings.Cut(text, "\n")
	for line := range strings.SplitSeq(rest, "\n") {
		words := strings.Fields(strings.ToUpper(line))
		if len(words) == 0 {
			continue
		}
		switch keyword := words[0]; {
		case keyword == "PIPELINING":
			c.pipelining = true
		case keyword == "8BITMIME":
			c.eightBit = true
		case keyword == "STARTTLS":
			c.startTLS = true
		case keyword == "SMTPUTF8":
			c.utf8 = true
		case keyword == "DSN":
			c.dsn = true
		case keyword == "REQUIRETLS":
			c.requireTLS = true
		case keyword == "LIMITS":
			c.limit(words[1:])
		case keyword == "SIZE":
			c.sizeOffered = true
			if len(words) > 1 {
				// Up to 20 digits (RFC 1870 3): more than we can count is no limit.
				if n, err := strconv.ParseInt(words[1], 10, 64); err == nil && n > 0 {
					c.size = n
				}
			}
		case keyword == "AUTH":
			c.auth = append(c.auth, words[1:]...)
		case strings.HasPrefix(keyword, "AUTH="):
			c.auth = append(append(c.auth, keyword[len("AUTH="):]), words[1:]...)
		}
	}
	return c
}

// carriesUTF8 says that SMTPUTF8 is offered, and 8BITMIME, without which it is
// no use (RFC 6531 3.1).
func (c *capabilities) carriesUTF8() bool { return c.utf8 && c.eightBit }

// limit reads the values of LIMITS. What is unknown or malformed is left out
// (RFC 9422 3).
func (c *capabilities) limit(words []string) {
	for _, w := range words {
		name, value, _ := strings.Cut(w, "=")
		n, err := strconv.Atoi(value)
		if err != nil || n < 1 || len(value) > 6 {
			continue
		}
		switch name {
		case "MAILMAX":
			c.messages = n
		case "RCPTMAX":
			c.recipients = n
		case "RCPTDOMAINMAX":
			c.domains = n
		}
	}
}
