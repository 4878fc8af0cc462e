package health

import (
	"bytes"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestStateOutlivesARestart(t *testing.T) {
	file := filepath.Join(t.TempDir(), "health.json")
	inBubble(t, Options{File: file}, func(b *bubble) {
		b.deliver("a", Fault{Kind: Quota, Reason: "452", Until: time.Now().Add(2 * time.Hour)})
		b.b.cut()
		b.deliver("b", Fault{Kind: Network, Reason: "refused"})
		b.wait(time.Hour)
	})
	info, err := os.Stat(file)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Fatalf("%v, %v", info, err)
	}
	// A new bubble's clock begins where the first one's did, an hour before
	// what is written: the clock was set back.
	inBubble(t, Options{File: file}, func(b *bubble) {
		if d := b.Odometer(); d != time.Hour {
			t.Errorf("the odometer is at %v", d)
		}
		b.want("a", "cooling", Unusable)
		b.want("b", "up", Returning) // it was down, and its probe passed
		b.wait(59 * time.Minute)
		b.want("a", "cooling", Unusable)
		b.wait(2 * time.Minute)
		b.want("a", "trial", Ready)
	})
}

// What was up, or nearly so, is as good as new at the next start.
func TestNothingIsOwedAfterARestart(t *testing.T) {
	file := filepath.Join(t.TempDir(), "health.json")
	now := time.Now()
	for _, was := range []tracker{{Reach: up, Owed: 1, Since: now}, {Reach: suspect, Owed: 2, Since: now, Why: "silent"}} {
		err := writeState(file, savedState{Version: fileVersion, Saved: now, Upstreams: map[string]savedUpstream{"a": {tracker: was}}})
		if err != nil {
			t.Fatal(err)
		}
		m := New(Options{Targets: []Target{{Name: "a"}}, File: file})
		if s := m.Status()[0]; s.State != "unknown" || s.Why != "" || !s.Preferred {
			t.Errorf("it was %+v and is %+v", was, s)
		}
	}
}

func TestUnreadableFile(t *testing.T) {
	for name, text := range map[string]string{
		"empty": "", "torn": `{"version": 1, "upstr`, "newer": `{"version": 99}`, "other": `[1, 2]`,
	} {
		t.Run(name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "health.json")
			if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			var logs bytes.Buffer
			m := New(Options{Targets: []Target{{Name: "a"}}, File: file, Log: slog.New(slog.NewTextHandler(&logs, nil))})
			if m.Standing("a").Rank != Ready || !strings.Contains(logs.String(), "health.json") {
				t.Errorf("%+v, and said %q", m.Standing("a"), logs.String())
			}
			m.saveNow()
			if s, err := readState(file); err != nil || s.Upstreams["a"].Reach != unknown {
				t.Errorf("begun afresh: %+v, %v", s, err)
			}
		})
	}
}

// The file of a version that knew nothing of networks.
func TestOldFile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "health.json")
	old := `{"version": 1, "saved": "2026-01-02T03:04:05Z", "odometer": 3600000000000, "upstreams": {
	 "a": {"reach": "up", "since": "2026-01-02T03:00:00Z", "last_good": "2026-01-02T03:04:00Z",
	  "breaker": {"kind": "policy", "reason": "554 no", "since": "2026-01-02T03:04:00Z", "until": "2100-01-02T03:19:00Z", "failures": 1}}}}`
	if err := os.WriteFile(file, []byte(old), 0o600); err != nil {
		t.Fatal(err)
	}
	m := New(Options{Targets: []Target{{Name: "a"}}, File: file})
	if s := m.Status()[0]; s.State != Cooling || s.Why != "554 no" || m.Odometer() != time.Hour {
		t.Errorf("%+v after %v", s, m.Odometer())
	}
}

// crash gives what a new start would find, without an end of the old one.
func crash(m *Monitor, account string) *Monitor {
	return New(Options{Targets: []Target{{Name: "a", Account: account}}, File: m.opts.File})
}

func TestNoLoginIsForgottenInACrash(t *testing.T) {
	file := filepath.Join(t.TempDir(), "health.json")
	m := New(Options{Targets: []Target{{Name: "a"}}, File: file})
	p, _ := m.Start("a", 1)
	p.Done(Fault{Kind: Account, Reason: "535"})
	if s := crash(m, "").Standing("a"); s.Rank != Unusable {
		t.Errorf("after the first refusal and a crash: %+v", s)
	}

	// A minute later a trial is under way, and the crash comes before its end.
	m.upstreams["a"].Breaker.Until = wall()
	if _, ok := m.Start("a", 1); !ok {
		t.Fatal("no trial")
	}
	again := crash(m, "")
	if s := again.Standing("a"); s.Rank != Unusable {
		t.Errorf("a crash in a login gives another one at once: %+v", s)
	}
	if wait := time.Until(again.upstreams["a"].Breaker.Until); wait < 59*time.Minute {
		t.Errorf("and then in %v", wait)
	}

	// A new password is another matter.
	if s := crash(m, "new").Standing("a"); s != (Standing{Rank: Ready, Trial: true}) {
		t.Errorf("with a new password: %+v", s)
	}
}

func TestSavedEveryTenSeconds(t *testing.T) {
	file := filepath.Join(t.TempDir(), "health.json")
	inBubble(t, Options{File: file}, func(b *bubble) {
		b.wait(time.Hour)
		s, err := readState(file)
		if behind := time.Hour - s.Odometer; err != nil || behind > saveEvery+lookAgain {
			t.Errorf("the file is %v behind, %v", behind, err)
		}
	})
}

func TestFileThatCannotBeWritten(t *testing.T) {
	file := filepath.Join(t.TempDir(), "gone", "health.json")
	inBubble(t, Options{File: file}, func(b *bubble) {
		b.deliver("a", Fault{Kind: Account, Reason: "535"})
		b.Network(nowhere) // from here on there is nothing new to save
		b.wait(saveEvery)
		b.want("a", "cooling", Unusable)
		if !strings.Contains(b.logs.String(), "cannot be saved") {
			t.Errorf("nobody is told: %s", b.logs)
		}
		if err := os.Mkdir(filepath.Dir(file), 0o700); err != nil {
			t.Fatal(err)
		}
		b.wait(saveEvery)
		if s, err := readState(file); err != nil || s.Upstreams["a"].Breaker.Kind != Account {
			t.Errorf("not saved when it could be: %+v, %v", s, err)
		}
	})
}
