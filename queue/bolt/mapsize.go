package bolt

import (
	"math"
	"runtime"
)

// mapSize is how much address space the file is given at once: a map that
// never has to grow never makes a commit wait for a reader. On Windows the
// file itself would grow to it, so there the map grows step by step.
func mapSize() int {
	switch {
	case runtime.GOOS == "windows":
		return 0
	case math.MaxInt == math.MaxInt32:
		return 512 << 20
	}
	return math.MaxInt & (64 << 30)
}
