package main

import (
	"slices"
	"strings"
)

const (
	leastColumn = 12 // of a column that gives way
	leastLast   = 24 // of the last one
)

// fit cuts a table for a terminal of so many columns, 0 for none: the columns
// named give way, the widest first, and then the last one. What cannot be read
// in so little is left to run over.
func (t *table) fit(width int, give ...int) {
	if width <= 0 {
		return
	}
	widths := t.widths()
	last := len(widths) - 1
	room := width - len(t.indent) - 2*last
	for _, w := range widths[:last] {
		room -= w
	}
	for room < min(widths[last], leastLast) {
		k := slices.MaxFunc(give, func(a, b int) int { return widths[a] - widths[b] })
		if widths[k] <= leastColumn {
			break
		}
		widths[k]--
		room++
	}
	widths[last] = max(room, leastLast)
	for _, row := range t.rows {
		for _, k := range append(slices.Clone(give), last) {
			row[k].text = shorten(row[k].text, widths[k])
		}
	}
}

// shorten cuts a text, and shows that it did. How many more there are stays.
func shorten(s string, width int) string {
	if columns(s) <= width {
		return s
	}
	more := ""
	if i := strings.LastIndex(s, " +"); i >= 0 && len(s)-i < width && strings.Trim(s[i+2:], "0123456789") == "" {
		s, more = s[:i], s[i:]
	}
	return upTo(s, width-1-len(more)) + "…" + more
}
