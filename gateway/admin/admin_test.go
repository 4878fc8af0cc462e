package admin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"mailroam/health"
	"mailroam/queue"
	"mailroam/queue/queuetest"
)

type upstreams []health.Status

func (u upstreams) Status() []health.Status { return u }

// running is a server with its store and a client.
type running struct {
	store   queue.Store
	session queue.Session
	client  *Client
	path    string
	log     strings.Builder
	wakes   int
}

// run starts a server and ends it with the test.
func run(t *testing.T, change func(*Options)) *running {
	t.Helper()
	r := &running{store: queuetest.NewMemory(), path: SocketPath(t.TempDir())}
	var err error
	if r.session, err = r.store.Join(t.Context()); err != nil {
		t.Fatal(err)
	}
	o := Options{
		Store: r.store, Health: upstreams{{Name: "work"}, {Name: "home"}}, Wake: func() { r.wakes++ },
		Info: func() Info { return Info{PID: 7, Hostname: "gw.example.org", Listen: []string{"127.0.0.1:2525"}} },
		Network: func() Network {
			return Network{Online: true, Outlook: health.Outlook{State: health.Online, Generation: 3}, Interfaces: []Interface{{"eth0", []netip.Prefix{netip.MustParsePrefix("192.0.2.7/24")}}}}
		},
		Log: slog.New(slog.NewTextHandler(&r.log, nil)),
	}
	if change != nil {
		change(&o)
	}
	l, err := Listen(t.Context(), r.path)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- New(r.path, o).Serve(ctx, l) }()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	r.client = NewClient(r.path)
	return r
}

// id makes IDs that differ in the letters a test chooses.
func id(t *testing.T, tail string) queue.ID {
	t.Helper()
	id, err := queue.ParseID("06AAAAAAAAAAAAAAAAAAAAAAAA"[:26-len(tail)-1] + tail + "0")
	if err != nil {
		t.Fatal(err)
	}
	return id
}

func (r *running) add(t *testing.T, id queue.ID, from string, to ...string) {
	t.Helper()
	d, err := r.session.NewDraft(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fprintf(d, "Subject: %s\r\n\r\nhello\r\n", id)
	now := time.Now().UTC()
	if _, err := d.Commit(t.Context(), "", queue.NewMessage{
		ID: id, Accepted: now, ReversePath: from, Recipients: queue.To(to...), Filing: queue.Filing{Lane: "work", Due: now, Age: now.Add(time.Hour)},
	}); err != nil {
		t.Fatal(err)
	}
}

func (r *running) apply(t *testing.T, v queue.Verb, s Selection) queue.Affected {
	t.Helper()
	a, err := r.client.Apply(t.Context(), v, s)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func ids(ms iter.Seq2[queue.Message, error]) (got []queue.ID, err error) {
	for m, err := range ms {
		if err != nil {
			return got, err
		}
		got = append(got, m.ID)
	}
	return got, nil
}

func TestStatus(t *testing.T) {
	r := run(t, nil)
	r.add(t, id(t, "A"), "ann@example.org", "bob@example.net")
	r.add(t, id(t, "B"), "ann@example.org", "bob@example.net")
	r.add(t, id(t, "C"), "", "ann@example.org")
	r.apply(t, queue.OpHold, Selection{IDs: []string{"A0", "C0"}})
	s, err := r.client.Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if s.Gateway.PID != 7 || s.Upstreams[0].Name != "work" || s.Upstreams[1].Name != "home" {
		t.Errorf("status %+v", s)
	}
	network, err := json.Marshal(s.Network)
	if want := `{"online":true,"online_for_s":0,"state":"online","since":"0001-01-01T00:00:00Z","generation":3,"interfaces":[{"name":"eth0","addresses":["192.0.2.7/24"]}]}`; err != nil || string(network) != want {
		t.Errorf("network %s, %v", network, err)
	}
	if s.Queue.Queued != 1 || s.Queue.Held != 2 {
		t.Errorf("queue %+v", s.Queue)
	}
	if len(s.Held) != 2 || s.Held[0].ID != id(t, "C") || s.Held[1].ID != id(t, "A") {
		t.Errorf("held %+v; want the notice first", s.Held)
	}
}

func TestRoute(t *testing.T) {
	var asked queue.Message
	r := run(t, func(o *Options) {
		o.Health = upstreams{{Name: "work", State: "down", Why: "no answer"}, {Name: "home", State: "up"}}
		o.Route = func(m *queue.Message) ([]Choice, string) {
			asked = *m
			return []Choice{{Name: "work", May: true}, {Name: "home", Why: "not yours"}, {Name: "new", May: true, Turn: 1}}, "none"
		}
	})
	m := Question("ann@example.com", "bob@example.net", queue.Content{Authors: []string{"a@b.example", "c@d.example"}, EightBit: true, UTF8: true, RequireTLS: true}, 7)
	got, err := r.client.Route(t.Context(), m)
	if err != nil || !reflect.DeepEqual(asked, *m) {
		t.Fatalf("asked for %+v, %v, want %+v", asked, err, *m)
	}
	if len(got.Upstreams) != 3 || got.Upstreams[0].Why != "no answer" || got.Upstreams[1].Why != "not yours" || got.Upstreams[1].Now.State != "up" || got.Upstreams[2].Now != nil || got.NoRoute != "none" {
		t.Errorf("%+v", got)
	}
}

func TestMessages(t *testing.T) {
	r := run(t, nil)
	a, b, c := id(t, "A"), id(t, "B"), id(t, "C")
	r.add(t, a, "ann@example.org", "bob@example.net")
	r.add(t, b, "cat@example.org", "bob@example.net", "dan@example.com")
	r.add(t, c, "", "ann@example.org")
	r.apply(t, queue.OpDrop, Selection{IDs: []string{a.String()}})
	for _, tt := range []struct {
		name string
		sel  Selection
		want []queue.ID
	}{
		{"all that is unfinished, newest first", Selection{}, []queue.ID{c, b}},
		{"by state", Selection{States: []queue.State{queue.Done}}, []queue.ID{a}},
		{"by sender", Selection{From: "CAT@"}, []queue.ID{b}},
		{"by the null sender", Selection{From: "<>"}, []queue.ID{c}},
		{"by recipient", Selection{To: "@example.com"}, []queue.ID{b}},
		{"by age, none", Selection{Before: time.Now().Add(-time.Hour)}, nil},
		{"by age, all", Selection{Before: time.Now().Add(time.Hour)}, []queue.ID{c, b}},
		{"by a part of the ID", Selection{IDs: []string{"b0"}}, []queue.ID{b}},
		{"by two parts for one", Selection{IDs: []string{"b0", "Bo"}}, []queue.ID{b}},
		{"finished, by whole ID", Selection{IDs: []string{a.String()}}, []queue.ID{a}},
		{"finished, by part", Selection{IDs: []string{"A0"}}, []queue.ID{a}},
		{"by ID and state", Selection{IDs: []string{"A0"}, States: []queue.State{queue.Queued}}, nil},
	} {
		for name, desk := range map[string]Desk{"client": r.client, "direct": Direct{r.store}} {
			t.Run(tt.name+"/"+name, func(t *testing.T) {
				got, err := ids(desk.Messages(t.Context(), tt.sel))
				if err != nil || !slices.Equal(got, tt.want) {
					t.Errorf("got %v, %v; want %v", got, err, tt.want)
				}
			})
		}
	}
}

func TestBody(t *testing.T) {
	r := run(t, nil)
	a := id(t, "A")
	r.add(t, a, "ann@example.org", "bob@example.net")
	for name, desk := range map[string]Desk{"client": r.client, "direct": Direct{r.store}} {
		t.Run(name, func(t *testing.T) {
			body, err := desk.Body(t.Context(), a)
			if err != nil {
				t.Fatal(err)
			}
			defer body.Close()
			if text, err := io.ReadAll(body); err != nil || !strings.HasSuffix(string(text), "\r\n\r\nhello\r\n") {
				t.Errorf("got %q, %v", text, err)
			}
			if _, err := desk.Body(t.Context(), id(t, "B")); !errors.Is(err, queue.ErrNotFound) {
				t.Errorf("of no message: %v", err)
			}
		})
	}
}

// A part that names no message, or several, acts on none.
func TestPartsOfIDs(t *testing.T) {
	r := run(t, nil)
	r.add(t, id(t, "XA"), "ann@example.org", "bob@example.net")
	r.add(t, id(t, "XB"), "ann@example.org", "bob@example.net")
	r.add(t, id(t, "YB"), "ann@example.org", "bob@example.net")
	r.apply(t, queue.OpDrop, Selection{IDs: []string{"YB"}})
	for name, desk := range map[string]Desk{"client": r.client, "direct": Direct{r.store}} {
		t.Run(name, func(t *testing.T) {
			_, err := ids(desk.Messages(t.Context(), Selection{IDs: []string{"x"}}))
			e, ok := errors.AsType[*IDError](err)
			if !ok || !errors.Is(err, ErrAmbiguous) || e.Part != "x" || len(e.Candidates) != 2 {
				t.Errorf("ambiguous: %v", err)
			}
			for _, part := range []string{"nosuch", "", "?", id(t, "ZZ").String()} {
				if _, err := ids(desk.Messages(t.Context(), Selection{IDs: []string{part}})); !errors.Is(err, ErrNotFound) {
					t.Errorf("%q: %v", part, err)
				}
			}
			// What is finished does not make it ambiguous.
			if got, err := ids(desk.Messages(t.Context(), Selection{IDs: []string{"B0"}})); err != nil || got[0] != id(t, "XB") {
				t.Errorf("unfinished: %v, %v", got, err)
			}
		})
	}
	if _, err := r.client.Apply(t.Context(), queue.OpDrop, Selection{IDs: []string{"XA", "x"}}); !errors.Is(err, ErrAmbiguous) {
		t.Error(err)
	}
	if m, err := r.store.Get(t.Context(), id(t, "XA")); err != nil || m.State != queue.Queued {
		t.Errorf("%v %v after a refused drop", m.State, err)
	}
}

// Whether a message that is being sent obeys is not known yet, and the log says
// so: the next line may be that it was delivered.
func TestWishIsLoggedAsOne(t *testing.T) {
	r := run(t, nil)
	a := id(t, "A")
	r.add(t, a, "ann@example.org", "bob@example.net")
	request := queue.ClaimRequest{Lanes: []queue.LaneRequest{{Lane: "work", Upstream: "work"}}, Slots: map[string]int{"work": 1}}
	if cs, err := r.session.Claim(t.Context(), request); err != nil || len(cs) != 1 {
		t.Fatalf("%v, %v", cs, err)
	}
	r.apply(t, queue.OpHold, Selection{IDs: []string{a.String()}})
	if want := `msg=held id=` + a.String() + ` text="held by the operator, unless the attempt under way delivers it"`; !strings.Contains(r.log.String(), want) {
		t.Errorf("log %s", r.log.String())
	}
}

func TestApply(t *testing.T) {
	var told []queue.ID
	r := run(t, func(o *Options) {
		o.Notice = func(m queue.Message) *queue.NewMessage {
			told = append(told, m.ID)
			return &queue.NewMessage{ID: queue.NewID(), Accepted: time.Now().UTC(), Notice: true, Recipients: queue.To(m.ReversePath), Body: []byte("sorry\r\n")}
		}
	})
	a, b := id(t, "A"), id(t, "B")
	r.add(t, a, "ann@example.org", "bob@example.net")
	r.add(t, b, "ann@example.org", "eve@example.com")

	if _, err := r.client.Apply(t.Context(), queue.OpDrop, Selection{}); !errors.Is(err, ErrNoneMeant) {
		t.Errorf("nothing named: %v", err)
	}
	if _, err := r.client.Apply(t.Context(), "explode", Selection{All: true}); err == nil {
		t.Error("an unknown verb was taken")
	}
	if r.wakes != 0 {
		t.Error("woken for nothing")
	}
	if got := r.apply(t, queue.OpHold, Selection{All: true}); got.Matched != 2 || got.Changed != 2 {
		t.Errorf("hold: %+v", got)
	}
	if got := r.apply(t, queue.OpRetry, Selection{All: true}); got.Matched != 2 || got.Changed != 0 {
		t.Errorf("retry of held mail: %+v", got)
	}
	if got := r.apply(t, queue.OpRelease, Selection{To: "bob@"}); got.Changed != 1 || got.IDs[0] != a {
		t.Errorf("release: %+v", got)
	}
	if got := r.apply(t, queue.OpFail, Selection{IDs: []string{a.String()}}); got.Changed != 1 {
		t.Errorf("fail: %+v", got)
	}
	if !slices.Equal(told, []queue.ID{a}) {
		t.Errorf("notices for %v", told)
	}
	if got, err := ids(r.client.Messages(t.Context(), Selection{From: "<>"})); err != nil || len(got) != 1 {
		t.Errorf("notices queued: %v, %v", got, err)
	}
	if r.wakes != 4 { // also by the retry that found nothing to change
		t.Errorf("woken %d times", r.wakes)
	}
	for _, line := range []string{"msg=held id=" + b.String(), "msg=failed id=" + a.String() + ` text="failed by the operator"`} {
		if !strings.Contains(r.log.String(), line) {
			t.Errorf("the log lacks %q:\n%s", line, &r.log)
		}
	}
}

// breaking fails in the middle of a list.
type breaking struct{ queue.Store }

func (b breaking) List(ctx context.Context, f queue.Filter) iter.Seq2[queue.Message, error] {
	return func(yield func(queue.Message, error) bool) {
		for m := range b.Store.List(ctx, f) {
			if !yield(m, nil) {
				return
			}
			break
		}
		yield(queue.Message{}, fmt.Errorf("reading on: %w", queue.ErrCorrupt))
	}
}

func TestListThatBreaksOff(t *testing.T) {
	r := run(t, func(o *Options) { o.Store = breaking{o.Store} })
	r.add(t, id(t, "A"), "ann@example.org", "bob@example.net")
	got, err := ids(r.client.Messages(t.Context(), Selection{}))
	if len(got) != 1 || !errors.Is(err, queue.ErrCorrupt) || err.Error() != "reading on: "+queue.ErrCorrupt.Error() {
		t.Errorf("got %v, %v", got, err)
	}
}

func TestAnswersThatAreNone(t *testing.T) {
	for _, tt := range []struct{ method, path string }{
		{http.MethodGet, "/api/v1/messages?colour=red"},
		{http.MethodGet, "/api/v1/messages?state=tired"},
		{http.MethodGet, "/api/v1/messages?before=noon"},
		{http.MethodPost, "/api/v1/messages/drop?all=perhaps"},
		{http.MethodPost, "/api/v1/messages/drop?older=1d"},
		{http.MethodGet, "/api/v1/messages/" + strings.Repeat("Z", 26) + "/body"},
		{http.MethodGet, "/api/v1/nosuch"},
		{http.MethodPost, "/api/v1/status"},
	} {
		w := httptest.NewRecorder()
		s := New("", Options{Store: queuetest.NewMemory(), Health: upstreams{}})
		s.handler().ServeHTTP(w, httptest.NewRequest(tt.method, tt.path, nil))
		if w.Code < 400 {
			t.Errorf("%s %s: %d %s", tt.method, tt.path, w.Code, w.Body)
		}
	}
}

func TestNotRunning(t *testing.T) {
	c := NewClient(filepath.Join(t.TempDir(), "control.sock"))
	if err := c.Ping(t.Context()); !errors.Is(err, ErrNotRunning) {
		t.Error(err)
	}
	if _, err := c.Status(t.Context()); !errors.Is(err, ErrNotRunning) {
		t.Error(err)
	}
	if _, err := ids(c.Messages(t.Context(), Selection{})); !errors.Is(err, ErrNotRunning) {
		t.Error(err)
	}
	if _, err := c.Apply(t.Context(), queue.OpDrop, Selection{All: true}); !errors.Is(err, ErrNotRunning) {
		t.Error(err)
	}
}

// FuzzSelection: whatever is accepted means the same when it is sent again.
func FuzzSelection(f *testing.F) {
	f.Add("id=A&id=B&from=%3C%3E&state=held&state=done&all=true&doubt=1&before=2026-01-02T03:04:05Z")
	f.Add("to=x&to=y")
	f.Add("id=")
	f.Fuzz(func(t *testing.T, query string) {
		q, err := url.ParseQuery(query)
		if err != nil {
			return
		}
		s, err := parseSelection(q)
		if err != nil {
			return
		}
		again, err := parseSelection(s.query())
		same := s.Before.Equal(again.Before)
		s.Before, again.Before = time.Time{}, time.Time{}
		if err != nil || !same || !reflect.DeepEqual(s, again) {
			t.Errorf("%q: %+v became %+v, %v", query, s, again, err)
		}
	})
}

// Who has mail tried again may have mended an upstream, also where none waits for
// it; who holds or drops it has not.
func TestRetryAsksUpstreams(t *testing.T) {
	retries := 0
	r := run(t, func(o *Options) { o.Retry = func() { retries++ } })
	r.add(t, id(t, "A"), "ann@example.org", "bob@example.net")
	for i, c := range []struct {
		verb queue.Verb
		want int
	}{{queue.OpRetry, 1}, {queue.OpHold, 1}, {queue.OpRetry, 2}, {queue.OpRelease, 3}, {queue.OpDrop, 3}, {queue.OpRetry, 4}} {
		r.apply(t, c.verb, Selection{All: true})
		if retries != c.want {
			t.Errorf("%d: after %s %d times, want %d", i, c.verb, retries, c.want)
		}
	}
}

// Mail that all refuse comes before all other advice.
func TestStatusOfBarredMail(t *testing.T) {
	r := run(t, func(o *Options) { o.PolicyHold = func() time.Duration { return 24 * time.Hour } })
	r.add(t, id(t, "A"), "ann@example.org", "bob@example.net")
	request := queue.ClaimRequest{Lanes: []queue.LaneRequest{{Lane: "work", Upstream: "work"}}, Slots: map[string]int{"work": 1}}
	cs, err := r.session.Claim(t.Context(), request)
	if err != nil || len(cs) != 1 {
		t.Fatalf("%v, %v", cs, err)
	}
	now := time.Now().UTC()
	o := queue.Outcome{Filing: queue.Filing{Lane: "work", Due: now.Add(time.Hour), Age: now.Add(time.Hour)}, Barred: time.Hour, At: now}
	if err := r.session.Settle(t.Context(), cs[0], o); err != nil {
		t.Fatal(err)
	}
	s, err := r.client.Status(t.Context())
	if err != nil || s.Queue.Barred != 1 || len(s.Advice) == 0 || !strings.HasPrefix(s.Advice[0], "1 message is refused by every upstream") || !strings.Contains(s.Advice[0], "after 1d online") {
		t.Errorf("%+v, %v", s, err)
	}
}
