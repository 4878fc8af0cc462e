package gateway

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Problem is one thing wrong with a config, in words for its author. It never
// quotes a secret.
type Problem struct {
	Path string `json:"path"`
	Line int    `json:"line"` // 0: the file as a whole
	Key  string `json:"key"`  // "queue.expire"; "" where no key is at fault
	What string `json:"what"`
	Fix  string `json:"fix"`
}

// String gives what is wrong on one line, and what to do on the next.
func (p Problem) String() string { return p.text("\n    ") }

// OneLine is both on one line, for a log.
func (p Problem) OneLine() string { return strings.Join(strings.Fields(p.text("; ")), " ") }

func (p Problem) text(between string) string {
	var b strings.Builder
	b.WriteString(p.Path)
	if p.Line > 0 {
		fmt.Fprintf(&b, ":%d", p.Line)
	}
	b.WriteString(": ")
	if p.Key != "" {
		b.WriteString(p.Key + ": ")
	}
	b.WriteString(p.What)
	if p.Fix != "" {
		b.WriteString(between + p.Fix)
	}
	return b.String()
}

// Problems are all that is wrong with a config, by line.
type Problems []Problem

func (ps Problems) Error() string {
	lines := make([]string, len(ps))
	for i, p := range ps {
		lines[i] = p.String()
	}
	return strings.Join(lines, "\n")
}

func (ps Problems) sort() {
	slices.SortStableFunc(ps, func(a, b Problem) int { return cmp.Compare(a.Line, b.Line) })
}
