package main

import "testing"

func TestMayBeAddress(t *testing.T) {
	for s, want := range map[string]bool{
		"ann@example.com": true, "root": true, "pi@raspberry": true, `"a b"@example.com`: true, "jörg@bücher.example": true,
		"Ann <ann@example.com>": false, "ann@example.com, bob@example.net": false, "ann@": false, "a b": false, "a\nb@example.com": false, "a\u009bb@example.com": false,
	} {
		if got := mayBeAddress(s); got != want {
			t.Errorf("%q: %v", s, got)
		}
	}
}
