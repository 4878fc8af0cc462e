package gateway

import (
	"maps"
	"slices"
	"strings"
)

// suggest names the known key that was probably meant: one of the same table
// that is spelled alike, else one of the same name elsewhere.
func suggest(name, prefix string, here schema) string {
	names := slices.Sorted(maps.Keys(here))
	best := nearest(name, names)
	if distance(name, best) <= max(1, len(best)/3) {
		return "did you mean " + prefix + best + "?"
	}
	for _, key := range knownKeys() {
		if lastName(key) == name {
			return "did you mean " + key + "?"
		}
	}
	return "the nearest is " + prefix + best + "; known here: " + strings.Join(names, ", ")
}

// knownKeys are the full names of all keys.
func knownKeys() []string {
	c := Default()
	return (&decoder{config: &c}).schema().keys("")
}

func nearest(name string, names []string) string {
	return slices.MinFunc(names, func(a, b string) int { return distance(name, a) - distance(name, b) })
}

// distance is how many letters must be added, removed, changed or swapped
// with their neighbour to get from a to b (optimal string alignment).
func distance(a, b string) int {
	// Names are short; a long one is a stranger's, and just far away.
	if len(a) > 64 {
		return len(a)
	}
	before, last := make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range last {
		last[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row := make([]int, len(b)+1)
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			row[j] = min(row[j-1]+1, last[j]+1, last[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		before, last = last, row
	}
	return last[len(b)]
}
