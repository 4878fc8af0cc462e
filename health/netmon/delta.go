package netmon

import "time"

// Delta is a change of the network and what it amounts to.
type Delta struct {
	Old, New Snapshot
	// Major: what was known about who can be reached is worth nothing now.
	Major   bool
	Offline bool          // New leads nowhere: no interface but loopback
	Slept   time.Duration // the machine was suspended for so long
	Why     []string      // for people, the weightiest first
}

// NewDelta compares two snapshots.
func NewDelta(before, after Snapshot, slept time.Duration) Delta {
	return Delta{Old: before, New: after}
}
