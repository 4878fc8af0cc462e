package relay

import (
	"context"
	"net/netip"
)

// Warm sees to it that a kept session is ready for MAIL. It gives nil or an
// *Error.
func (u *Upstream) Warm(ctx context.Context) error { return nil }

// Roam is told of each major change of the network, by the identity of the new
// one: what was resolved is forgotten, set-ups begin anew, sessions that have
// not sent their dot are cut if their path is not what it was.
func (u *Upstream) Roam(network string) {}

// Endpoint is the endpoint that last worked, as host:port; "" before one did.
func (u *Upstream) Endpoint() string { return "" }

// Addrs are the addresses the upstream was last found at, and those that its
// endpoints name themselves.
func (u *Upstream) Addrs() []netip.Addr { return nil }
