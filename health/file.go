package health

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

// savedState is the file. Its times are wall-clock times.
type savedState struct {
	Version   int                      `json:"version"`
	Saved     time.Time                `json:"saved"`
	Odometer  time.Duration            `json:"odometer"`          // in nanoseconds
	Network   string                   `json:"network,omitempty"` // the one that Saved fell in, as netmon names it
	Upstreams map[string]savedUpstream `json:"upstreams"`
}

type savedUpstream struct {
	Account string `json:"account,omitempty"`
	tracker
	Learned lesson   `json:"learned,omitzero"`
	Spent   spending `json:"spent,omitzero"`
	// Left is when the config had it no more.
	Left time.Time `json:"left,omitzero"`
}

const fileVersion = 1

// load reads the file; whatever is wrong with it, mail goes on.
func (m *Monitor) load(now time.Time) savedState {
	if m.opts.File == "" {
		return savedState{}
	}
	s, err := readState(m.opts.File)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return savedState{}
	case err != nil:
		m.opts.Log.Warn("start", "text", "what was known of the upstreams cannot be read and is found out anew", "file", m.opts.File, "error", err)
		return savedState{}
	}
	if ahead := s.Saved.Sub(now); ahead > 0 { // the clock was set back
		for name, u := range s.Upstreams {
			u.tracker = u.shift(-ahead)
			u.Spent.shift(-ahead)
			u.Learned.At = u.Learned.At.Add(-ahead)
			if !u.Left.IsZero() {
				u.Left = u.Left.Add(-ahead)
			}
			s.Upstreams[name] = u
		}
		s.Saved = now
	}
	if m.watched && s.Network != "" && s.Network != m.network.Network() {
		for name, u := range s.Upstreams {
			u.tracker = u.roam(now)
			s.Upstreams[name] = u
		}
	}
	return s
}

func readState(file string) (savedState, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return savedState{}, err
	}
	var s savedState
	if err := json.Unmarshal(text, &s); err != nil {
		return savedState{}, fmt.Errorf("reading %s: %w", file, err)
	}
	if s.Version != fileVersion {
		return savedState{}, fmt.Errorf("reading %s: version %d is not ours", file, s.Version)
	}
	return s, nil
}

// save writes the file if it is behind.
func (m *Monitor) save() {
	m.mu.Lock()
	dirty := m.dirty
	m.mu.Unlock()
	if dirty {
		m.saveNow()
	}
}

// saveNow returns when all that was known at its call is on disk, or cannot be
// written.
func (m *Monitor) saveNow() {
	if m.opts.File == "" {
		return
	}
	m.saving.Lock()
	defer m.saving.Unlock()
	m.mu.Lock()
	m.dirty = false
	s := savedState{Version: fileVersion, Saved: wall().UTC(), Odometer: m.odometer.reading(time.Now()), Upstreams: map[string]savedUpstream{}}
	if m.watched {
		s.Network = m.network.Network()
	}
	m.forgetGone(wall())
	for u := range m.all() {
		spent := u.budget.spent.clone()
		if u.budget.aside > 0 { // should we crash, it may have been spent
			spent.add(u.budget.aside, wall())
		}
		s.Upstreams[u.Name] = savedUpstream{Account: u.Account, tracker: u.tracker, Learned: u.learned, Spent: spent, Left: u.left}
	}
	m.mu.Unlock()
	err := writeState(m.opts.File, s)
	if err == nil {
		return
	}
	m.mu.Lock()
	m.dirty = true
	m.mu.Unlock()
	m.opts.Log.Warn("alert", "text", "what is known of the upstreams cannot be saved", "error", err)
}

// writeState replaces the file as a whole: after a crash there is the old one
// or the new one.
func writeState(file string, s savedState) error {
	text, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return fmt.Errorf("saving the upstreams' state: %w", err)
	}
	f, err := os.CreateTemp(filepath.Dir(file), filepath.Base(file)+".*") // 0600
	if err != nil {
		return fmt.Errorf("saving the upstreams' state: %w", err)
	}
	_, err = f.Write(append(text, '\n'))
	err = errors.Join(err, f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), file)
	}
	if err != nil {
		os.Remove(f.Name())
		return fmt.Errorf("saving the upstreams' state: %w", err)
	}
	return nil
}
