package main

import (
	"bytes"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/spf13/cobra"
)

// A terminal has 80 columns; only examples, which must stay on a line, may be
// longer.
func TestHelpFitsATerminal(t *testing.T) {
	var b bytes.Buffer
	root := (&app{out: &b, err: &b, program: "mailroam"}).root()
	var walk func(*cobra.Command)
	walk = func(c *cobra.Command) {
		b.Reset()
		c.InitDefaultHelpFlag()
		if err := c.Help(); err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(b.String()) {
			if n := utf8.RuneCountInString(strings.TrimSuffix(line, "\n")); n > 80 && !strings.HasPrefix(line, "  mailroam ") {
				t.Errorf("%s: %d columns: %s", c.CommandPath(), n, line)
			}
		}
		for _, sub := range c.Commands() {
			walk(sub)
		}
	}
	walk(root)
}
