package relay

import (
	"errors"
	"io"
	"net"
	"syscall"
)

// Verdict is the next step for a recipient.
type Verdict string

// The verdicts.
const (
	Delivered Verdict = "delivered"
	Next      Verdict = "next"     // another upstream, now
	Later     Verdict = "later"    // any upstream, after a wait
	Bounce    Verdict = "bounce"   // no upstream will take it
	InDoubt   Verdict = "in-doubt" // an upstream may have taken it
)

// Scope is whose fault a refusal is: it decides who is charged.
type Scope string

// The scopes.
const (
	ScopeNone      Scope = ""          // nobody's: it went well
	ScopeRecipient Scope = "recipient" // R
	ScopeMessage   Scope = "message"   // M
	ScopeSize      Scope = "size"      // Z: too big here
	ScopeSender    Scope = "sender"    // S: not for this sender, here
	ScopeQuota     Scope = "quota"     // Q
	ScopeAccount   Scope = "account"   // A
	ScopePolicy    Scope = "policy"    // P
	ScopePlace     Scope = "place"     // P, for where we are: another network is another matter
	ScopeSession   Scope = "session"   // L, X: protocol limits and nonsense
	// ScopeConnections: too many sessions at once (L). Fewer are welcome.
	ScopeConnections Scope = "connections"
	ScopeNetwork     Scope = "network"   // N
	ScopeIdentity    Scope = "identity"  // TLS identity not proven
	ScopeTemporary   Scope = "temporary" // T: this message, for a while
	ScopeUnknown     Scope = "unknown"   // U: permanent, not attributed
)

// classify says what a reply or an error means for one recipient, and whose
// fault it is, where no rule says so. It decides by stage, by basic code and by enhanced code; texts
// are only asked where the codes leave open whose fault a refusal is, and they
// never turn a refusal into a success or a 4xx into a bounce (RFC 5321 4.2).
//
// Before MAIL the upstream knows nothing about the message, so nothing it says
// there can bounce it.
func classify(at Stage, r Reply, err error, rcpt string) (Verdict, Scope) {
	switch class := r.Code / 100; {
	case err != nil:
		return ofError(at, err)
	case at < Mail:
		return Next, ofSetup(at, r)
	case class == 2 && at == Dot:
		return Delivered, ScopeNone
	case class == 4 || class == 5:
		return ofRefusal(at, r, rcpt)
	case at == Dot:
		return InDoubt, ScopeSession
	default:
		return Next, ScopeSession
	}
}

func ofRefusal(at Stage, r Reply, rcpt string) (v Verdict, s Scope) {
	if r.Code/100 == 4 {
		v, s = ofTemporary(at, r)
	} else {
		v, s = ofPermanent(at, r, rcpt)
	}
	if refusesPlace(r, s) {
		return Next, ScopePlace
	}
	return v, s
}

// ofSetup: class T for what is for a while, P for what is about us.
func ofSetup(at Stage, r Reply) Scope {
	switch class := r.Code / 100; {
	case class != 4 && class != 5:
		return ScopeSession
	case at <= Greeting && class == 4:
		return ScopeNetwork // too busy, or going down
	case class == 4:
		return ScopeTemporary
	case at == Auth:
		return ScopeAccount
	case at == StartTLS:
		return ScopeIdentity // it was offered
	case at == Hello && (r.Code == 500 || r.Code == 502):
		return ScopeSession
	default:
		return ScopePolicy
	}
}

func ofTemporary(at Stage, r Reply) (Verdict, Scope) {
	switch subject, detail := r.status(); {
	case r.Code == 421: // it closes the session
		return Next, ScopeSession
	case subject == 7 && (detail == 26 || detail == 28 || detail == 500):
		return Next, ScopeQuota
	case at == Rcpt && (subject == 1 || subject == 2):
		return Later, ScopeRecipient // every upstream would meet the same mailbox
	default:
		return Next, ScopeTemporary
	}
}

// ofError is for when there was no reply to go by.
func ofError(at Stage, err error) (Verdict, Scope) {
	switch {
	case errors.Is(err, ErrStopped), errors.Is(err, errPath):
		return Later, ScopeNone
	case at == Dot:
		return InDoubt, ScopeSession
	case errors.Is(err, ErrPassword), errors.Is(err, errMechanism), errors.Is(err, errClear):
		return Next, ScopeAccount
	case errors.Is(err, errNoStartTLS), errors.Is(err, errInjected):
		return Next, ScopeIdentity
	case errors.Is(err, errHandshake) && !isLoss(err):
		return Next, ScopeIdentity
	case isNonsense(err) && at == Greeting:
		return Next, ScopeIdentity // whatever this is, it is not the upstream
	case isNonsense(err):
		return Next, ScopeSession
	default:
		return Next, ScopeNetwork
	}
}

func isNonsense(err error) bool {
	return errors.Is(err, errReplySyntax) || errors.Is(err, errReplySize) || errors.Is(err, errEarly) || errors.Is(err, errUnexpected)
}

// isLoss says that the connection ended or stalled, which proves nothing.
func isLoss(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE) ||
		errors.Is(err, net.ErrClosed) || isTimeout(err)
}
