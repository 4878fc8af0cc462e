package relay

import (
	"strconv"
	"strings"
)

// capabilities are what an EHLO reply announces.
type capabilities struct {
	pipelining, eightBit, startTLS bool
	sizeOffered                    bool
	size                           int64 // 0: no fixed limit
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
