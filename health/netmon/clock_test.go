package netmon

import (
	"testing"
	"time"
)

func TestSlept(t *testing.T) {
	at := func(boot, mono time.Duration) reading { return reading{boot: boot, mono: mono} }
	for _, row := range []struct {
		before, now reading
		want        time.Duration
	}{
		{at(0, 0), at(0, 0), 0},
		{at(100*time.Second, 10*time.Second), at(105*time.Second, 15*time.Second), 0},
		{at(100*time.Second, 10*time.Second), at(3705*time.Second, 15*time.Second), time.Hour},
		{at(0, 0), at(5*time.Second+3*time.Millisecond, 5*time.Second), 0}, // read at two moments
		{at(0, 0), at(6*time.Second, 5*time.Second), time.Second},
		{at(0, 0), at(-time.Hour, 5*time.Second), 0}, // a wall clock put back
	} {
		if got := slept(row.before, row.now); got != row.want {
			t.Errorf("from %v to %v slept for %v, should be %v", row.before, row.now, got, row.want)
		}
	}
	clock := newClock()
	before := clock()
	if got := slept(before, clock()); got != 0 {
		t.Errorf("this test slept for %v", got)
	}
}
