//go:build !linux

package bolt

import (
	"math"
	"os"
)

// Where the system is not known well enough the disk counts as large, and the
// file is opened unchecked.

func free(string) (int64, error) { return math.MaxInt64, nil }

func capacity(string) (int64, error) { return math.MaxInt64, nil }

func preallocate(f *os.File, n int64) error { return fill(f, 0, n) }

func dropCache(*os.File) error { return nil }

func lock(*os.File, bool) error { return nil } // bbolt does it

func check(*os.File) error { return nil }
