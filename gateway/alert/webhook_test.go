package alert

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// told makes an Alerter that posts to url. It has time: a busy machine needs more
// than ten seconds to read all roots of the system.
func told(url string, o Options) *Alerter {
	a := New(o, Settings{Webhook: func(context.Context) (string, error) { return url, nil }})
	a.client.Timeout = 5 * time.Minute
	return a
}

func TestWebhookGetsJSON(t *testing.T) {
	var body []byte
	var header http.Header
	var user, password string
	srv := httptest.NewTLSServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, _ = io.ReadAll(r.Body)
		header = r.Header
		user, password, _ = r.BasicAuth()
	}))
	defer srv.Close()
	url := strings.Replace(srv.URL, "https://", "https://ann:hunter2@", 1) + "/x?token=hunter2"
	a := told(url, Options{Hostname: "gw.example.org", Version: "1.2", Transport: srv.Client().Transport})
	e := Event{Kind: SecondChoice, Upstream: "work", Text: `Running on "home" <now>`, Since: noon}
	if err := a.send(t.Context(), e); err != nil {
		t.Fatal(err)
	}
	var got map[string]any
	if err := json.Unmarshal(body, &got); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]any{
		"event": "second-choice", "upstream": "work", "text": e.Text, "since": "2026-03-01T12:00:00Z", "ended": false, "hostname": "gw.example.org", "version": "1.2",
	} {
		if got[name] != want {
			t.Errorf("%s is %v, want %v", name, got[name], want)
		}
	}
	if len(got) != 7 || header.Get("Content-Type") != "application/json" || user != "ann" || password != "hunter2" {
		t.Errorf("%s, header %v, user %q", body, header, user)
	}
}

// Neither a stranger nor another server than the one named hears anything, and
// no error tells the URL.
func TestWebhookIsParticular(t *testing.T) {
	heard := 0
	stranger := httptest.NewTLSServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { heard++ }))
	defer stranger.Close()
	elsewhere := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, stranger.URL+"/hunter2", http.StatusPermanentRedirect)
	}))
	defer elsewhere.Close()
	for name, tt := range map[string]struct {
		url       string
		transport http.RoundTripper
		want      string
	}{
		"a certificate nobody knows": {stranger.URL, nil, "certificate"},
		"another server":             {elsewhere.URL, stranger.Client().Transport, "sends us elsewhere"},
		"nobody":                     {"http://127.0.0.1:1", nil, "refused"},
		"no URL":                     {"https://exa\x7fmple", nil, "cannot be used"},
	} {
		t.Run(name, func(t *testing.T) {
			url := strings.Replace(tt.url, "://", "://ann:hunter2@", 1) + "/hunter2?token=hunter2"
			err := told(url, Options{Transport: tt.transport}).send(t.Context(), Event{Kind: Quota})
			if err == nil || !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), "hunter") || heard > 0 {
				t.Errorf("%v, and %d heard", err, heard)
			}
		})
	}
	// It can succeed.
	if err := told(stranger.URL, Options{Transport: stranger.Client().Transport}).send(t.Context(), Event{}); err != nil || heard != 1 {
		t.Errorf("%v, and %d heard", err, heard)
	}
}

// A server that sends in circles, or never comes to an end, costs one request
// and little memory.
func TestWebhookIsBounded(t *testing.T) {
	var asked, sent atomic.Int64
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		if r.URL.Path == "/circle" {
			http.Redirect(w, r, "/circle", http.StatusTemporaryRedirect)
			return
		}
		for block := make([]byte, 64<<10); ; {
			n, err := w.Write(block)
			if sent.Add(int64(n)); err != nil || sent.Load() > 1<<30 {
				return
			}
		}
	}))
	defer srv.Close()
	for path, want := range map[string]string{"/circle": "sends us elsewhere", "/endless": ""} {
		asked.Store(0)
		err := told(srv.URL+path, Options{}).send(t.Context(), Event{Kind: Quota})
		if got := fmt.Sprint(err); want == "" && err != nil || !strings.Contains(got, want) || asked.Load() != 1 {
			t.Errorf("%s: %s after %d requests", path, got, asked.Load())
		}
	}
	srv.Close() // waits until the handler gave up
	if n := sent.Load(); n > 64<<20 {
		t.Errorf("it took %d octets", n)
	}
}
