//go:build linux

package main

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"time"
)

// report is the form of --json.
type report struct {
	Machine []fact       `json:"machine"`
	Rounds  int          `json:"rounds"`
	Took    string       `json:"took"`
	Lines   []reportLine `json:"lines"`
}

type reportLine struct {
	*line
	Median map[string]float64 `json:"median"`
	Ratio  *float64           `json:"ratio,omitempty"`
}

func (b *bench) report() report {
	r := report{Machine: b.facts, Rounds: b.rounds, Took: b.took().String()}
	for _, l := range b.table.lines {
		rl := reportLine{line: l, Median: make(map[string]float64)}
		for relay, values := range l.Values {
			rl.Median[relay] = median(values)
		}
		if ratio, ok := l.ratio(); ok {
			rl.Ratio = &ratio
		}
		r.Lines = append(r.Lines, rl)
	}
	return r
}

func (b *bench) print() error {
	if b.json {
		enc := json.NewEncoder(os.Stdout)
		enc.SetIndent("", "  ")
		return enc.Encode(b.report())
	}
	_, err := os.Stdout.WriteString(b.markdown())
	return err
}

func (b *bench) took() time.Duration { return time.Since(b.began).Round(time.Second) }

func (b *bench) markdown() string {
	var s strings.Builder
	for _, f := range b.facts {
		fmt.Fprintf(&s, "- %s: %s\n", f.Name, f.Value)
	}
	fmt.Fprintf(&s, "- %d alternating rounds in %s; median (least-most); ratio is %s over %s\n\n", b.rounds, b.took(), ours, theirs)
	return s.String() + b.table.markdown()
}
