package health

import (
	"time"

	"mailroam/health/netmon"
)

// Outlook is what is thought of the network.
type Outlook struct {
	// State is one word: online, offline (no upstream has a route), unreachable
	// (nobody answers, and it is not the upstreams), portal (somebody else
	// answers in their place) or clock (the certificates are all of another
	// time).
	State      string    `json:"state"`
	Since      time.Time `json:"since"`
	Why        string    `json:"why,omitempty"`    // for people
	Advice     string    `json:"advice,omitempty"` // what to do about it
	Generation int       `json:"generation"`       // how many networks were seen
}

// Network is told of each change of the network.
func (m *Monitor) Network(d netmon.Delta) {}

// Outlook says what is thought of the network now.
func (m *Monitor) Outlook() Outlook { return Outlook{State: "online"} }

// Quiet says, while a delivery goes on, that its upstream has given no sign of
// life for a while though another one has: it is suspect and probed at once.
// Done or Cancel must still follow.
func (p Pass) Quiet(reason string) {}
