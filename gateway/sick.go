package gateway

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"mailroam/gateway/admin"
	"mailroam/queue/bolt"
)

// manyPoisonings is how often the disk may fail within ten minutes before a
// restart is no answer any more.
const manyPoisonings = 3

// runSick is the life of a gateway whose disk fails again and again: it shows
// what it knows, tells clients to keep their mail, and touches nothing. It does
// not exit, for a supervisor would only start it again.
func (g *Gateway) runSick(ctx context.Context) error {
	last := g.sick[len(g.sick)-1]
	g.log.Error("alert", "text", g.alert(), "error", last.Error)
	// Open before the listener: whoever sees the port answer may ask what is wrong.
	control, err := admin.Listen(ctx, admin.SocketPath(g.config.DataDir))
	if err == nil {
		err = runStages(ctx, []stage{
			{"control socket", func(ctx context.Context) error { return g.control().Serve(ctx, control) }},
			{"listener", func(ctx context.Context) error { return g.listen(ctx, turnAway) }},
		})
	}
	return errors.Join(err, g.store.Close())
}

// alert is what keeps mail from being taken, or from being taken and sent.
func (g *Gateway) alert() string {
	switch {
	case g.sick != nil:
		return fmt.Sprintf("the queue's disk failed %d times within ten minutes: no mail is taken or sent; check the disk, then restart mailroam", len(g.sick))
	case g.door.admit(0) != nil:
		return fullDisk
	}
	return ""
}

// turnAway answers every client that it should keep its mail and come back
// (RFC 5321 3.8).
func turnAway(ctx context.Context, _ Listen, l net.Listener) error {
	defer context.AfterFunc(ctx, func() { l.Close() })()
	for {
		c, err := l.Accept()
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return err
		}
		// One line fits any socket buffer, so this needs no goroutine.
		_ = c.SetDeadline(time.Now().Add(time.Second))
		_, _ = io.WriteString(c, "421 4.3.0 the queue's disk fails; no mail can be taken, try again later\r\n")
		_ = c.Close()
	}
}

// openStore opens the queue, or, when its disk has failed too often, only looks
// at it.
func (g *Gateway) openStore() (err error) {
	if g.sick, err = bolt.Poisonings(g.config.DataDir); err != nil {
		return err
	}
	if len(g.sick) < manyPoisonings {
		g.sick = nil
	}
	g.store, err = bolt.Open(bolt.Options{Dir: g.config.DataDir, Log: g.log, ReadOnly: g.sick != nil})
	return err
}
