package gateway

import (
	"log/slog"
	"sync/atomic"

	"mailroam/queue"
)

// reserve is the space new mail may not touch: what is left of it lets the
// queue record deliveries and write notices, which is the way to get space
// back.
const reserve = 64 << 10

// fullDisk is told while the door is shut because nothing could be kept.
const fullDisk = "the disk is full: no mail is taken before there is room, queued mail is sent"

// door lets mail in while the disk has room for it. It asks the file system,
// never the store: a full store must still answer.
type door struct {
	log   *slog.Logger
	space func() (free, total int64, ok bool)
	shut  atomic.Bool // is in the log
}

// admit says whether the disk can take a message of size octets. The queue
// needs about twice that while it is published.
func (d *door) admit(size int64) error {
	free, total, ok := d.space()
	if !ok {
		return nil // a write that fails still tells
	}
	spare := free - min(reserve, total/20)
	d.tell(spare < 0)
	if spare < 2*max(size, 0) {
		return queue.ErrFull
	}
	return nil
}

// tell logs once that the door shuts for everybody, and once that it opens.
func (d *door) tell(shut bool) {
	switch {
	case d.shut.Swap(shut) == shut:
	case shut:
		d.log.Error("alert", "text", fullDisk)
	default:
		d.log.Info("alert", "text", "the disk has room again: mail is taken")
	}
}
