package relay

// Roam is told of each major change of the network, by the identity of the new
// one, "" for none. What has no way yet (DNS, TCP) is cut, and so is a session
// whose way is another one, unless its dot has begun to leave; an AUTH under
// way only if its way is gone. Deliveries that this ends are Stopped by
// ErrRoamed; Probe, Login and Warm give an *Error that wraps it. What still has
// its way is left alone: another interface that comes up cuts nothing.
//
// Options.Path must know the new network before Roam is called.
func (u *Upstream) Roam(network string) {
	for _, cut := range u.roster.move(network) {
		cut()
	}
	u.idle.drop(func(c *conn) bool { return c.seat.isLost() })
}
