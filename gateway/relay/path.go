package relay

import "errors"

var errPath = errors.New("an address that cannot be sent")

// checkPath asserts that an address is only itself on the wire: printable
// ASCII, and outside of quotes neither space nor angle bracket, which could
// end the path and begin a parameter.
func checkPath(path string) error {
	quoted := false
	for i := 0; i < len(path); i++ {
		c := path[i]
		switch {
		case c < ' ' || c > '~':
			return errPath
		case c == '"':
			quoted = !quoted
		case c == '\\' && quoted:
			i++
			if i == len(path) || path[i] < ' ' || path[i] > '~' {
				return errPath
			}
		case !quoted && (c == ' ' || c == '<' || c == '>'):
			return errPath
		}
	}
	if quoted {
		return errPath
	}
	return nil
}
