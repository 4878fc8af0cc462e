package relay

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
)

// A reply may be long, but an upstream cannot fill our memory with one.
const (
	maxReplyBytes = 64 << 10
	maxReplyLines = 200
)

// Faults of the protocol.
var (
	errReplySize   = fmt.Errorf("a reply longer than %d KiB or %d lines", maxReplyBytes>>10, maxReplyLines)
	errReplySyntax = errors.New("not an SMTP reply")
	errEarly       = errors.New("a reply came before its command")
	errUnexpected  = errors.New("a reply that has no meaning here")

	// For people who do not know what EOF is.
	errHungUp = fmt.Errorf("the server closed the connection without a reply (%w)", io.EOF)
)

// syntaxError is errReplySyntax with the line that is no reply.
type syntaxError struct{ line []byte }

func (e *syntaxError) Error() string { return fmt.Sprintf("%v: %q", errReplySyntax, e.line) }
func (e *syntaxError) Unwrap() error { return errReplySyntax }

// readReply reads one reply (RFC 5321 4.2). It accepts a code alone on its
// line, with or without the space, and a line feed alone as the end of a line.
// The code of the last line counts.
func readReply(r *bufio.Reader) (Reply, error) {
	var text strings.Builder
	for lines, size := 0, 0; ; lines++ {
		line, n, err := readLine(r, maxReplyBytes-size)
		if err != nil {
			return Reply{}, err
		}
		if size += n; lines >= maxReplyLines {
			return Reply{}, errReplySize
		}
		code, last, ok := parseLine(line)
		if !ok {
			return Reply{}, &syntaxError{bytes.Clone(line[:min(len(line), 80)])}
		}
		if lines > 0 {
			text.WriteByte('\n')
		}
		if len(line) > 4 {
			text.Write(line[4:])
		}
		if last {
			reply := Reply{Code: code, Text: text.String()}
			reply.Enhanced = enhanced(code, reply.Text)
			return reply, nil
		}
	}
}

// readLine reads a line of at most budget octets and cuts its end off.
func readLine(r *bufio.Reader, budget int) (line []byte, n int, err error) {
	line, err = r.ReadSlice('\n')
	for n = len(line); err == bufio.ErrBufferFull; {
		if n > budget {
			break
		}
		long := append([]byte(nil), line...)
		line, err = r.ReadSlice('\n')
		n += len(line)
		line = append(long, line...)
	}
	if n > budget {
		return nil, n, errReplySize
	}
	if err == io.EOF {
		return nil, n, errHungUp
	}
	if err != nil {
		return nil, n, err
	}
	line = bytes.TrimSuffix(line[:len(line)-1], []byte{'\r'})
	return line, n, nil
}

// parseLine reads the code and whether this is the last line. Codes begin with
// 2 to 5: 1yz does not occur in SMTP (RFC 5321 4.2.1).
func parseLine(line []byte) (code int, last, ok bool) {
	if len(line) < 3 || line[0] < '2' || line[0] > '5' {
		return 0, false, false
	}
	for _, c := range line[:3] {
		if c < '0' || c > '9' {
			return 0, false, false
		}
		code = 10*code + int(c-'0')
	}
	if len(line) == 3 {
		return code, true, true
	}
	return code, line[3] == ' ', line[3] == ' ' || line[3] == '-'
}

// enhanced finds the first enhanced status code that begins a line. One whose
// class is not the reply code's is nonsense and is left out (RFC 2034 4).
func enhanced(code int, text string) string {
	for line := range strings.SplitSeq(text, "\n") {
		word, _, _ := strings.Cut(line, " ")
		if !isEnhanced(word) {
			continue
		}
		if int(word[0]-'0') != code/100 {
			return ""
		}
		return word
	}
	return ""
}

// isEnhanced says whether s is class.subject.detail (RFC 3463 2).
func isEnhanced(s string) bool {
	if len(s) < 5 || s[0] != '2' && s[0] != '4' && s[0] != '5' || s[1] != '.' {
		return false
	}
	subject, detail, ok := strings.Cut(s[2:], ".")
	return ok && upTo3Digits(subject) && upTo3Digits(detail)
}

func upTo3Digits(s string) bool {
	if len(s) < 1 || len(s) > 3 {
		return false
	}
	for _, c := range []byte(s) {
		if c < '0' || c > '9' {
			return false
		}
	}
	return true
}
