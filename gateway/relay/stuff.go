package relay

import (
	"bytes"
	"errors"
)

// errForm says that a body is not in SMTP's form: with a bare CR, a bare LF or
// a NUL in it, an upstream that is generous about line ends could be made to
// see its end where it is not.
var errForm = errors.New("a bare CR, bare LF or NUL in the message")

// lines is where a body that passes through stands.
type lines struct {
	within  bool // a line has begun
	afterCR bool
}

// stuff appends chunk to out, dots doubled at the beginning of lines (RFC 5321
// 4.5.2). Chunks may end anywhere.
func (l *lines) stuff(out, chunk []byte) ([]byte, error) {
	for len(chunk) > 0 {
		if l.afterCR {
			if chunk[0] != '\n' {
				return out, errForm
			}
			out, chunk = append(out, '\n'), chunk[1:]
			*l = lines{}
			continue
		}
		if !l.within && chunk[0] == '.' {
			out = append(out, '.')
		}
		line, text := chunk, chunk
		if i := bytes.IndexByte(chunk, '\n'); i >= 0 {
			line = chunk[:i+1]
			text = bytes.TrimSuffix(line, []byte("\r\n"))
			*l = lines{}
		} else if last := len(chunk) - 1; chunk[last] == '\r' {
			text = chunk[:last]
			*l = lines{within: true, afterCR: true}
		} else {
			l.within = true
		}
		// What is left of a line that ends with LF alone still holds it.
		if bytes.IndexByte(text, '\r') >= 0 || bytes.IndexByte(text, 0) >= 0 || len(text) == len(line) && line[len(line)-1] == '\n' {
			return out, errForm
		}
		out, chunk = append(out, line...), chunk[len(line):]
	}
	return out, nil
}

// end appends the final dot, on a line of its own.
func (l *lines) end(out []byte) ([]byte, error) {
	if l.afterCR {
		return out, errForm
	}
	if l.within {
		out = append(out, "\r\n"...)
	}
	return append(out, ".\r\n"...), nil
}
