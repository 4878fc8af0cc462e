package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"mailroam/queue"
)

// paint writes in colour, or not.
type paint bool

// wantsColour: only a terminal gets colours, and not one that is dumb or whose
// user said no (no-color.org).
func wantsColour(f *os.File) paint {
	info, err := f.Stat()
	return paint(err == nil && info.Mode()&os.ModeCharDevice != 0 &&
		os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb" && os.Getenv("TERM") != "")
}

// style is an SGR parameter.
type style string

const (
	plain  style = ""
	bold   style = "1"
	dim    style = "2"
	red    style = "31"
	green  style = "32"
	yellow style = "33"
)

func (p paint) in(s style, text string) string {
	if !p || s == plain || text == "" {
		return text
	}
	return "\x1b[" + string(s) + "m" + text + "\x1b[0m"
}

// cell is one field of a table.
type cell struct {
	text  string
	style style
}

// table is rows of aligned columns; the first row is the heading.
type table struct {
	colour paint
	indent string
	rows   [][]cell
}

func (t *table) add(cells ...cell) { t.rows = append(t.rows, cells) }

func (t *table) heading(names ...string) {
	row := make([]cell, len(names))
	for i, n := range names {
		row[i] = cell{n, dim}
	}
	t.add(row...)
}

// widths are those of the columns. What is last in a row makes none wider but
// the last column.
func (t *table) widths() (widths []int) {
	for _, row := range t.rows {
		widths = append(widths, make([]int, max(0, len(row)-len(widths)))...)
	}
	for _, row := range t.rows {
		for i, c := range row {
			if i < len(row)-1 || i == len(widths)-1 {
				widths[i] = max(widths[i], columns(c.text))
			}
		}
	}
	return widths
}

// print pads all columns but the last; colours take no room.
func (t *table) print(w io.Writer) {
	widths := t.widths()
	for _, row := range t.rows {
		var line strings.Builder
		line.WriteString(t.indent)
		for i, c := range row {
			line.WriteString(t.colour.in(c.style, c.text))
			if i < len(row)-1 {
				line.WriteString(strings.Repeat(" ", max(0, widths[i]-columns(c.text))+2))
			}
		}
		fmt.Fprintln(w, strings.TrimRight(line.String(), " "))
	}
}

// printJSON is what --json gives.
func printJSON(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return fmt.Errorf("writing the answer: %w", err)
	}
	return nil
}

// maxShown bounds texts from outside in a line of a table.
const maxShown = 200

// safe makes text from outside fit for a terminal.
func safe(s string) string { return queue.Printable(s, maxShown) }

func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// span writes a duration with as much detail as a person wants.
func span(d time.Duration) string {
	switch {
	case d <= 0:
		return "0s"
	case d < time.Millisecond:
		return "<1ms"
	case d < time.Second:
		return d.Round(time.Millisecond).String()
	case d < 10*time.Second:
		return fmt.Sprintf("%.1fs", d.Seconds())
	case d < time.Minute:
		return fmt.Sprintf("%.0fs", d.Seconds())
	case d < time.Hour:
		return fmt.Sprintf("%.0fm", d.Minutes())
	case d < 48*time.Hour:
		return fmt.Sprintf("%.0fh", d.Hours())
	}
	return fmt.Sprintf("%.0fd", d.Hours()/24)
}

// days writes a duration as the configuration does.
func days(d time.Duration) string {
	const day = 24 * time.Hour
	if d >= day && d%day == 0 {
		return fmt.Sprintf("%dd", d/day)
	}
	text := d.String()
	if strings.HasSuffix(text, "m0s") {
		text = strings.TrimSuffix(text, "0s")
	}
	return strings.Replace(text, "h0m", "h", 1)
}

// clock writes a moment in local time, with the day where it is another one.
func clock(t, now time.Time) string {
	t, now = t.Local(), now.Local()
	if y, m, d := t.Date(); y == now.Year() && m == now.Month() && d == now.Day() {
		return t.Format("15:04:05")
	}
	return t.Format("2006-01-02 15:04:05")
}

// ago says when something was, both ways.
func ago(t, now time.Time) string {
	return fmt.Sprintf("%s (%s ago)", clock(t, now), span(now.Sub(t)))
}

// octets writes a size for people.
func octets(n int64) string {
	switch {
	case n < 1000:
		return fmt.Sprintf("%d B", n)
	case n < 1000*1000:
		return fmt.Sprintf("%.1f kB", float64(n)/1000)
	}
	return fmt.Sprintf("%.1f MB", float64(n)/1000/1000)
}

// sender and correspondents write addresses for people.
func sender(m queue.Message) string {
	if m.ReversePath == "" {
		return "<>"
	}
	return safe(m.ReversePath)
}

func correspondents(m queue.Message) string {
	return sender(m) + " → " + recipients(m)
}

func recipients(m queue.Message) string {
	if len(m.Recipients) == 0 {
		return ""
	}
	text := safe(m.Recipients[0].Address)
	if more := len(m.Recipients) - 1; more > 0 {
		text += fmt.Sprintf(" +%d", more)
	}
	return text
}

// reply writes an answer of an upstream as SMTP does.
func reply(code int, enhanced, text string) string {
	var words []string
	if code > 0 {
		words = append(words, fmt.Sprint(code))
	}
	if enhanced != "" && !strings.HasPrefix(text, enhanced) {
		words = append(words, enhanced)
	}
	if text != "" {
		words = append(words, text)
	}
	return safe(strings.Join(words, " "))
}
