package relay

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

// ParseReply reads a reply as people quote it: line by line as it was sent, or
// all on one line, as logs have it.
func ParseReply(text string) (Reply, error) {
	text = strings.TrimSpace(text)
	if !quotedReply.MatchString(text) || len(text) > maxReplyBytes {
		return Reply{}, fmt.Errorf("%w: one begins with its code, as in %q", errReplySyntax, "550 5.1.1 no such user")
	}
	code, err := strconv.Atoi(text[:3])
	if err != nil {
		return Reply{}, err
	}
	first := text[3:]
	if strings.HasPrefix(first, "-") { // others follow, each with its code
		first = strings.NewReplacer(" "+text[:3]+"-", "\n", " "+text[:3]+" ", "\n").Replace(first)
	}
	var lines []string
	for line := range strings.Lines(first) {
		line = strings.TrimSpace(line)
		if rest, ok := strings.CutPrefix(line, text[:3]); ok && (rest == "" || rest[0] == ' ' || rest[0] == '-') {
			line = rest
		}
		lines = append(lines, strings.TrimSpace(strings.TrimPrefix(line, "-")))
	}
	r := Reply{Code: code, Text: strings.Join(lines, "\n")}
	r.Enhanced = enhanced(code, r.Text)
	return r, nil
}

var quotedReply = regexp.MustCompile(`^[2-5]\d\d([ -]|\r?\n|$)`)

// Refuses says 4xx or 5xx.
func (r Reply) Refuses() bool { return r.Code/100 == 4 || r.Code/100 == 5 }
