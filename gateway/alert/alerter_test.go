package alert

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// journal is a log that a test can read while it is written.
type journal struct {
	mu   sync.Mutex
	text strings.Builder
}

func (j *journal) Write(p []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.text.Write(p)
}

func (j *journal) String() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.text.String()
}

func (j *journal) logger() *slog.Logger {
	return slog.New(slog.NewTextHandler(j, &slog.HandlerOptions{Level: slog.LevelDebug}))
}

// hook is a webhook in memory.
type hook struct {
	mu   sync.Mutex
	err  error // what the next posts end with
	code int   // 0 is 200
	took []string
	at   []time.Time
}

func (h *hook) RoundTrip(r *http.Request) (*http.Response, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.at = append(h.at, time.Now())
	if h.err != nil {
		return nil, h.err
	}
	code := h.code
	if code == 0 {
		code = http.StatusOK
		var e Event
		if err := json.NewDecoder(r.Body).Decode(&e); err != nil {
			return nil, err
		}
		h.took = append(h.took, kinds([]Event{e}))
	}
	return &http.Response{StatusCode: code, Body: io.NopCloser(strings.NewReader("")), Header: http.Header{"Location": {"https://elsewhere.example/"}}}, nil
}

func (h *hook) set(err error, code int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.err, h.code = err, code
}

func (h *hook) heard() string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return strings.Join(h.took, " ")
}

func (h *hook) tries() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.at)
}

const secretURL = "https://ann:hunter2@hooks.example.com/hunter2?token=hunter2"

// stage is an Alerter in a bubble that looks at what the test shows it.
type stage struct {
	*Alerter
	hook    hook
	journal journal
	mu      sync.Mutex
	shown   View
	began   time.Time
}

func onStage(t *testing.T, script func(t *testing.T, s *stage)) {
	synctest.Test(t, func(t *testing.T) {
		s := &stage{shown: view(up("work"), up("home")), began: time.Now()}
		s.Alerter = New(Options{Look: s.see, Transport: &s.hook, Log: s.journal.logger()}, Settings{
			Webhook: func(context.Context) (string, error) { return secretURL, nil }, Every: 15 * time.Minute, Down: 10 * time.Minute,
		})
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- s.Run(ctx) }()
		script(t, s)
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		if text := s.journal.String(); strings.Contains(text, "hunter") || strings.Contains(text, "token") {
			t.Errorf("the log shows the URL: %s", text)
		}
	})
}

func (s *stage) see(context.Context) (View, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	v := s.shown
	v.Now, v.Odometer = time.Now(), time.Since(s.began)
	return v, nil
}

// show lets it see v, and goes on by d.
func (s *stage) show(v View, d time.Duration) {
	s.mu.Lock()
	s.shown = v
	s.mu.Unlock()
	time.Sleep(d)
	synctest.Wait()
}

func TestAlerterTells(t *testing.T) {
	onStage(t, func(t *testing.T, s *stage) {
		s.show(view(up("work"), up("home")), time.Hour)
		s.show(view(down("work"), up("home")), 20*time.Second)
		s.show(view(up("work"), up("home")), time.Minute)
		if got := s.hook.heard(); got != "second-choice:work -first-choice:work" {
			t.Errorf("the webhook heard %q", got)
		}
		for _, want := range []string{`level=WARN msg=alert event=second-choice upstream=work since=`, `level=INFO msg=alert event=first-choice upstream=work`, `text="Running on choice 2, \"home\"`} {
			if strings.Count(s.journal.String(), want) != 1 {
				t.Errorf("the log lacks one %q: %s", want, s.journal.String())
			}
		}
	})
}

// What is announced is looked at without delay.
func TestAlerterIsWoken(t *testing.T) {
	onStage(t, func(t *testing.T, s *stage) {
		s.show(view(locked("work")), 0)
		s.Changed()
		synctest.Wait()
		if got := s.hook.heard(); got != "credentials:work" {
			t.Errorf("heard %q at once", got)
		}
	})
}

// While the webhook cannot be reached the newest about each thing waits, and is
// told when the network changes, or within a minute.
func TestWebhookIsTriedAgain(t *testing.T) {
	onStage(t, func(t *testing.T, s *stage) {
		s.opts.Words = func(err error) string { return "in plain words: " + err.Error() }
		s.hook.set(errors.New("no route to host"), 0)
		s.show(view(locked("work"), locked("home")), 5*time.Minute)
		s.show(view(locked("work"), up("home")), 5*time.Minute)
		if n := s.hook.tries(); n < 9 || n > 12 {
			t.Errorf("%d tries in ten minutes", n)
		}
		if n := strings.Count(s.journal.String(), "cannot be told: in plain words: no route to host"); n != 1 {
			t.Errorf("the log says so %d times: %s", n, s.journal.String())
		}
		s.hook.set(nil, 0)
		s.Changed()
		synctest.Wait()
		if got := s.hook.heard(); got != "credentials:work -credentials:home second-choice:work" {
			t.Errorf("heard %q", got)
		}
		s.hook.set(nil, http.StatusBadGateway)
		s.show(view(up("work"), up("home")), 10*time.Second)
		s.hook.set(nil, 0)
		s.show(view(up("work"), up("home")), postAgain)
		if got := s.hook.heard(); got != "credentials:work -credentials:home second-choice:work -credentials:work -first-choice:work" {
			t.Errorf("heard %q", got)
		}
	})
}

// Being online again is a reason to try at once.
func TestWebhookIsTriedWhenOnline(t *testing.T) {
	onStage(t, func(t *testing.T, s *stage) {
		away := view(up("work"))
		away.Queue.InDoubt, away.Outlook.State = 1, "portal"
		back := away
		back.Outlook.State = "online"
		s.hook.set(errors.New("no route to host"), 0)
		s.show(away, 10*time.Second)
		s.hook.set(nil, 0)
		s.show(away, 10*time.Second)
		if got := s.hook.heard(); got != "" {
			t.Fatalf("heard %q", got)
		}
		s.show(back, lookEvery)
		if got := s.hook.heard(); got != "in-doubt:" {
			t.Errorf("heard %q", got)
		}
	})
}

func TestWebhookIsGivenUp(t *testing.T) {
	onStage(t, func(t *testing.T, s *stage) {
		s.hook.set(errors.New("no route to host"), 0)
		s.show(view(up("work"), locked("home")), postWaits+5*time.Minute)
		n := s.hook.tries()
		s.hook.set(nil, 0)
		s.show(view(up("work"), locked("home")), time.Hour)
		if s.hook.heard() != "" || s.hook.tries() != n || !strings.Contains(s.journal.String(), "given up") {
			t.Errorf("heard %q, log %s", s.hook.heard(), s.journal.String())
		}
	})
}

// What is refused is not tried again, and does not keep the next from being told.
func TestWebhookRefuses(t *testing.T) {
	for _, code := range []int{http.StatusNotFound, http.StatusTemporaryRedirect} {
		onStage(t, func(t *testing.T, s *stage) {
			s.hook.set(nil, code)
			s.show(view(up("work"), locked("home")), 10*time.Minute)
			if n := s.hook.tries(); n != 1 || !strings.Contains(s.journal.String(), "it answers ") {
				t.Errorf("%d: %d tries, log %s", code, n, s.journal.String())
			}
			s.hook.set(nil, 0)
			s.show(view(up("work"), up("home")), time.Minute)
			if got := s.hook.heard(); got != "-credentials:home" {
				t.Errorf("heard %q", got)
			}
		})
	}
}

// New settings count for what comes.
func TestSettingsChange(t *testing.T) {
	onStage(t, func(t *testing.T, s *stage) {
		s.Set(Settings{Every: time.Minute, Down: time.Minute})
		s.show(view(locked("work")), time.Minute)
		if n := s.hook.tries(); n != 0 {
			t.Errorf("%d tries without a webhook", n)
		}
		s.show(view(down("work")), 2*time.Minute)
		if !strings.Contains(s.journal.String(), "event=all-down") {
			t.Errorf("log %s", s.journal.String())
		}
	})
}
