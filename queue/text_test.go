package queue

import (
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"
)

func TestPrintable(t *testing.T) {
	for _, tt := range []struct {
		name, in, want string
		max            int
	}{
		{"plain", "250 ok", "250 ok", 99},
		{"lines", "one\r\ntwo\nthree", "one two three", 99},
		{"escape", "\x1b[31mred", `\x1b[31mred`, 99},
		{"nul", "a\x00b", `a\x00b`, 99},
		{"broken UTF-8", "a\xffb", `a\xffb`, 99},
		{"replacement character", "a\ufffdb", "a\ufffdb", 99},
		{"writing direction", "a\u202eb", `a\u202eb`, 99},
		{"C1 control", "a\u009bb", `a\u009bb`, 99},
		{"cut", "abcdef", "abc…", 3},
		{"cut in a rune", "ab\u00e4", "ab…", 3},
		{"umlauts", "Grüße", "Grüße", 99},
	} {
		if got := Printable(tt.in, tt.max); got != tt.want {
			t.Errorf("%s: %q, want %q", tt.name, got, tt.want)
		}
	}
}

func FuzzPrintable(f *testing.F) {
	f.Add("a\x00\x1b\u202e\xff", 4)
	f.Fuzz(func(t *testing.T, s string, limit int) {
		limit = max(0, limit%4096)
		got := Printable(s, limit)
		if !utf8.ValidString(got) {
			t.Errorf("invalid UTF-8 from %q", s)
		}
		if i := strings.IndexFunc(got, func(r rune) bool { return unicode.IsControl(r) || unicode.Is(unicode.Cf, r) }); i >= 0 {
			t.Errorf("%q lets %q through", s, got[i:])
		}
		if len(got) > 12*limit+3 {
			t.Errorf("%d octets from %d", len(got), limit)
		}
	})
}
