package main

import (
	"fmt"
	"io"
)

// output remembers the first write that failed: a list that was cut off by a
// full disk must not look like a whole one to a script.
type output struct {
	to  io.Writer
	err error
}

func (o *output) Write(p []byte) (int, error) {
	n, err := o.to.Write(p)
	if err != nil && o.err == nil {
		o.err = fmt.Errorf("writing the output: %w", err)
	}
	return n, err
}

// exit is a.exit for a command that also failed when its output was lost.
func (o *output) exit(a *app, err error) int {
	if err == nil {
		err = o.err
	}
	return a.exit(err)
}
