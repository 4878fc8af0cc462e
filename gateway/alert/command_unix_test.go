//go:build unix

package alert

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// script writes a program into a folder of its own.
func script(t *testing.T, text string) Settings {
	t.Helper()
	dir := t.TempDir()
	file := filepath.Join(dir, "tell")
	if err := os.WriteFile(file, []byte("#!/bin/sh\n"+text), 0o700); err != nil {
		t.Fatal(err)
	}
	return Settings{Command: []string{file, "$HOME", "hunter2"}, Dir: dir}
}

func TestCommandIsTold(t *testing.T) {
	s := script(t, `printf '%s|%s|%s|%s|' "$MAILROAM_EVENT" "$MAILROAM_UPSTREAM" "$MAILROAM_TEXT" "$1" >out; cat >>out; echo done`)
	a := New(Options{Hostname: "gw.example.org", Version: "1.2"}, s)
	e := Event{Kind: Credentials, Upstream: "work", Text: "it's \"$(date)\"; -x", Since: noon}
	said, err := a.run(t.Context(), s, e)
	if err != nil || string(said) != "done\n" {
		t.Fatalf("%q, %v", said, err)
	}
	out, err := os.ReadFile(filepath.Join(s.Dir, "out"))
	if err != nil {
		t.Fatal(err)
	}
	// Nothing went through a shell of ours.
	text, ok := strings.CutPrefix(string(out), `credentials|work|it's "$(date)"; -x|$HOME|`)
	var got map[string]any
	if err := json.Unmarshal([]byte(text), &got); !ok || err != nil || got["text"] != e.Text || got["hostname"] != "gw.example.org" {
		t.Errorf("%s, %v", out, err)
	}
}

// What the command started is killed with it.
func TestCommandIsKilled(t *testing.T) {
	s := script(t, `sleep 600 & echo $! >child; wait`)
	a := New(Options{}, s)
	pid := 0
	for a.limit = time.Second; pid == 0; a.limit *= 2 { // until that is time enough to start the child
		began := time.Now()
		_, err := a.run(t.Context(), s, Event{})
		if err == nil || !strings.Contains(err.Error(), "was killed") || time.Since(began) > 5*time.Minute {
			t.Fatalf("after %v: %v", time.Since(began), err)
		}
		text, _ := os.ReadFile(filepath.Join(s.Dir, "child"))
		if pid, _ = strconv.Atoi(strings.TrimSpace(string(text))); pid == 0 && a.limit > time.Minute {
			t.Fatalf("no child: %q", text)
		}
	}
	// It dies a moment after the signal, as another process does.
	for deadline := time.Now().Add(30 * time.Second); alive(pid); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the child lives on")
		}
	}
}

// alive says whether a process runs; one that only waits to be reaped does not.
func alive(pid int) bool {
	if errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) {
		return false
	}
	stat, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	return err != nil || !strings.Contains(string(stat), ") Z ")
}

// Whatever the command does, the next is told, and the log has no arguments.
func TestCommandTrouble(t *testing.T) {
	for name, tt := range map[string]struct{ text, want string }{
		"it fails":                 {"echo swordfish; exit 3", "exit status 3"},
		"it reads nothing":         {"exit 0", ""},
		"it says a lot":            {"head -c 1000000 /dev/zero | tr '\\0' x", ""},
		"it leaves a child behind": {"sleep 60 & exit 0", ""},
	} {
		t.Run(name, func(t *testing.T) {
			s := script(t, tt.text)
			said, err := New(Options{}, s).run(t.Context(), s, Event{Text: strings.Repeat("x", 100_000)})
			if len(said) > maxOutput || (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
				t.Errorf("%v, %d octets", err, len(said))
			}
		})
	}
	t.Run("there is none", func(t *testing.T) {
		s := Settings{Command: []string{"mailroam-no-such-program", "hunter2"}}
		if _, err := New(Options{}, s).run(t.Context(), s, Event{}); err == nil || strings.Contains(err.Error(), "hunter") {
			t.Errorf("%v", err)
		}
	})
}

// One runs at a time, in order, and none is left when the gateway stops.
func TestCommandsTakeTurns(t *testing.T) {
	s := script(t, `[ "$MAILROAM_EVENT" = quota ] && sleep 60; mkdir lock || echo clash >>out; echo "$MAILROAM_EVENT" >>out; sleep 0.05; rmdir lock; [ "$MAILROAM_EVENT" != disk ] || exit 1`)
	var log journal
	a := New(Options{Log: log.logger(), Look: func(context.Context) (View, error) { return View{}, errors.New("nothing to see") }}, s)
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- a.Run(ctx) }()
	kinds := []string{InDoubt, Disk, Credentials, Quota}
	for _, k := range kinds {
		a.publish(nil, []Event{{Kind: k, key: key{kind: k}}})
	}
	out := func() string { text, _ := os.ReadFile(filepath.Join(s.Dir, "out")); return string(text) }
	// It is another process that writes there.
	for deadline := time.Now().Add(time.Minute); strings.Count(out(), "\n") < 3 && time.Now().Before(deadline); {
		time.Sleep(10 * time.Millisecond)
	}
	began := time.Now()
	stop()
	if err := <-ended; err != nil || time.Since(began) > 30*time.Second {
		t.Errorf("stopped after %v: %v", time.Since(began), err)
	}
	if got := out(); got != "in-doubt\ndisk\ncredentials\n" {
		t.Errorf("ran %q", got)
	}
	if text := log.String(); !strings.Contains(text, "the alert command failed: exit status 1") || strings.Contains(text, "hunter") {
		t.Errorf("log %s", text)
	}
}
