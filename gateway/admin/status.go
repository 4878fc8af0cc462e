package admin

import (
	"context"
	"net/netip"
	"time"

	"mailroam/health"
	"mailroam/queue"
)

// Info is what a gateway says of itself.
type Info struct {
	PID      int       `json:"pid"`
	Version  string    `json:"version"`
	Started  time.Time `json:"started"`
	Hostname string    `json:"hostname"`
	Listen   []string  `json:"listen"`
	// Alert is what keeps the whole gateway from taking or sending mail.
	Alert string `json:"alert,omitempty"`
}

// Status is the answer to "how is it?", and what `status --json` prints.
type Status struct {
	Gateway Info `json:"gateway"`
	// Held are messages that wait for a person, notices first, at most
	// MaxHeld; Queue.Held counts them all.
	Held []queue.Message `json:"held"`
	// Advice is what does not run as configured and what to do about it, a
	// sentence or two each.
	Advice    []string    `json:"advice"`
	Network   Network     `json:"network"`
	Upstreams []Upstream  `json:"upstreams"` // in order of preference
	Queue     queue.Stats `json:"queue"`
}

// Network is what a Status says of the network this machine is in.
type Network struct {
	Online    bool    `json:"online"`       // mail could leave if the upstreams were well
	OnlineFor float64 `json:"online_for_s"` // seconds in all, since the queue began
	// Outlook adds state, since, why, advice and generation.
	health.Outlook
	Interfaces []Interface `json:"interfaces"` // that lead somewhere
	// Manager is what the machine's NetworkManager says of it: none, portal,
	// limited or full. It is asked when the state is not online or no upstream
	// answers, and left out where it says nothing.
	Manager string `json:"manager,omitempty"`
}

// Interface is one that is up and has addresses that others can reach.
type Interface struct {
	Name      string         `json:"name"`
	Addresses []netip.Prefix `json:"addresses"`
}

// MaxHeld bounds the held messages in a Status.
const MaxHeld = 20

// held lists the mail that waits for a person. Notices come first: nobody else
// is told of them (RFC 5321 4.5.5 allows no notice about a notice).
func held(ctx context.Context, store queue.Store) ([]queue.Message, error) {
	notices, others := []queue.Message{}, []queue.Message{}
	for m, err := range store.List(ctx, queue.Filter{States: []queue.State{queue.Held}}) {
		switch {
		case err != nil:
			return nil, err
		case m.ReversePath == "" && len(notices) < MaxHeld:
			notices = append(notices, m)
		case m.ReversePath != "" && len(others) < MaxHeld:
			others = append(others, m)
		}
	}
	all := append(notices, others...)
	return all[:min(len(all), MaxHeld)], nil
}
