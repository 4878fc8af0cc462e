package relay

import (
	"os"
	"runtime"
	"testing"
)

// TestMain keeps to one processor. With more, two threads may come to run the
// timers of one synctest bubble, and the race detector, which takes them for
// one, crashes now and then (golang/go#78156). It finds races by the order of
// events, and needs no processors for that.
func TestMain(m *testing.M) {
	runtime.GOMAXPROCS(1)
	os.Exit(m.Run())
}
