package admin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"time"

	"mailroam/gateway/alert"
	"mailroam/health"
	"mailroam/queue"
)

// Options is what a Server needs. Store and Health must be set.
type Options struct {
	Store   queue.Store
	Health  interface{ Status() []health.Status }
	Network func() Network
	// Chains lists whose mail may take which upstreams.
	Chains func() []alert.Chain
	// PasswordKeys are the keys of the config by which upstreams get their
	// passwords.
	PasswordKeys func() map[string]string
	// Endpoint says where an upstream is, as host:port.
	Endpoint func(upstream string) string
	// Refusals lists the senders whose first choice refuses them.
	Refusals func() []alert.Refusal
	// Blocked lists the senders for whom an upstream relays nothing.
	Blocked func(upstream string) []Block
	// Route says what would be done with a message.
	Route func(*queue.Message) (choices []Choice, noRoute string)
	Info  func() Info
	// Notice makes the failure notice for `fail`, nil for none. It must be
	// pure and quick (queue.Op).
	Notice func(queue.Message) *queue.NewMessage
	// Wake is called after a person changed the queue, or would have all of it
	// tried again, and before it Retry where mail is to be tried again: whatever
	// refused it may have been mended.
	Wake, Retry func()
	// PolicyHold is how long mail waits that all upstreams refuse.
	PolicyHold func() time.Duration
	Log        *slog.Logger
}

// Server answers on the control socket.
type Server struct {
	path string
	Options
}

// New makes a server for the socket at path. Nothing listens before Run.
func New(path string, o Options) *Server {
	if o.Network == nil {
		o.Network = func() Network { return Network{} }
	}
	if o.Chains == nil {
		o.Chains = func() []alert.Chain { return nil }
	}
	if o.PasswordKeys == nil {
		o.PasswordKeys = func() map[string]string { return nil }
	}
	if o.Endpoint == nil {
		o.Endpoint = func(string) string { return "" }
	}
	if o.Refusals == nil {
		o.Refusals = func() []alert.Refusal { return nil }
	}
	if o.Blocked == nil {
		o.Blocked = func(string) []Block { return nil }
	}
	if o.Route == nil {
		o.Route = func(*queue.Message) ([]Choice, string) { return nil, "" }
	}
	if o.Info == nil {
		o.Info = func() Info { return Info{} }
	}
	if o.Wake == nil {
		o.Wake = func() {}
	}
	if o.Retry == nil {
		o.Retry = func() {}
	}
	if o.PolicyHold == nil {
		o.PolicyHold = func() time.Duration { return 0 }
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return &Server{path: path, Options: o}
}

// stopTime is how long Run waits at its end for requests under way.
const stopTime = 2 * time.Second

// Run listens and answers until ctx ends, then removes the socket.
func (s *Server) Run(ctx context.Context) error {
	l, err := Listen(ctx, s.path)
	if err != nil {
		return err
	}
	return s.Serve(ctx, l)
}

// Serve is Run for a socket that Listen opened before. It owns l.
func (s *Server) Serve(ctx context.Context, l net.Listener) error {
	h := &http.Server{
		Handler:           s.handler(),
		ReadHeaderTimeout: 10 * time.Second,
		IdleTimeout:       time.Minute,
		MaxHeaderBytes:    1 << 20, // IDs travel in the query
		ErrorLog:          slog.NewLogLogger(s.Log.Handler(), slog.LevelDebug),
	}
	stopped := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(stopped)
		grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTime)
		defer cancel()
		if h.Shutdown(grace) != nil {
			_ = h.Close()
		}
	})
	err := h.Serve(l)
	if stop() { // it failed by itself
		_ = h.Close()
		return fmt.Errorf("serving the control socket: %w", err)
	}
	<-stopped
	return nil
}

func (s *Server) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /api/v1/status", s.status)
	mux.HandleFunc("GET /api/v1/route", s.route)
	mux.HandleFunc("GET /api/v1/messages", s.messages)
	mux.HandleFunc("GET /api/v1/messages/{id}/body", s.body)
	mux.HandleFunc("POST /api/v1/messages/{verb}", s.apply)
	return mux
}

func (s *Server) status(w http.ResponseWriter, r *http.Request) {
	stats, err := s.Store.Stats(r.Context())
	if err != nil {
		refuse(w, err)
		return
	}
	waiting, err := held(r.Context(), s.Store)
	if err != nil {
		refuse(w, err)
		return
	}
	network, list := s.Network(), s.Health.Status()
	advice := advise(network, list, s.Chains(), s.Refusals(), s.PasswordKeys(), time.Now())
	if stats.Barred > 0 {
		advice = append([]string{alert.Barred(stats.Barred, s.PolicyHold())}, advice...)
	}
	answer(w, Status{
		Gateway: s.Info(), Held: waiting, Advice: advice,
		Network: network, Upstreams: s.upstreams(list), Queue: stats,
	})
}

func (s *Server) upstreams(list []health.Status) []Upstream {
	ups := []Upstream{}
	for _, h := range list {
		ups = append(ups, Upstream{Status: h, Why: h.Why, Endpoint: s.Endpoint(h.Name), Blocked: s.Blocked(h.Name)})
	}
	return ups
}

func (s *Server) messages(w http.ResponseWriter, r *http.Request) {
	sel, err := parseSelection(r.URL.Query())
	if err != nil {
		refuse(w, err)
		return
	}
	out := json.NewEncoder(w)
	begun := false
	for m, err := range (Direct{s.Store}).Messages(r.Context(), sel) {
		switch {
		case err != nil && begun:
			e, _ := toWire(err)
			_ = out.Encode(map[string]any{"error": e})
			return
		case err != nil:
			refuse(w, err)
			return
		}
		begun = true
		if out.Encode(m) != nil {
			return // the client has gone
		}
	}
}

func (s *Server) body(w http.ResponseWriter, r *http.Request) {
	id, err := queue.ParseID(r.PathValue("id"))
	if err != nil {
		refuse(w, &IDError{Part: r.PathValue("id"), Err: ErrNotFound})
		return
	}
	body, err := s.Store.OpenBody(r.Context(), id)
	if err != nil {
		refuse(w, err)
		return
	}
	defer func() { _ = body.Close() }()
	w.Header().Set("Content-Type", "application/octet-stream")
	if _, err := io.Copy(w, body); err != nil {
		// The client must not take a part for the whole.
		panic(http.ErrAbortHandler)
	}
}

// reasons are what queue show says about a message a person acted on.
var reasons = map[queue.Verb]string{
	queue.OpHold:    "held by the operator",
	queue.OpRelease: "released by the operator",
	queue.OpRetry:   "retried by the operator",
	queue.OpFail:    "failed by the operator",
	queue.OpDrop:    "dropped by the operator",
}

func (s *Server) apply(w http.ResponseWriter, r *http.Request) {
	verb := queue.Verb(r.PathValue("verb"))
	reason, ok := reasons[verb]
	if !ok {
		refuse(w, fmt.Errorf("there is no verb %q", verb))
		return
	}
	sel, err := parseSelection(r.URL.Query())
	if err != nil {
		refuse(w, err)
		return
	}
	if !sel.All && !sel.Narrow() {
		refuse(w, ErrNoneMeant)
		return
	}
	f, err := resolve(r.Context(), s.Store, sel)
	if err != nil {
		refuse(w, err)
		return
	}
	op := queue.Op{Verb: verb, Reason: reason, By: "operator", At: time.Now().UTC(), Notice: s.Notice}
	done, err := s.Store.Apply(r.Context(), f, op)
	// Who has mended something says so with --all, whether mail waits for it or
	// runs on another upstream meanwhile.
	mended := err == nil && verb == queue.OpRetry && sel.All
	if done.Changed > 0 || mended {
		s.note(r.Context(), verb, reason, done)
		if verb == queue.OpRetry || verb == queue.OpRelease {
			s.Retry()
		}
		s.Wake()
	}
	if err != nil {
		refuse(w, err)
		return
	}
	answer(w, done)
}

// note logs what a person ended or stopped; what was set going logs itself.
// Of a message that is being sent it is not known yet whether it obeys.
func (s *Server) note(ctx context.Context, verb queue.Verb, reason string, done queue.Affected) {
	event, ok := map[queue.Verb]string{queue.OpHold: "held", queue.OpFail: "failed", queue.OpDrop: "failed"}[verb]
	if !ok {
		return
	}
	for _, id := range done.IDs {
		text := reason
		if m, err := s.Store.Get(ctx, id); err == nil && m.State == queue.Leased {
			text += ", unless the attempt under way delivers it"
		}
		s.Log.Info(event, "id", id.String(), "text", text)
	}
	if more := done.Changed - len(done.IDs); more > 0 {
		s.Log.Info(event, "text", fmt.Sprintf("%d more %s", more, reason))
	}
}

func answer(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(v) // an error here is the client's going
}

func refuse(w http.ResponseWriter, err error) {
	if errors.Is(err, context.Canceled) {
		return
	}
	e, status := toWire(err)
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(map[string]any{"error": e})
}
