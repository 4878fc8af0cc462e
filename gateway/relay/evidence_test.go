package relay

import "testing"

// TestTell: only a dead connection proves that the dot never left.
func TestTell(t *testing.T) {
	for c, want := range map[tcp]evidence{
		{dead: true, unsent: 1, waiting: 1}:   kept,
		{dead: true, unsent: 1, waiting: 99}:  kept,
		{dead: true, waiting: 1}:              unacked,
		{dead: true}:                          inDoubt,
		{ended: true, unsent: 1, waiting: 99}: unacked, // the kernel goes on sending
		{ended: true, waiting: 1}:             unacked,
		{ended: true}:                         inDoubt,
		{unsent: 1, waiting: 1}:               inDoubt, // alive
		{waiting: 1}:                          inDoubt,
		{}:                                    inDoubt,

		{dead: true, unsent: 24, waiting: 24, later: 24}: inDoubt, // that was no dot
		{dead: true, unsent: 24, waiting: 25, later: 24}: unacked,
		{dead: true, unsent: 25, waiting: 25, later: 24}: kept,
	} {
		if got := c.tell(); got != want {
			t.Errorf("%+v: %d, want %d", c, got, want)
		}
	}
}
