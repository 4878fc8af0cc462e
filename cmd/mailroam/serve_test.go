package main

import (
	"bytes"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	"mailroam/gateway"
)

// A line of the log is one line, however much is wrong with a config.
func TestFirstWrong(t *testing.T) {
	one := gateway.Problem{Path: "c.toml", Line: 3, Key: "data_dir", What: "needs text, not a number", Fix: `put it in quotes: data_dir = "…"`}
	for _, tt := range []struct {
		err  error
		want string
	}{
		{gateway.Problems{one}, `c.toml:3: data_dir: needs text, not a number; put it in quotes: data_dir = "…"`},
		{gateway.Problems{one, one, one}, `c.toml:3: data_dir: needs text, not a number; put it in quotes: data_dir = "…"; and 2 problems more`},
		{gateway.Problems{{Path: "c.toml", What: "there is none", Fix: "write one:\n    [[upstream]]"}}, "c.toml: there is none; write one: [[upstream]]"},
		{errors.New("open c.toml: gone"), "open c.toml: gone"},
	} {
		if got := firstWrong(tt.err); got != tt.want {
			t.Errorf("got  %s\nwant %s", got, tt.want)
		}
	}
}

// JSON has no units: a span is milliseconds there, as in took_ms.
func TestLogInJSON(t *testing.T) {
	var b bytes.Buffer
	log := newLogger(&b, gateway.LogConfig{Format: "json", Level: "info"})
	log.Info("delivered", "took", 1500*time.Millisecond)
	if got := b.String(); !strings.Contains(got, `"msg":"delivered","took":1500}`) {
		t.Error(got)
	}
	b.Reset()
	newLogger(&b, gateway.LogConfig{Format: "text", Level: "info"}).Log(t.Context(), slog.LevelInfo, "delivered", "took", 1500*time.Millisecond)
	if got := b.String(); !strings.Contains(got, "took=1.5s") {
		t.Error(got)
	}
}
