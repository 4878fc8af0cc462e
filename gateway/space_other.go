//go:build !unix

package gateway

// diskSpace is not known here; a write that fails still tells.
func diskSpace(string) (free, total int64, ok bool) { return 0, 0, false }
