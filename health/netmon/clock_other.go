//go:build !linux

package netmon

import "time"

// newClock compares wall time with the monotonic clock. A wall clock that is
// put forward looks like sleep, which costs a few probes; where the monotonic
// clock goes on during sleep (Windows), sleep is not seen by itself.
func newClock() func() reading {
	start := time.Now()
	return func() reading {
		now := time.Now()
		return reading{boot: now.Round(0).Sub(start.Round(0)), mono: now.Sub(start)}
	}
}
