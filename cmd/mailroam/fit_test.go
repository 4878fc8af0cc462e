package main

import (
	"bytes"
	"os"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"mailroam/queue"
)

// TestFit: a list is no wider than the terminal where that can be read, and as it
// is where there is none.
func TestFit(t *testing.T) {
	now := time.Now()
	long := strings.Repeat("x", 50) + "@" + strings.Repeat("y", 40) + ".example"
	m := queue.Message{
		ID: queue.NewID(), State: queue.Queued, Accepted: now, Size: 1000, ReversePath: long,
		Recipients: []queue.Recipient{
			{Address: "bob@example.net", Last: queue.Answer{Code: 451, Text: strings.Repeat("later ", 30), At: now}},
			{Address: long},
		},
		Filing: queue.Filing{Due: now.Add(time.Hour)},
	}
	other := m
	other.ReversePath, other.Recipients = "", []queue.Recipient{{Address: long}, {Address: long}, {Address: long}}
	shown := func(width int) string {
		var b bytes.Buffer
		(&app{width: width}).listTable([]queue.Message{m, other}, now).print(&b)
		return b.String()
	}
	whole := shown(0)
	for _, want := range []string{"  " + long + "  ", "  " + long + " +2  ", strings.Repeat("later ", 29) + "later"} {
		if !strings.Contains(whole, want) {
			t.Errorf("without a terminal it lacks %q:\n%s", want, whole)
		}
	}
	if got := shown(1000); got != whole {
		t.Errorf("wide enough:\n%s", got)
	}
	for width := 1; width < 500; width++ {
		got := shown(width)
		for line := range strings.Lines(got) {
			if n := utf8.RuneCountInString(strings.TrimSuffix(line, "\n")); n > max(width, 125) {
				t.Fatalf("%d columns of %d: %s", n, width, line)
			}
		}
		for _, want := range []string{m.ID.String(), "bob@exam", " +1 ", " +2 ", "451 later later later"} {
			if !strings.Contains(got, want) {
				t.Fatalf("%d columns lack %q:\n%s", width, want, got)
			}
		}
	}
}

func TestWidthOfNoTerminal(t *testing.T) {
	f, err := os.Create(t.TempDir() + "/f")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if got := widthOf(f); got != 0 {
		t.Errorf("a file has %d columns", got)
	}
}
