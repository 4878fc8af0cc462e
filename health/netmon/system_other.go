//go:build !linux

package netmon

// newSystem has no events to follow.
func newSystem() system { return system{look: working(poll), clock: newClock()} }
