package main

import (
	"context"
	"fmt"
	"time"

	"mailroam/queue"
)

// patience is how long a scene may take before it counts as failed.
const patience = 20 * time.Second

// scene is a situation and what must become of a message sent in it.
type scene struct {
	title string
	// cut and restore are done first; ready is awaited then.
	cut, restore []int
	ready        func(context.Context) error
	waits        bool // the message stays queued
	by           int  // else the upstream that gets it
}

// play shows all scenes and fails when one does not go as it should.
func (s *stage) play(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-s.gateway.Ready():
	}
	a := s.app
	fmt.Fprintf(a.out, "A gateway on %s, and two practice upstreams in order of preference:\n", s.address())
	for i, u := range s.upstreams {
		fmt.Fprintf(a.out, "  %d  %s on %s\n", i+1, u.name, u.listener.Addr())
	}
	var waiting queue.ID
	sent := 0
	for _, sc := range []scene{
		{title: "Both upstreams work: mail leaves by the first.", by: 0},
		{title: "The first is cut off: mail leaves by the second, at once.", cut: []int{0}, by: 1},
		{title: "The first is back: mail leaves by it again.", restore: []int{0}, ready: s.preferred, by: 0},
		{title: "Both are cut off: mail is accepted, and waits safely on disk.", cut: []int{0, 1}, waits: true},
	} {
		sent++
		id, err := s.show(ctx, sc, sent)
		if err != nil {
			return err
		}
		if sc.waits {
			waiting = id
		}
	}
	if err := s.comeBack(ctx, waiting, sent); err != nil {
		return err
	}
	return s.tally(sent)
}

func (s *stage) title(text string) {
	fmt.Fprintln(s.app.out)
	s.say(s.app.colour.in(bold, text))
}

// show plays one scene with the n-th message.
func (s *stage) show(ctx context.Context, sc scene, n int) (queue.ID, error) {
	s.title(sc.title)
	for _, i := range append(sc.cut, sc.restore...) {
		if err := s.upstreams[i].toggle(); err != nil {
			return queue.ID{}, err
		}
		s.say("  " + s.upstreams[i].standing())
	}
	if sc.ready != nil {
		if err := sc.ready(ctx); err != nil {
			return queue.ID{}, err
		}
	}
	began := time.Now()
	id, err := submit(ctx, s.address(), letter{
		from: "you@example.org", to: "ann@example.net", subject: fmt.Sprintf("demo message %d", n), lines: []string{sc.title},
	})
	if err != nil {
		return id, fmt.Errorf("submitting message %d: %w", n, err)
	}
	s.say(fmt.Sprintf("  message %d: accepted in %s, as %s", n, span(time.Since(began)), id))
	if sc.waits {
		return id, s.mustWait(ctx, id, n)
	}
	return id, s.mustLeave(ctx, id, n, s.upstreams[sc.by].name, time.Time{})
}

// mustLeave awaits the delivery by an upstream; since is when that became
// possible, if not when the message was accepted.
func (s *stage) mustLeave(ctx context.Context, id queue.ID, n int, by string, since time.Time) error {
	m, err := s.app.follow(ctx, s.client, id, patience, func(at queue.Attempt) { s.tell(n, at, since) })
	if err != nil {
		return err
	}
	to := m.Recipients[0]
	if m.State != queue.Done || to.State != queue.Delivered || to.Last.Upstream != by {
		return s.wrong(n, fmt.Sprintf("should be delivered by %s, but it is %s (%s)", by, to.State, answered(to, time.Now())))
	}
	took := "after " + span(m.Ended.Sub(m.Accepted))
	if !since.IsZero() {
		took = fmt.Sprintf("after %s of waiting, %s after %s came back", span(m.Ended.Sub(m.Accepted)), span(m.Ended.Sub(since)), by)
	}
	s.say(fmt.Sprintf("  message %d: %s by %s %s", n, s.app.colour.in(green, "delivered"), by, took))
	return nil
}

// tell says that the n-th message was turned away, if it was after since.
func (s *stage) tell(n int, at queue.Attempt, since time.Time) {
	if at.Verdict != "delivered" && at.At.After(since) {
		s.say(fmt.Sprintf("  message %d: %s %s at %s: %s", n, at.Upstream, s.app.colour.in(yellow, "failed"), at.Stage, reply(at.Code, at.Enhanced, at.Text)))
	}
}

// mustWait sees that the message is still queued when it was looked at often
// enough to have been tried.
func (s *stage) mustWait(ctx context.Context, id queue.ID, n int) error {
	m, err := s.app.follow(ctx, s.client, id, 2*time.Second, func(at queue.Attempt) { s.tell(n, at, time.Time{}) })
	if err != nil {
		return err
	}
	if m.State == queue.Done || m.State == queue.Held {
		return s.wrong(n, "should wait, but it is "+string(m.State))
	}
	s.say(fmt.Sprintf("  message %d: %s in the queue; an outage counts as no attempt (%d so far)", n, s.app.colour.in(yellow, "waits"), m.Tries))
	return nil
}

// comeBack ends the outage: the second returns, and what waited leaves.
func (s *stage) comeBack(ctx context.Context, waiting queue.ID, n int) error {
	s.title("The second is back: what waited leaves by itself.")
	for _, i := range []int{1, 0} {
		if err := s.upstreams[i].toggle(); err != nil {
			return err
		}
		s.say("  " + s.upstreams[i].standing())
		if i == 1 {
			if err := s.mustLeave(ctx, waiting, n, s.upstreams[1].name, time.Now()); err != nil {
				return err
			}
		}
	}
	return nil
}

// preferred waits until the first upstream is the one to use again.
func (s *stage) preferred(ctx context.Context) error {
	late := time.After(patience)
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for {
		st, err := s.client.Status(ctx)
		if err != nil {
			return err
		}
		if st.Upstreams[0].Preferred {
			s.say("  the gateway trusts it again, after " + count(2, "good probe"))
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-late:
			return s.wrong(3, "cannot be sent by the first upstream: it is back, but not trusted again")
		case <-tick.C:
		}
	}
}

// tally counts copies at the upstreams: each message once.
func (s *stage) tally(sent int) error {
	fmt.Fprintln(s.app.out)
	arrived := 0
	for _, u := range s.upstreams {
		arrived += u.sink.Count()
	}
	text := fmt.Sprintf("%d sent, %d delivered (%d by %s, %d by %s), none lost, none twice.", sent, arrived,
		s.upstreams[0].sink.Count(), s.upstreams[0].name, s.upstreams[1].sink.Count(), s.upstreams[1].name)
	if arrived != sent {
		return fmt.Errorf("%d messages were sent, but %d copies arrived", sent, arrived)
	}
	s.say(s.app.colour.in(green, text))
	return nil
}

func (s *stage) wrong(n int, what string) error {
	return fmt.Errorf("message %d %s", n, what)
}
