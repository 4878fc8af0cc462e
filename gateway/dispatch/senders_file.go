package dispatch

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"
)

// savedSenders is the file. It is of one place and one configuration: in
// another network, or by other routes, a sender may be welcome.
type savedSenders struct {
	Version int           `json:"version"`
	Network string        `json:"network,omitempty"`
	Routes  string        `json:"routes"`
	Senders []savedSender `json:"senders"`
}

type savedSender struct {
	Upstream string        `json:"upstream"`
	Sender   string        `json:"sender"`
	At       time.Time     `json:"at"`
	Until    time.Time     `json:"until"`
	Wait     time.Duration `json:"wait"` // in nanoseconds; the next one is twice as long
	Why      string        `json:"why"`
}

const (
	sendersVersion = 1
	sendersEvery   = 10 * time.Second // what is lost by a crash is soon found out again
)

// recall reads the file; whatever is wrong with it, mail goes on. It is called
// before anything else knows the dispatcher.
func (d *Dispatcher) recall(now time.Time) {
	if d.Options.File == "" {
		return
	}
	saved, err := readSenders(d.Options.File)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return
	case err != nil:
		d.Log.Warn("start", "text", "who was refused as a sender cannot be read and is found out anew", "file", d.Options.File, "error", err)
		return
	case saved.Network != d.where() || saved.Routes != d.config.Routes.tag:
		return
	}
	if saved.Network != "" { // nothing is new here, so nobody is asked anew
		<-d.moved
	}
	for _, s := range saved.Senders[:min(len(saved.Senders), blockKept)] {
		b := block{at: s.At, until: s.Until, wait: min(s.Wait, blockMax), why: s.Why}
		if late := now.Add(blockMax); b.until.After(late) { // the clock was set back
			b.until = late
		}
		d.senders[at(s.Upstream, s.Sender)] = b
	}
}

func (d *Dispatcher) where() string {
	if d.Options.Network == nil {
		return ""
	}
	return d.Options.Network()
}

// remember keeps the file up to date until ctx ends.
func (d *Dispatcher) remember(ctx context.Context) {
	if d.Options.File == "" {
		return
	}
	var last []byte
	told := false
	for more := true; more; {
		more = pause(ctx, sendersEvery)
		text, err := d.sendersNow()
		if err == nil && slices.Equal(text, last) {
			continue
		}
		if err == nil {
			err = writeSenders(d.Options.File, text)
		}
		switch {
		case err == nil:
			last, told = text, false
		case !told:
			d.Log.Warn("alert", "text", "who was refused as a sender cannot be saved", "error", err)
			told = true
		}
	}
}

func (d *Dispatcher) sendersNow() ([]byte, error) {
	network := d.where()
	d.mu.Lock()
	saved := savedSenders{Version: sendersVersion, Network: network, Routes: d.config.Routes.tag, Senders: []savedSender{}}
	for k, b := range d.senders {
		saved.Senders = append(saved.Senders, savedSender{k.upstream, k.reversePath, b.at.UTC(), b.until.UTC(), b.wait, b.why})
	}
	d.mu.Unlock()
	slices.SortFunc(saved.Senders, func(a, b savedSender) int {
		return cmp.Or(cmp.Compare(a.Upstream, b.Upstream), cmp.Compare(a.Sender, b.Sender))
	})
	return json.MarshalIndent(saved, "", "  ")
}

func readSenders(file string) (s savedSenders, err error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return s, err
	}
	if err := json.Unmarshal(text, &s); err != nil {
		return s, fmt.Errorf("reading %s: %w", file, err)
	}
	if s.Version != sendersVersion {
		return s, fmt.Errorf("reading %s: version %d is not ours", file, s.Version)
	}
	return s, nil
}

// writeSenders replaces the file as a whole: after a crash there is the old one
// or the new one.
func writeSenders(file string, text []byte) error {
	f, err := os.CreateTemp(filepath.Dir(file), filepath.Base(file)+".*") // 0600
	if err != nil {
		return err
	}
	_, err = f.Write(append(text, '\n'))
	if err = errors.Join(err, f.Sync(), f.Close()); err == nil {
		err = os.Rename(f.Name(), file)
	}
	if err != nil {
		os.Remove(f.Name())
	}
	return err
}
