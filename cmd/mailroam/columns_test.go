package main

import (
	"strings"
	"testing"
)

func TestColumns(t *testing.T) {
	for _, tt := range []struct {
		text string
		want int
		cut  string // to 6
	}{
		{"", 0, ""},
		{"bob", 3, "bob"},
		{"bob@example", 11, "bob@e…"},
		{"é@xyzé", 6, "é@xyzé"},
		{"e\u0301@xyze\u0301", 6, "e\u0301@xyze\u0301"}, // accents of their own
		{"e\u0301@xyzzye\u0301", 8, "e\u0301@xyz…"},
		{"用户@例子", 9, "用户@…"},
		{"用户户", 6, "用户户"},
		{"x用户户", 7, "x用户…"},
		{"用户户 +2", 9, "用… +2"},
		{"…→", 2, "…→"},
		{"😀😀😀😀", 8, "😀😀…"},
	} {
		if got := columns(tt.text); got != tt.want {
			t.Errorf("%q takes %d columns, want %d", tt.text, got, tt.want)
		}
		if got := shorten(tt.text, 6); got != tt.cut {
			t.Errorf("%q is cut to %q, want %q", tt.text, got, tt.cut)
		}
	}
}

// What is right of wide characters stands in its column, too.
func TestTableOfWideCharacters(t *testing.T) {
	var b strings.Builder
	rows := &table{}
	rows.add(cell{text: "用户"}, cell{text: "x"})
	rows.add(cell{text: "abcde"}, cell{text: "x"})
	rows.print(&b)
	if got, want := b.String(), "用户   x\nabcde  x\n"; got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
}
