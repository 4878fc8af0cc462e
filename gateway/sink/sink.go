package sink

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"log/slog"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// Options says what a sink offers and does. Its zero value takes everything
// and keeps nothing.
type Options struct {
	Name     string            // in the greeting, default "sink.invalid"
	Dir      string            // Maildir to file in, "" for none
	Keep     bool              // remember messages, with bodies, for Messages
	TLS      *tls.Config       // for STARTTLS, or for Implicit
	Implicit bool              // TLS from the first octet (RFC 8314)
	Users    map[string]string // passwords by user name; when set, MAIL needs AUTH
	Size     int64             // largest message, announced by SIZE; 0: none
	Without  []string          // EHLO keywords not to offer and not to honour
	Extra    []string          // EHLO lines to offer besides: DSN, SMTPUTF8, REQUIRETLS (over TLS), LIMITS …
	Faults   []Fault           // the first that fits at a stage counts
	// Ledger gets one Write per event, before the octets it is about leave:
	//
	//	dot-seen MESSAGE-ID TIME RCPT…
	//	answered MESSAGE-ID TIME CODE
	//
	// Give it a file opened with O_APPEND, and it survives what happens to the
	// process.
	Ledger    io.Writer
	OnMessage func(Message) // called before the dot is answered
	Log       *slog.Logger
	// Listen opens the listener again on Restore, default net.Listen.
	Listen func(network, address string) (net.Listener, error)
}

// Message is one mail that was taken.
type Message struct {
	From, Hello, User string
	To                []string
	Params            string   // of MAIL, as received
	RcptParams        []string // of RCPT, beside To; nil unless DSN is offered
	Body              []byte   // dots unstuffed; nil unless Keep or OnMessage is set
	Size              int64    // of Body
	At                time.Time
	TLS               bool
	Conn              int // counted from 1
}

// Server is a sink. Make it with New.
type Server struct {
	opts Options
	log  *slog.Logger

	conns, transactions, taken, files atomic.Int64

	mu       sync.Mutex // guards all below
	faults   []Fault
	messages []Message
	open     map[net.Conn]struct{}
	cut      chan struct{} // closed while cut; a new one after Restore
	restored chan net.Listener
	serving  net.Listener
}

// New makes a sink.
func New(opts Options) *Server {
	if opts.Name == "" {
		opts.Name = "sink.invalid"
	}
	if opts.Log == nil {
		opts.Log = slog.New(slog.DiscardHandler)
	}
	if opts.Listen == nil {
		opts.Listen = net.Listen
	}
	return &Server{
		opts:     opts,
		log:      opts.Log,
		faults:   opts.Faults,
		open:     map[net.Conn]struct{}{},
		cut:      make(chan struct{}),
		restored: make(chan net.Listener, 1),
	}
}

// Serve takes connections until ctx ends, then resets those still open and
// returns nil; the sink stays cut. It owns l and is called once. While the sink is cut, nobody
// listens.
func (s *Server) Serve(ctx context.Context, l net.Listener) error {
	var sessions sync.WaitGroup
	defer sessions.Wait()
	defer s.Cut() // also ends what hangs
	s.mu.Lock()
	s.serving = l
	s.mu.Unlock()
	for {
		s.mu.Lock()
		cut := s.cut
		s.mu.Unlock()
		stop := context.AfterFunc(ctx, func() { _ = l.Close() })
		err := s.accept(l, &sessions)
		stop()
		_ = l.Close()
		if ctx.Err() != nil {
			return nil
		}
		select {
		case <-cut:
		default:
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case l = <-s.restored:
		}
	}
}

func (s *Server) accept(l net.Listener, sessions *sync.WaitGroup) error {
	for {
		c, err := l.Accept()
		if err != nil {
			return err
		}
		sessions.Go(func() { s.ServeConn(c) })
	}
}

// ServeConn speaks SMTP on c until it ends. It owns c.
func (s *Server) ServeConn(c net.Conn) {
	s.mu.Lock()
	cut := s.cut
	select {
	case <-cut:
		s.mu.Unlock()
		abort(c)
		return
	default:
	}
	s.open[c] = struct{}{}
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		delete(s.open, c)
		s.mu.Unlock()
		_ = c.Close()
	}()
	newSession(s, c, cut).run()
}

// Cut takes the sink off the net: its listener closes, so that dials are
// refused, and its connections are reset.
func (s *Server) Cut() {
	s.mu.Lock()
	select {
	case <-s.cut:
		s.mu.Unlock()
		return
	default:
	}
	close(s.cut)
	l := s.serving
	s.mu.Unlock()
	if l != nil {
		_ = l.Close()
	}
	s.drop()
}

// Restore undoes Cut. It fails when somebody else has taken the address.
func (s *Server) Restore() error {
	s.mu.Lock()
	select {
	case <-s.cut:
	default:
		s.mu.Unlock()
		return nil
	}
	l := s.serving
	s.mu.Unlock()
	if l != nil {
		again, err := s.opts.Listen(l.Addr().Network(), l.Addr().String())
		if err != nil {
			return err
		}
		defer func() { s.restored <- again }()
		l = again
	}
	s.mu.Lock()
	s.cut, s.serving = make(chan struct{}), l
	s.mu.Unlock()
	return nil
}

// drop resets every connection.
func (s *Server) drop() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.open {
		abort(c)
	}
}

// abort closes with a RST where the connection can.
func abort(c net.Conn) {
	for {
		over, ok := c.(interface{ NetConn() net.Conn })
		if !ok {
			break
		}
		c = over.NetConn()
	}
	if l, ok := c.(interface{ SetLinger(int) error }); ok {
		_ = l.SetLinger(0)
	}
	_ = c.Close()
}

// SetFaults replaces the faults, also for sessions under way.
func (s *Server) SetFaults(faults ...Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults = faults
}

// fault finds the fault for a place in the dialogue.
func (s *Server) fault(at Stage, rcpt string, msg, conn int) []Step {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, f := range s.faults {
		if f.Stage == at && (f.Rcpt == "" || f.Rcpt == rcpt) && f.Msgs.holds(msg) && f.Conns.holds(conn) {
			return f.Steps
		}
	}
	return nil
}

// Count is how many messages were taken.
func (s *Server) Count() int { return int(s.taken.Load()) }

// Transactions is how many MAIL commands have come so far.
func (s *Server) Transactions() int { return int(s.transactions.Load()) }

// Conns is how many connections were made.
func (s *Server) Conns() int { return int(s.conns.Load()) }

// Messages lists what was taken, oldest first, when Options.Keep is set.
func (s *Server) Messages() []Message {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.messages)
}

// take makes the message ours.
func (s *Server) take(m Message) error {
	if s.opts.Dir != "" {
		if err := s.file(m); err != nil {
			s.log.Error("filing a message", "err", err)
			return err
		}
	}
	s.taken.Add(1)
	if s.opts.Keep {
		s.mu.Lock()
		s.messages = append(s.messages, m)
		s.mu.Unlock()
	}
	if s.opts.OnMessage != nil {
		s.opts.OnMessage(m)
	}
	return nil
}

// needsBody says whether anybody looks at bodies.
func (s *Server) needsBody() bool {
	return s.opts.Keep || s.opts.Dir != "" || s.opts.OnMessage != nil
}

var errEnd = errors.New("session ended")
