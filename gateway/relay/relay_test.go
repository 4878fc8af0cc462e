package relay

import (
	"context"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/synctest"

	"mailroam/gateway/sink"
)

const host = "mx.example"

// world is an upstream with a sink at its other end, on a network of their own.
type world struct {
	t    *testing.T
	net  *sink.Network
	sink *sink.Server
	up   *Upstream
}

// inWorld runs test in a synctest bubble.
func inWorld(t *testing.T, so sink.Options, ro Options, test func(*world)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := &world{t: t, net: sink.NewNetwork()}
		so.Keep, so.Listen = true, w.net.Listen
		w.sink = sink.New(so)
		l, err := w.net.Listen("tcp", host+":25")
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() {
			defer close(done)
			_ = w.sink.Serve(ctx, l)
		}()
		if ro.Endpoints == nil {
			ro.Endpoints = []Endpoint{{Mode: Insecure, Host: host, Port: "25"}}
		}
		ro.Name, ro.Hello, ro.Dial = "test", "client.example", w.net.Dial
		w.up = New(ro)
		test(w)
		w.up.CloseIdle()
		w.sink.Cut()
		cancel()
		<-done
	})
}

const letter = "Subject: hello\r\n\r\n.one\r\n..two\r\nend\r\n"

// mail is a delivery of text to the recipients.
func mail(text string, rcpts ...string) Delivery {
	return Delivery{
		Envelope:  Envelope{ReversePath: "ann@example.com", Recipients: To(rcpts...), Size: int64(len(text))},
		Body:      func(context.Context) (io.ReadCloser, error) { return io.NopCloser(strings.NewReader(text)), nil },
		BeforeDot: func(context.Context, []int, []RcptResult) error { return nil },
	}
}

func faults(t *testing.T, texts ...string) (fs []sink.Fault) {
	t.Helper()
	for _, text := range texts {
		f, err := sink.ParseFault(text)
		if err != nil {
			t.Fatal(err)
		}
		fs = append(fs, f)
	}
	return fs
}

// kept counts the sessions that wait to be used again.
func (w *world) kept() int {
	w.up.idle.mu.Lock()
	defer w.up.idle.mu.Unlock()
	return len(w.up.idle.idle)
}

func (w *world) deliver(d Delivery) Result { return w.up.Deliver(w.t.Context(), d) }

func password(pw string) func(context.Context) (string, error) {
	return func(context.Context) (string, error) { return pw, nil }
}

// brief is a result in a word.
func brief(r RcptResult) string {
	switch {
	case r.InDoubt:
		return r.Stage.String() + " in doubt"
	case r.Err != nil:
		return r.Stage.String() + " error"
	default:
		return fmt.Sprintf("%s %d", r.Stage, r.Reply.Code)
	}
}

func (w *world) want(res Result, want ...string) {
	w.t.Helper()
	var got []string
	for _, r := range res.Rcpts {
		got = append(got, brief(r))
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		w.t.Errorf("got %v (%v), want %v", got, res.Rcpts, want)
	}
}

func TestDeliver(t *testing.T) {
	for _, without := range [][]string{nil, {"PIPELINING"}, {"SIZE", "8BITMIME"}} {
		inWorld(t, sink.Options{Without: without}, Options{}, func(w *world) {
			for range 3 {
				w.want(w.deliver(mail(letter, "b@example.com", "c@example.com")), "dot 250", "dot 250")
			}
			got := w.sink.Messages()
			if len(got) != 3 || string(got[2].Body) != letter || fmt.Sprint(got[2].To) != "[b@example.com c@example.com]" || got[2].From != "ann@example.com" || got[2].Hello != "client.example" {
				t.Errorf("got %+v", got)
			}
			if n := w.sink.Conns(); n != 1 {
				t.Errorf("%d connections for three messages", n)
			}
		})
	}
}
