package main

import (
	"unicode"

	"golang.org/x/text/width"
)

// columns is how many of a terminal's columns a text takes: addresses and answers
// may be in any script.
func columns(s string) (n int) {
	for _, r := range s {
		n += columnsOf(r)
	}
	return n
}

func columnsOf(r rune) int {
	if unicode.In(r, unicode.Mn, unicode.Me) { // accents of the letter before
		return 0
	}
	switch width.LookupRune(r).Kind() {
	case width.EastAsianWide, width.EastAsianFullwidth:
		return 2
	default:
		return 1
	}
}

// upTo is the beginning of a text that takes no more columns than most.
func upTo(s string, most int) string {
	for i, r := range s {
		if most -= columnsOf(r); most < 0 {
			return s[:i]
		}
	}
	return s
}
