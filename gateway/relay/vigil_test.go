package relay

import (
	"errors"
	"net"
	"testing"
	"time"
)

// A reply to MAIL that comes while the vigil cuts the session is of no use: the
// message goes by another session, and nobody is charged for the cut.
func TestCutAtTheReplyToMail(t *testing.T) {
	client, server := net.Pipe()
	defer server.Close()
	c := newConn(Endpoint{}, client)
	c.kept = true
	begun := false
	d := &Delivery{Begin: func() bool { begun = true; return true }}
	p := &pass{u: New(Options{}), d: d, c: c, wanted: t.Context(), watch: unwatched()}
	tx := &transaction{pass: p, vigil: &vigil{c: c, timer: time.NewTimer(time.Hour), found: true}, detach: func() bool { return true }}
	err := tx.hear(t.Context(), expected{stage: Mail}, Reply{Code: 250})
	if !errors.Is(err, errUnheard) || begun {
		t.Errorf("%v, begun %t", err, begun)
	}
}
