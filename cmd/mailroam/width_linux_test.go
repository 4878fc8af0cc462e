package main

import (
	"os"
	"testing"

	"golang.org/x/sys/unix"
)

func TestWidthOfTerminal(t *testing.T) {
	f, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		t.Skipf("no terminal can be made here: %v", err)
	}
	defer f.Close()
	if err := unix.IoctlSetWinsize(int(f.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Row: 24, Col: 72}); err != nil {
		t.Fatal(err)
	}
	if got := widthOf(f); got != 72 {
		t.Errorf("%d columns, want 72", got)
	}
}
