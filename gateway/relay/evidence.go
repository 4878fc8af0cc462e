package relay

import "errors"

// errKept says that the message was not sent, though the kernel had taken it.
var errKept = errors.New("the connection died before the end of the message had left this machine")

// evidence is how far the final dot got, when its reply does not come.
type evidence int

const (
	inDoubt evidence = iota // it was acknowledged, or there is no telling
	unacked                 // it left, or may have
	kept                    // it never left
)

// tcp is what the kernel tells of a connection.
type tcp struct {
	dead    bool // it is over for the kernel: reset, or given up
	ended   bool // the peer has closed its side
	unsent  int  // octets that it was given and never sent
	waiting int  // octets that the peer did not acknowledge, the unsent included
	later   int  // octets that were written after the dot: TLS answers some records by itself
}

// tell reads the evidence. But for what is later, the dot was the last that was
// written, so whatever is left over, the dot is a part of.
//
// Only of a dead connection can be said that what was not sent never will be:
// from a live one, even from one whose peer has closed its side, it may still
// leave, also between the look and the close. A connection that is alive in both
// directions has brought the dot over, or TCP would have given up long before we
// do (RFC 5482).
func (c tcp) tell() evidence {
	switch {
	case c.dead && c.unsent > c.later:
		return kept
	case (c.dead || c.ended) && c.waiting > c.later:
		return unacked
	default:
		return inDoubt
	}
}
