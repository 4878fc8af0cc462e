//go:build linux

package main

import (
	"fmt"
	"slices"
	"strings"
)

// table holds every value measured, by line and relay, one a round.
type table struct {
	lines []*line
	index map[string]*line
}

// line is one thing measured.
type line struct {
	Name   string               `json:"name"`
	Unit   string               `json:"unit"`
	Values map[string][]float64 `json:"values"` // by relay
}

func newTable() *table { return &table{index: make(map[string]*line)} }

func (t *table) add(name, unit, relay string, value float64) {
	l := t.index[name]
	if l == nil {
		l = &line{Name: name, Unit: unit, Values: make(map[string][]float64)}
		t.index[name] = l
		t.lines = append(t.lines, l)
	}
	l.Values[relay] = append(l.Values[relay], value)
}

func median(values []float64) float64 {
	if len(values) == 0 {
		return 0
	}
	v := slices.Sorted(slices.Values(values))
	if n := len(v); n%2 == 0 {
		return (v[n/2-1] + v[n/2]) / 2
	}
	return v[len(v)/2]
}

// percentile is the value that p of 100 do not exceed.
func percentile(values []float64, p int) float64 {
	v := slices.Sorted(slices.Values(values))
	return v[min(len(v)-1, len(v)*p/100)]
}

// number writes three digits that matter.
func number(v float64) string {
	switch {
	case v >= 100:
		return fmt.Sprintf("%.0f", v)
	case v >= 10:
		return fmt.Sprintf("%.1f", v)
	default:
		return fmt.Sprintf("%.2f", v)
	}
}

func cell(values []float64) string {
	switch len(values) {
	case 0:
		return "-"
	case 1:
		return number(values[0])
	default:
		return fmt.Sprintf("%s (%s-%s)", number(median(values)), number(slices.Min(values)), number(slices.Max(values)))
	}
}

// ratio is ours over theirs.
func (l *line) ratio() (float64, bool) {
	a, b := l.Values[ours], l.Values[theirs]
	if len(a) == 0 || len(b) == 0 || median(b) == 0 {
		return 0, false
	}
	return median(a) / median(b), true
}

func (t *table) markdown() string {
	var b strings.Builder
	fmt.Fprintf(&b, "| what | unit | %s | %s | ratio | no relay |\n|---|---|---|---|---|---|\n", ours, theirs)
	for _, l := range t.lines {
		ratio := "-"
		if r, ok := l.ratio(); ok {
			ratio = number(r)
		}
		fmt.Fprintf(&b, "| %s | %s | %s | %s | %s | %s |\n", l.Name, l.Unit, cell(l.Values[ours]), cell(l.Values[theirs]), ratio, cell(l.Values[floor]))
	}
	return b.String()
}
