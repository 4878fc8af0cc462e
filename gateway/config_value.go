package gateway

import (
	"math"
	"strconv"
	"strings"
	"time"
)

const day = 24 * time.Hour

// parseDuration reads Go's durations, which may begin with days: "5d", "1d12h",
// "90s". Spans below zero are no spans.
func parseDuration(s string) (time.Duration, bool) {
	var days float64
	if number, rest, ok := strings.Cut(s, "d"); ok {
		var err error
		if days, err = strconv.ParseFloat(number, 64); err != nil || !plainNumber(number) {
			return 0, false
		}
		if s = rest; s == "" {
			s = "0s"
		}
	}
	v, err := time.ParseDuration(s)
	total := days*float64(day) + float64(v)
	if err != nil || v < 0 || total > math.MaxInt64/2 {
		return 0, false
	}
	return time.Duration(total), true
}

// spell writes a duration the way people write it in the file: whole days as
// such, and no trailing zero parts.
func spell(v time.Duration) string {
	if v >= day && v%day == 0 {
		return strconv.FormatInt(int64(v/day), 10) + "d"
	}
	s := v.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

// parseSize reads "50MB" (decimal) and "50MiB" (binary).
func parseSize(s string) (int64, bool) {
	end := strings.IndexFunc(s, func(r rune) bool { return (r < '0' || r > '9') && r != '.' })
	if end < 0 {
		return 0, false
	}
	unit, ok := sizeUnit(strings.ToUpper(strings.TrimSpace(s[end:])))
	number, err := strconv.ParseFloat(s[:end], 64)
	if !ok || err != nil || number*unit > math.MaxInt64/2 {
		return 0, false
	}
	return int64(number * unit), true
}

// spellSize uses the largest binary unit that leaves no remainder.
func spellSize(v int64) string {
	for _, unit := range []string{"GiB", "MiB", "KiB"} {
		if n, _ := sizeUnit(strings.ToUpper(unit)); v > 0 && v%int64(n) == 0 {
			return strconv.FormatInt(v/int64(n), 10) + unit
		}
	}
	return strconv.FormatInt(v, 10) + "B"
}

func sizeUnit(name string) (float64, bool) {
	switch name {
	case "B":
		return 1, true
	case "KB":
		return 1e3, true
	case "MB":
		return 1e6, true
	case "GB":
		return 1e9, true
	case "KIB":
		return 1 << 10, true
	case "MIB":
		return 1 << 20, true
	case "GIB":
		return 1 << 30, true
	}
	return 0, false
}

// plainNumber refuses what only strconv takes for a number: "inf", "0x1p4".
func plainNumber(s string) bool {
	return s != "" && strings.Trim(s, "0123456789.") == ""
}
