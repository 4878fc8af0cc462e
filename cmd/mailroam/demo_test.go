package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestDemoStaysUp: after the timeline all that it invites to do works.
func TestDemoStaysUp(t *testing.T) {
	// Not t.TempDir, which has the test's name in it: a socket's path is short.
	tmp, err := os.MkdirTemp("", "t")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(tmp) })
	h := &home{dir: t.TempDir()}
	t.Setenv("TMPDIR", tmp)
	demo := h.start(t, "mailroam demo", "type 1 or 2 and Enter")
	tried := 0
	for line := range strings.Lines(demo.said.sofar()) {
		what, how, ok := strings.Cut(strings.TrimSpace(line), " ")
		if !ok || !strings.HasPrefix(line, "  ") {
			continue
		}
		switch what {
		case "itself", "status", "queue":
		case "swaks", "curl", "msmtp":
			if _, err := exec.LookPath(what); err != nil {
				t.Logf("%s is not installed", what)
				continue
			}
		case "first", "second":
			dir := how[strings.Index(how, "/"):]
			if mails, err := os.ReadDir(filepath.Join(dir, "new")); err != nil || len(mails) < 2 {
				t.Errorf("%s: %d messages, %v", dir, len(mails), err)
			}
			continue
		default:
			continue
		}
		tried++
		if out, err := h.command(strings.TrimSpace(how)).CombinedOutput(); err != nil {
			t.Errorf("%s: %v\n%s", how, err, out)
		}
	}
	if tried < 3 {
		t.Errorf("only %d lines were tried:\n%s", tried, demo.said.sofar())
	}
	demo.enter(t, "2", `upstream "second" is cut off`)
	demo.enter(t, "help", "type 1 or 2 to cut")
	demo.enter(t, "2", `upstream "second" is back`)
	demo.interrupt(t)
	if left, err := os.ReadDir(tmp); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}
