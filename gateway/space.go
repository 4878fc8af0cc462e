package gateway

import (
	"mailroam/queue"
)

// reserve is the space new mail may not touch: what is left of it lets the
// queue record deliveries and write notices, which is the way to get space
// back.
const reserve = 64 << 20

// room says whether the disk can take a message of size octets. The queue
// needs about twice that while it is published. It asks the file system, never
// the store: a full store must still answer.
func room(dir string, size int64) error {
	free, total, ok := diskSpace(dir)
	if ok && free < min(reserve, total/20)+2*max(size, 0) {
		return queue.ErrFull
	}
	return nil
}
