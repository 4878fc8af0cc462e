package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"mailroam/queue"
)

func TestSpan(t *testing.T) {
	for d, want := range map[time.Duration]string{
		-time.Second:            "0s",
		0:                       "0s",
		300 * time.Microsecond:  "<1ms",
		12 * time.Millisecond:   "12ms",
		1500 * time.Millisecond: "1.5s",
		42 * time.Second:        "42s",
		90 * time.Minute:        "2h",
		5 * time.Minute:         "5m",
		47 * time.Hour:          "47h",
		72 * time.Hour:          "3d",
	} {
		if got := span(d); got != want {
			t.Errorf("%v is %q, want %q", d, got, want)
		}
	}
}

func TestDays(t *testing.T) {
	for d, want := range map[time.Duration]string{24 * time.Hour: "1d", 90 * time.Minute: "1h30m", 2 * time.Hour: "2h", time.Second: "1s", 36 * time.Hour: "36h"} {
		if got := days(d); got != want {
			t.Errorf("%v is %q, want %q", d, got, want)
		}
	}
}

func TestOctets(t *testing.T) {
	for n, want := range map[int64]string{0: "0 B", 999: "999 B", 1500: "1.5 kB", 25 << 20: "26.2 MB"} {
		if got := octets(n); got != want {
			t.Errorf("%d is %q, want %q", n, got, want)
		}
	}
}

func TestReply(t *testing.T) {
	for _, tt := range []struct {
		code     int
		enhanced string
		text     string
		want     string
	}{
		{250, "2.0.0", "ok", "250 2.0.0 ok"},
		{250, "2.0.0", "2.0.0 ok", "250 2.0.0 ok"},
		{550, "", "no", "550 no"},
		{0, "", "connection refused", "connection refused"},
		{0, "", "", ""},
		{550, "", "\x1b[2J\r\nfine", `550 \x1b[2J fine`},
	} {
		if got := reply(tt.code, tt.enhanced, tt.text); got != tt.want {
			t.Errorf("got %q, want %q", got, tt.want)
		}
	}
}

// Colours take no room in a table, and none is left at the end of a line.
func TestTable(t *testing.T) {
	for _, p := range []paint{false, true} {
		table := table{colour: p, indent: " "}
		table.heading("NAME", "STATE", "WHY")
		table.add(cell{"zürich", bold}, cell{"up", green}, cell{})
		table.add(cell{text: "a"}, cell{"cooling", red}, cell{text: "no"})
		var b bytes.Buffer
		table.print(&b)
		got := b.String()
		if bool(p) != strings.Contains(got, "\x1b[32mup\x1b[0m") {
			t.Errorf("colour %v: %q", p, got)
		}
		for _, s := range []string{"0", "1", "2", "31", "32"} {
			got = strings.ReplaceAll(got, "\x1b["+s+"m", "")
		}
		if want := " NAME    STATE    WHY\n zürich  up\n a       cooling  no\n"; got != want {
			t.Errorf("got\n%s\nwant\n%s", got, want)
		}
	}
}

func TestColoursAreForTerminals(t *testing.T) {
	t.Setenv("TERM", "xterm")
	t.Setenv("NO_COLOR", "")
	f, err := os.Create(filepath.Join(t.TempDir(), "out"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if wantsColour(f) {
		t.Error("a file gets colours")
	}
	// The one character device that is always there stands for a terminal.
	null, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	if !wantsColour(null) {
		t.Error("a character device gets none")
	}
	t.Setenv("NO_COLOR", "1")
	if wantsColour(null) {
		t.Error("NO_COLOR is not heard")
	}
	t.Setenv("NO_COLOR", "")
	t.Setenv("TERM", "dumb")
	if wantsColour(null) {
		t.Error("a dumb terminal gets colours")
	}
}

// What comes from outside cannot steer the terminal, whatever prints it.
func TestNothingSteersTheTerminal(t *testing.T) {
	evil := "\x1b]0;owned\x07\u202e\u009b2J\r\n"
	now := time.Now()
	m := queue.Message{
		ID: queue.NewID(), State: queue.Held, Accepted: now, ReversePath: evil, Held: queue.Hold{Reason: evil, Since: now},
		Client:     queue.Client{Addr: evil, Helo: evil},
		Content:    queue.Content{Authors: []string{evil}, MessageID: evil},
		Return:     queue.Return{EnvID: evil},
		Barred:     1,
		Recipients: []queue.Recipient{{Address: evil, ORcpt: evil, Doubt: &queue.Doubt{Upstream: evil, At: now}, Last: queue.Answer{Upstream: evil, Text: evil, Enhanced: evil, At: now}, Said: []queue.Answer{{Upstream: "b", Text: evil}}}, {}},
		Attempts:   []queue.Attempt{{At: now, Upstream: evil, Endpoint: evil, Text: evil, Why: evil, Rule: evil, Rcpts: []int{0}}},
		Refusals:   []queue.Refusal{{Upstream: evil, Answer: queue.Answer{Text: evil}}},
	}
	var b bytes.Buffer
	a := &app{out: &b, err: &b, program: "mailroam"}
	a.showMessage(m, time.Hour, now)
	a.listTable([]queue.Message{m}, now).print(&b)
	if strings.ContainsAny(b.String(), "\x1b\x07\r\u202e\u009b") {
		t.Errorf("%q", b.String())
	}
}
