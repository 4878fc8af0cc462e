package relay

import (
	"context"
	"net/netip"
	"sync"
)

// roster lists all that a change of the network may cut: set-ups and sessions,
// idle or in use. Its mutex is what makes a change happen between two steps of
// a session and never within one, so that none slips through.
type roster struct {
	path func(local, peer netip.Addr) string // Options.Path

	mu    sync.Mutex // guards all below
	seats map[*seat]struct{}
	place place // what is known of the network we are in
	past  past  // what was known of those before
}

// phase is what a change of the network does to a session.
type phase int

const (
	dialling  phase = iota // no way is known yet: cut by every change
	open                   // cut when its way is another one
	loggingIn              // AUTH under way: cut only when its way is gone
	dotted                 // the dot has begun to leave: never cut
)

// fate is what a change of the network comes to for one session.
type fate int

const (
	stays fate = iota
	stale      // it may end what it does, but begin nothing more
	isCut
)

// judge decides a session's fate by its way before and now. A way that was not
// known is not held against it: the watcher had not seen the address yet.
func (p phase) judge(before, now string) fate {
	switch {
	case p == dialling:
		return isCut
	case before == "" || before == now:
		return stays
	case p == open, p == loggingIn && now == "":
		return isCut
	default:
		return stale
	}
}

// seat is a place on the roster. A nil seat is one that no change concerns.
type seat struct {
	roster      *roster
	cut         func() // ends it at once; more than one change may call it
	phase       phase
	local, peer netip.Addr
	way         string
	lost        bool // its way has changed
}

// join adds a set-up that has no way yet.
func (r *roster) join(cut func()) *seat {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := &seat{roster: r, cut: cut}
	if r.seats == nil {
		r.seats = map[*seat]struct{}{}
	}
	r.seats[s] = struct{}{}
	return s
}

func (s *seat) leave() {
	if s == nil {
		return
	}
	s.roster.mu.Lock()
	defer s.roster.mu.Unlock()
	delete(s.roster.seats, s)
}

// connected says that there is a connection, which cut ends from now on. It is
// false when the network has changed meanwhile, as with enter.
func (s *seat) connected(local, peer netip.Addr, cut func()) bool {
	s.roster.mu.Lock()
	defer s.roster.mu.Unlock()
	s.local, s.peer, s.way = local, peer, s.roster.way(local, peer)
	s.phase, s.cut = open, cut
	return !s.lost
}

// onCut says what ends the session from now on. It is false when the network has
// changed meanwhile, as with enter.
func (s *seat) onCut(cut func()) bool {
	if s == nil {
		return true
	}
	s.roster.mu.Lock()
	defer s.roster.mu.Unlock()
	s.cut = cut
	return !s.lost
}

// enter says that another phase begins.
func (s *seat) enter(p phase) bool {
	if s == nil {
		return true
	}
	s.roster.mu.Lock()
	defer s.roster.mu.Unlock()
	s.phase = p
	return !s.lost
}

// isLost says that the way has changed: what the session says of itself from
// then on is nobody's fault.
func (s *seat) isLost() bool {
	if s == nil {
		return false
	}
	s.roster.mu.Lock()
	defer s.roster.mu.Unlock()
	return s.lost
}

func (r *roster) way(local, peer netip.Addr) string {
	if r.path == nil || !local.IsValid() || !peer.IsValid() {
		return ""
	}
	return r.path(local, peer)
}

// move begins a new place and gives what cuts those who cannot come along.
func (r *roster) move(network string) (cut []func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.past.keep(r.place.network, r.place.winner)
	r.place = place{generation: r.place.generation + 1, network: network, winner: r.past.recall(network)}
	for s := range r.seats {
		now := r.way(s.local, s.peer)
		switch s.phase.judge(s.way, now) {
		case isCut:
			cut = append(cut, s.cut)
			s.lost = true
		case stale:
			s.lost = true
		case stays:
			s.way = now
		}
	}
	return cut
}

// untilRoamed derives a context that a change of the network ends by ErrRoamed.
func (r *roster) untilRoamed(ctx context.Context) (_ context.Context, done func()) {
	ctx, cancel := context.WithCancelCause(ctx)
	s := r.join(func() { cancel(ErrRoamed) })
	return ctx, func() {
		s.leave()
		cancel(context.Canceled)
	}
}
