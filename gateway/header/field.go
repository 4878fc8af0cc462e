package header

import "bytes"

var crlf = []byte("\r\n")

// Next cuts the first field off a section, with its folded lines and without
// the line end behind them.
func Next(section []byte) (field, rest []byte) {
	for i := 0; ; {
		j := bytes.Index(section[i:], crlf)
		if j < 0 {
			return section, nil
		}
		i += j + len(crlf)
		if i == len(section) || section[i] != ' ' && section[i] != '\t' {
			return section[:i-len(crlf)], section[i:]
		}
	}
}

// Cut splits a field; the name is nil when it is none (RFC 5322 2.2).
func Cut(field []byte) (name, value []byte) {
	i := bytes.IndexByte(field, ':')
	if i < 0 {
		return nil, nil
	}
	name = bytes.TrimRight(field[:i], " \t") // RFC 5322 4.5 allows the space
	for _, c := range name {
		if c <= ' ' || c > '~' {
			return nil, nil
		}
	}
	if len(name) == 0 {
		return nil, nil
	}
	return name, field[i+1:]
}
