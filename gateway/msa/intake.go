package msa

import (
	"context"
	"io"
	"slices"
	"time"

	"mailroam/gateway/header"
	"mailroam/queue"
)

// workspace is the memory of one body, kept for the next.
type workspace struct {
	body [bodyBuffer]byte
	head []byte
}

// accept takes the message of the transaction and makes it durable. An error
// means that nothing was stored; the rest of the body has been read then, or
// the connection is at its end.
func (s *session) accept() (queue.ID, error) {
	c, ws := s.conn, s.server.workspaces.Get().(*workspace)
	defer s.server.workspaces.Put(ws)
	c.borrow(ws.body[:])
	defer c.giveBack()
	var b body = &chunks{c}
	if !c.chunk.on {
		c.pace = s.server.pace(time.Now())
		b = &dots{c: c, start: true}
	}
	id := queue.NewID()
	err := s.store(id, s.env, ws, b)
	if err != nil && c.err == nil && len(c.feed) == 0 && (silent(err) || !b.rest(s.server.MaxMessage)) {
		c.hangUp()
	}
	return id, err
}

// store moves a body into the queue and commits it.
func (s *session) store(id queue.ID, env envelope, ws *workspace, b body) error {
	if s.conn.chunk.on { // for DATA the gate asked
		if err := s.server.Admit(env.size); err != nil {
			return err
		}
	}
	draft, err := s.server.Session.NewDraft(s.work, id)
	if err != nil {
		return err
	}
	defer draft.Abort()

	at := time.Now()
	head := heading{w: draft, trace: s.trace(id, env, at), maxHops: s.server.Limits.MaxHops, buf: ws.head[:0]}
	defer func() { ws.head = keep(head.buf) }()
	text := filter{w: &head}
	size, err := pump(&text, b, s.server.MaxMessage)
	if err != nil {
		return err
	}
	if err := text.Close(); err != nil {
		return err
	}
	if err := head.Close(); err != nil {
		return err
	}

	m := queue.NewMessage{
		ID: id, Accepted: at.UTC(), ReversePath: env.from, Recipients: env.rcpts,
		Content: content(env, head.facts, text.eightBit), Return: env.ret,
		Client: queue.Client{Addr: s.conn.client(), Helo: env.helo},
	}
	first := s.server.File(&m)
	claim, err := draft.Commit(s.work, first, m)
	if err != nil {
		if first != "" {
			s.server.Unfile(first)
		}
		return err
	}
	s.accepted(id, env, size)
	if first != "" && !s.server.Take(claim) {
		if err := s.server.Session.Requeue(context.WithoutCancel(s.work), claim); err != nil {
			// It is durable all the same; the next start finds its lease.
			s.server.Log.Error("alert", "id", id.String(), "text", "giving a claim back: "+queue.Printable(err.Error(), maxLogged))
		}
	}
	return nil
}

// content is what was seen of a message. That SMTPUTF8 was said does not make it
// one that only some upstreams can carry: where neither envelope nor header
// needs it, it should not be said to the next server either (RFC 6531 3.4). Nor
// does a header in raw UTF-8 without it: many programs send that, and it has
// always gone as 8-bit text; and so do the headers of MIME parts, which nobody
// reads here.
func content(env envelope, f header.Facts, eightBit bool) queue.Content {
	utf8 := env.utf8 && (f.UTF8 || !isASCII(env.from) || slices.ContainsFunc(env.rcpts, func(r queue.Addressee) bool {
		return !isASCII(r.Address) || !isASCII(r.ORcpt)
	}))
	return queue.Content{
		Authors: f.Authors, MessageID: f.MessageID, Automatic: f.Automatic,
		EightBit: eightBit || utf8, // the trace field may name a recipient
		UTF8:     utf8,
	}
}

// pump moves a body through w. Exactly limit octets pass.
func pump(w io.Writer, b body, limit int64) (size int64, err error) {
	for {
		p, err := b.next()
		if err == io.EOF {
			return size, nil
		}
		if err != nil {
			return size, err
		}
		if size += int64(len(p)); size > limit {
			return size, tooLarge
		}
		if _, err := w.Write(p); err != nil {
			return size, err
		}
	}
}

func (s *session) trace(id queue.ID, env envelope, at time.Time) *trace {
	t := &trace{
		hostname: s.server.Hostname, private: s.server.Private,
		client: s.conn.addr, helo: env.helo, esmtp: env.esmtp, utf8: env.utf8, id: id, at: at,
	}
	if len(env.rcpts) == 1 {
		t.rcpt = env.rcpts[0].Address
	}
	return t
}

// keep returns a buffer for the next message unless it has grown too big to
// be kept by every workspace.
func keep(b []byte) []byte {
	if cap(b) > bodyBuffer {
		return nil
	}
	return b
}
