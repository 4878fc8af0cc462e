package dispatch

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// TestSendersAreRemembered: over a restart, but not in another network or by
// other routes.
func TestSendersAreRemembered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		file := filepath.Join(t.TempDir(), "senders.json")
		var log strings.Builder
		home := func(list ...Route) *Dispatcher {
			return New(Options{
				File: file, Network: func() string { return "home" }, Log: slog.New(slog.NewTextHandler(&log, nil)),
			}, Config{Policy: Policy{Routes: NewRoutes(list)}})
		}
		a := Route{Name: "a"}
		d := home(a)
		until := refused(t, d, "ann@example.com", "not\x1b you")
		save(t, d)

		want := []Block{{Upstream: "a", Sender: "ann@example.com", Until: until.UTC().Round(0), Why: `not\x1b you`}}
		if got := home(a).Blocks(); !slices.Equal(got, want) {
			t.Errorf("after a restart: %+v, want %+v", got, want)
		}
		if got := home(a, Route{Name: "b"}).Blocks(); len(got) != 0 {
			t.Errorf("by other routes: %v", got)
		}
		away := New(Options{File: file, Network: func() string { return "away" }}, Config{Policy: Policy{Routes: NewRoutes([]Route{a})}})
		if got := away.Blocks(); len(got) != 0 {
			t.Errorf("in another network: %v", got)
		}
		time.Sleep(time.Hour)
		if got := home(a).Blocks(); len(got) != 0 {
			t.Errorf("after its time: %v", got)
		}
		if log.Len() > 0 {
			t.Error(log.String())
		}
		for _, text := range []string{"{", `{"version":7}`} {
			if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			log.Reset()
			if got := home(a).Blocks(); len(got) != 0 || !strings.Contains(log.String(), "found out anew") {
				t.Errorf("%s: %v, %s", text, got, log.String())
			}
		}
	})
}

// refused keeps a sender from upstream a, and gives the end of it.
func refused(t *testing.T, d *Dispatcher, sender, why string) time.Time {
	t.Helper()
	d.mu.Lock()
	defer d.mu.Unlock()
	d.senders.refuse("a", sender, why, time.Now())
	return d.senders.until("a", sender, time.Now())
}

// save has the file written as Run does at its end.
func save(t *testing.T, d *Dispatcher) {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	stop()
	d.remember(ctx)
	if left, err := filepath.Glob(d.Options.File + ".*"); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}
