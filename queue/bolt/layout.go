package bolt

import (
	"encoding/binary"
	"math"
	"time"

	"mailroam/queue"
)

// schema is the layout of the file that this program writes; it reads 1 as well,
// whose messages are records of version 1 (package queue). A program that knows
// only that one must not take the others for damaged.
const schema = 2

// The buckets, by their names in the file.
const (
	bMeta       = "meta"
	bEnv        = "env"
	bPast       = "past"
	bBody       = "body"
	bStage      = "stage"
	bDue        = "due"
	bAge        = "age"
	bLease      = "lease"
	bHeld       = "held"
	bDone       = "done"
	bQuarantine = "quarantine"
)

var buckets = [...]string{bMeta, bEnv, bPast, bBody, bStage, bDue, bAge, bLease, bHeld, bDone, bQuarantine}

const (
	idLen   = len(queue.ID{})
	timeLen = 8
)

// The keys of meta.
var (
	keySchema  = []byte("schema")
	keySession = []byte("session")
)

// instant is a time as a key: times outside 1970 to 2262 sort at the ends.
func instant(t time.Time) uint64 {
	switch s := t.Unix(); {
	case s < 0:
		return 0
	case s >= math.MaxInt64/int64(time.Second):
		return math.MaxInt64
	}
	return uint64(t.UnixNano())
}

func timeKey(t time.Time, id queue.ID) []byte {
	k := binary.BigEndian.AppendUint64(make([]byte, 0, timeLen+idLen), instant(t))
	return append(k, id[:]...)
}

// dueKey relies on lanes without NUL, which queue.Filing.Check ensures.
func dueKey(lane string, t time.Time, id queue.ID) []byte {
	k := make([]byte, 0, len(lane)+1+timeLen+idLen)
	k = append(append(k, lane...), 0)
	k = binary.BigEndian.AppendUint64(k, instant(t))
	return append(k, id[:]...)
}

// splitTime reads the end that age, done and due keys have in common.
func splitTime(k []byte) (uint64, queue.ID) {
	tail := k[len(k)-timeLen-idLen:]
	return binary.BigEndian.Uint64(tail), queue.ID(tail[timeLen:])
}

func laneOf(k []byte) string { return string(k[:len(k)-1-timeLen-idLen]) }

func chunkKey(n int) []byte { return binary.BigEndian.AppendUint32(nil, uint32(n)) }
