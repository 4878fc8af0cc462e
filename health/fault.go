package health

import (
	"context"
	"time"
)

// Kind is what a fault is about; it decides which machine is charged and what
// clears it.
type Kind string

// The kinds. Network and identity faults are seen by probes too, so reach
// keeps them and a passing probe clears them, and so it is with all that has a
// Sign; the others open the breaker, which no probe clears.
const (
	None     Kind = ""         // no fault
	Network  Kind = "network"  // DNS, TCP, greeting, EHLO
	Identity Kind = "identity" // TLS: who answers is not proven
	Session  Kind = "session"  // protocol trouble, lost connections, 421
	Account  Kind = "account"  // bad credentials, blocked account
	Quota    Kind = "quota"
	Policy   Kind = "policy"
	// Connections says that there are too many at once. It opens no breaker for
	// long: fewer are made.
	Connections Kind = "connections"
	// Place is a refusal for where we are: relaying denied to this network, our
	// address listed. It opens the breaker, and another network closes it.
	Place Kind = "place"
	// Message is for a session that may have ended badly for what was sent in it.
	// It opens the breaker only where that was on trial, or where several messages
	// meet it.
	Message Kind = "message"
)

// Fault is one observed failure of an upstream; its zero value is a success.
type Fault struct {
	Kind   Kind      `json:"kind"`
	Reason string    `json:"reason"`           // for people: escaped, no secret
	Remedy string    `json:"remedy,omitempty"` // what a person can do, where that is known: a clause
	Until  time.Time `json:"until"`            // told or chosen end; zero: the kind's own cool-down
	// Wait is the first cool-down, doubled with each failure in a row; 0: the
	// kind's own.
	Wait time.Duration `json:"wait,omitempty"`
	// Again is the least of the following ones; 0: Wait, doubled.
	Again time.Duration `json:"again,omitempty"`
	By    string        `json:"by,omitempty"` // with Message: which
	Sign  Sign          `json:"sign"`         // that the network, not the upstream, is to blame
}

// Sign is what a fault looks like to someone who suspects the network.
type Sign string

// The signs.
const (
	NoSign     Sign = ""
	DeadDNS    Sign = "dns"    // no name server answers; an NXDOMAIN is an answer
	Imposture  Sign = "portal" // somebody else answers: wrong certificate, STARTTLS gone, a foreign banner
	Web        Sign = "web"    // a web server answers in clear, or the name leads into private space as it never did
	WrongClock Sign = "clock"  // the certificate is the right one, at another time
)

// OK says that nothing failed.
func (f Fault) OK() bool { return f.Kind == None }

// Prober tries an upstream the cheap way (TCP, TLS, EHLO, QUIT) and says what
// failed. Its ctx carries the probe's time-out.
type Prober func(ctx context.Context) Fault
