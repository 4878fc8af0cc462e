package health

import "time"

// Failback is when mail returns to an upstream that was down. Until then it is
// used only when no better one is there. The health.rise passes are owed in any
// case, and another network starts all from the beginning.
type Failback struct {
	NetworkChange bool          // not before the network changes
	After         time.Duration // not before it has been up for so long; 0: as soon as it is up
}

// holds says that an upstream that came back is not preferred yet.
func (b Failback) holds(t tracker, now time.Time) bool {
	return t.fell && (b.NetworkChange || now.Sub(t.Since) < b.After)
}

// settle lets an upstream that came back, and was preferred again, be doubted
// once without waiting for all of it anew.
func (b Failback) settle(before, next tracker, now time.Time) tracker {
	if before.Reach == up && next.Reach == suspect && !b.holds(before, now) {
		next.fell = false
	}
	return next
}
