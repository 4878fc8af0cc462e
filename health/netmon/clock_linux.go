package netmon

import (
	"time"

	"golang.org/x/sys/unix"
)

// newClock reads CLOCK_BOOTTIME, which nobody can set: a wall clock that is put
// right is no sleep.
func newClock() func() reading {
	read := func(clock int32) time.Duration {
		var ts unix.Timespec
		_ = unix.ClockGettime(clock, &ts) // both clocks are older than the kernels Go runs on
		return time.Duration(ts.Nano())
	}
	return func() reading {
		return reading{boot: read(unix.CLOCK_BOOTTIME), mono: read(unix.CLOCK_MONOTONIC)}
	}
}
