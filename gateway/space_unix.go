//go:build unix

package gateway

import "golang.org/x/sys/unix"

// diskSpace gives the octets free for us and in all on the file system of dir.
func diskSpace(dir string) (free, total int64, ok bool) {
	var s unix.Statfs_t
	if err := unix.Statfs(dir, &s); err != nil {
		return 0, 0, false
	}
	return int64(s.Bavail) * int64(s.Bsize), int64(s.Blocks) * int64(s.Bsize), true
}
