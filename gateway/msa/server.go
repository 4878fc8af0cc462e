package msa

import (
	"context"
	"fmt"
	"log/slog"
	"math"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/emersion/go-smtp"

	"mailroam/queue"
)

// Options say who may send what, and where accepted mail goes. Hostname and
// Session must be set. All functions are called from many goroutines.
type Options struct {
	// Hostname is a domain or an address literal, for the greeting, Received
	// and Message-ID.
	Hostname string
	// Allow lists the networks that may send; others are refused at MAIL.
	Allow []netip.Prefix
	// Private keeps the client's name and address out of the trace field.
	Private bool
	// MaxMessage is how many octets a message may have as it is sent: exactly
	// that many pass. 0 means 50 MiB; more than 4 GiB - 1 cannot be asked for.
	MaxMessage int64
	// Session takes the mail. When it is poisoned or closed, connections end
	// without a reply: the client tries again, and any reply could be a lie.
	Session queue.Session
	// Admit says whether there is room for a message of size octets, 0 when
	// the client did not tell. queue.ErrFull becomes 452 4.3.1. It is asked
	// at MAIL and again before the body. nil: always.
	Admit func(size int64) error
	// Permit says why no upstream may send for a reverse-path, and to a
	// recipient, who is "" at MAIL; the error's text is shown to the client.
	// nil: always.
	Permit func(reversePath, recipient string) error
	// File fills in Filing and Online. The message is born leased at upstream
	// first, or is queued when that is "". nil: queued, due now.
	File func(m *queue.NewMessage) (first string)
	// One of them follows when File named a first: Take, which starts the
	// delivery of the claim or gives it back to the queue by false, or Unfile,
	// because the message was not stored. nil: never, and nothing to do.
	Take   func(queue.Claim) bool
	Unfile func(first string)
	Limits Limits
	Log    *slog.Logger // nil: none
}

// Server is one listener's worth of sessions.
type Server struct {
	Options
	lobby      *lobby
	workspaces sync.Pool
}

// New makes a Server. Serve it once.
func New(o Options) *Server {
	o.Limits = o.Limits.withDefaults()
	if o.MaxMessage <= 0 {
		o.MaxMessage = 50 << 20
	}
	o.MaxMessage = min(o.MaxMessage, math.MaxUint32) // sums of sizes never overflow
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Admit == nil {
		o.Admit = func(int64) error { return nil }
	}
	if o.Permit == nil {
		o.Permit = func(string, string) error { return nil }
	}
	if o.File == nil {
		o.File = func(m *queue.NewMessage) string {
			m.Filing = queue.Filing{Due: m.Accepted, Age: m.Accepted}
			return ""
		}
	}
	if o.Take == nil {
		o.Take = func(queue.Claim) bool { return false }
	}
	if o.Unfile == nil {
		o.Unfile = func(string) {}
	}
	return &Server{
		Options:    o,
		lobby:      newLobby(o.Limits),
		workspaces: sync.Pool{New: func() any { return new(workspace) }},
	}
}

// Serve takes mail from l until ctx ends, and closes l. Then clients that wait
// get 421 at once, those in a body get the reply to it and then 421 (RFC 5321
// 3.8), and whoever is not done after Limits.Drain is cut off without a reply.
// When it returns no session runs any more. The error is the listener's; it is
// nil when ctx ended.
func (s *Server) Serve(ctx context.Context, l net.Listener) error {
	// What sessions do outlives ctx: a body under way may still be finished.
	work, cut := context.WithCancel(context.WithoutCancel(ctx))
	defer cut()

	accepting := make(chan error, 1)
	go func() {
		accepting <- s.dialogue().Serve(&door{Listener: l, server: s, work: work})
	}()
	var err error
	select {
	case <-ctx.Done():
		l.Close()
		<-accepting
	case err = <-accepting:
		l.Close()
		err = fmt.Errorf("taking connections at %s: %w", l.Addr(), err)
	}

	late := time.AfterFunc(s.Limits.Drain, func() {
		s.lobby.cut() // first: a commit that is told to end must find nobody to tell
		cut()
	})
	defer late.Stop()
	s.lobby.drain()
	return err
}

// dialogue is go-smtp's server, set up so that it only ever speaks to conns.
// Deadlines, line lengths and counts are theirs.
func (s *Server) dialogue() *smtp.Server {
	d := smtp.NewServer(smtp.BackendFunc(func(c *smtp.Conn) (smtp.Session, error) {
		return c.Conn().(*conn).session, nil
	}))
	d.Domain = s.Hostname
	d.MaxMessageBytes = s.MaxMessage
	d.MaxLineLength = 0
	d.EnableDSN, d.EnableSMTPUTF8 = true, true // only so that EHLO offers them
	d.ErrorLog = complaints{s.Log}
	return d
}

// door gives go-smtp only connections that may come in, wrapped.
type door struct {
	net.Listener
	server *Server
	work   context.Context
	logged time.Time // when a client was last said to be turned away
}

func (d *door) Accept() (net.Conn, error) {
	for {
		nc, err := d.Listener.Accept()
		if err != nil {
			return nil, err
		}
		c := newConn(d.work, nc, d.server)
		refusal := d.server.lobby.enter(c)
		if refusal == nil {
			return c, nil
		}
		c.turnAway(refusal)
		if now := time.Now(); now.Sub(d.logged) >= time.Second { // a flood must not fill the log too
			d.logged = now
			c.session.note(format(refusal))
		}
	}
}
