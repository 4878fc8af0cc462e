package relay

import (
	"fmt"
	"net/netip"
	"time"
)

// Stage is how far a transaction or a probe got.
type Stage int

// The stages in the order they happen.
const (
	Resolve  Stage = iota // DNS
	Connect               // TCP
	TLS                   // implicit TLS (RFC 8314)
	Greeting              // 220
	Hello                 // EHLO
	StartTLS              // STARTTLS and its handshake (RFC 3207)
	Auth                  // RFC 4954
	Mail
	Rcpt
	Data // 354
	Body
	Dot // from the first octet of the final dot on
)

var stageNames = [...]string{"dns", "connect", "tls", "greeting", "ehlo", "starttls", "auth", "mail", "rcpt", "data", "body", "dot"}

func (s Stage) String() string { return stageNames[s] }

// Reply is one SMTP reply (RFC 5321 4.2). Enhanced is "" when there is none or
// when its class is not the code's (RFC 3463, RFC 2034). Text is as received,
// its lines joined by a line feed: it must be escaped wherever it is shown.
type Reply struct {
	Code     int
	Enhanced string
	Text     string
}

func (r Reply) String() string { return fmt.Sprintf("%d %s", r.Code, r.Text) }

// Positive says 2xx: the first digit decides (RFC 5321 4.2.1).
func (r Reply) Positive() bool { return r.Code/100 == 2 }

// Envelope is what the upstream is asked to carry.
type Envelope struct {
	ReversePath string
	Recipients  []Recipient
	Size        int64 // octets of the body, exact
	EightBit    bool  // goes only where 8BITMIME is offered (RFC 6152)
	UTF8        bool  // goes only where SMTPUTF8 is offered (RFC 6531)
	RequireTLS  bool  // goes only over proven TLS to where REQUIRETLS is offered (RFC 8689)
	// Ret and EnvID are parameters of MAIL where DSN is offered (RFC 3461 4.3,
	// 4.4): FULL, HDRS or "", and xtext or "".
	Ret, EnvID string
}

// Recipient is one forward-path with its parameters where DSN is offered (RFC
// 3461 4.1, 4.2): NOTIFY's value and ORCPT's, "" for none.
type Recipient struct {
	Address, Notify, ORcpt string
}

// To is a list of recipients without parameters.
func To(addresses ...string) []Recipient {
	to := make([]Recipient, len(addresses))
	for i, a := range addresses {
		to[i].Address = a
	}
	return to
}

// Offers is what is known of what an upstream takes: what its last EHLO said,
// narrowed by what it has refused since.
type Offers struct {
	Known    bool  // an EHLO was heard
	Size     int64 // octets, 0: no known limit
	Shown    bool  // Size is what it has refused, less than what it says
	EightBit bool
	UTF8     bool
	DSN      bool
	// RequireTLS is only true for what was heard over proven TLS.
	RequireTLS bool
}

// Learned are limits that showed by refusals, 0 where none is known: octets of a
// message, recipients of a transaction. They are worth keeping over a restart;
// what was announced will be again.
type Learned struct {
	Size       int64
	Recipients int
}

// RcptResult is what became of one recipient in a transaction: the stage that
// decided, and either a reply or an error.
type RcptResult struct {
	Stage Stage
	Reply Reply
	// Err is set when there was no reply: a connection, TLS, protocol or local
	// fault. See Fault for where, and for words.
	Err error
	// InDoubt: the dot was, or may have been, sent and no reply to it came.
	InDoubt bool
	// Unacked, beside InDoubt: the upstream's machine did not acknowledge the
	// dot either, so it is less likely to have the message.
	Unacked bool
}

// Final says that r is a result; its zero value is none.
func (r RcptResult) Final() bool { return r.Reply.Code != 0 || r.Err != nil }

// Nonsense says that the upstream answered, and that its answer has no meaning
// there (RFC 5321 4.3.2).
func (r RcptResult) Nonsense() bool {
	if r.Err != nil {
		return isNonsense(r.Err)
	}
	return r.Final() && !r.Reply.Refuses() && !r.Accepted()
}

// Accepted says that this recipient was delivered: a 2xx to the dot.
func (r RcptResult) Accepted() bool { return r.Err == nil && r.Stage == Dot && r.Reply.Positive() }

// Result is all that comes back from Deliver.
type Result struct {
	Endpoint string // the URL host:port that was used, "" when none answered
	// Rcpts answers Envelope.Recipients one by one. Where the whole
	// transaction failed before RCPT, all are alike.
	Rcpts []RcptResult
	// Served: the upstream answered MAIL or later, so it is alive.
	Served bool
	// DSN: the upstream was told what the sender wants to hear (RFC 3461), so
	// that is its duty now.
	DSN bool
	// Stopped: BeforeDot said no, ctx ended before the dot, the body could not be
	// read, or the network changed (ErrRoamed). It wraps ErrStopped and the
	// reason. Recipients whose Err is it were not sent, and nothing may be charged
	// for them.
	Stopped error
	Took    time.Duration
}

// Error is a fault with the stage it happened in.
type Error struct {
	Stage    Stage
	Reply    Reply // when a reply was the fault
	Err      error
	Endpoint string // host:port, in set-up
	// Addr is the address that was tried; the zero value: none was, or it is
	// not known.
	Addr netip.AddrPort

	proven bool // the peer's identity was, before the fault
	moved  bool // the host was last found in public space
}

func (e *Error) Error() string {
	if e.Err != nil {
		return fmt.Sprintf("%s: %v", e.Stage, e.Err)
	}
	return fmt.Sprintf("%s: %s", e.Stage, e.Reply)
}

func (e *Error) Unwrap() error { return e.Err }
