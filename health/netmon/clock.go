package netmon

import "time"

// reading is what two clocks show at one moment; only differences matter.
type reading struct {
	boot time.Duration // goes on while the machine sleeps
	mono time.Duration // stands still then
}

// slept is for how long the machine was suspended between two readings. What
// is below a second may be that the clocks are not read at the same instant, or
// that one of them is being adjusted.
func slept(before, now reading) time.Duration {
	if d := (now.boot - before.boot) - (now.mono - before.mono); d >= time.Second {
		return d
	}
	return 0
}
