package relay

import (
	"errors"
	"io"
	"net"
	"strconv"
	"strings"
	"syscall"
	"time"
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

// classify is Classify where nothing is known of the upstream.
func classify(at Stage, r Reply, err error, rcpt string) (Verdict, Scope) {
	m := Rules{}.Classify(at, r, err, rcpt, time.Time{})
	return m.Verdict, m.Scope
}

// ofCodes is what stage and codes say of a refusal, and which of them does. A
// basic code speaks where no enhanced one says anything.
func ofCodes(at Stage, r Reply, text string, names bool) Meaning {
	switch perm := r.Code/100 == 5; {
	case at < Mail:
		return Meaning{Scope: ofSetup(at, r), Rule: byStage(at, r)}
	case perm:
		return ofPermanent(at, r, text, names)
	default:
		return ofTemporary(at, r)
	}
}

func byStage(at Stage, r Reply) string {
	answered, ok := commands[at]
	if !ok {
		answered = "in answer to " + strings.ToUpper(at.String())
	}
	return codeOf(r) + " " + answered
}

// commands are what a reply answers, where the stage has another name.
var commands = map[Stage]string{
	Greeting: "as the greeting", Body: "in the middle of the message", Dot: "in answer to the final dot",
}

func codeOf(r Reply) string { return strconv.Itoa(r.Code) }

func byEnhanced(r Reply) string { return "enhanced code " + r.Enhanced }

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
	case at == Hello && (r.Code == 500 || r.Code == 502):
		return ScopeSession
	default:
		return ScopePolicy
	}
}

func ofTemporary(at Stage, r Reply) Meaning {
	switch subject, detail := r.status(); {
	case r.Code == 421: // it closes the session
		return Meaning{Scope: ScopeSession, Rule: byStage(at, r)}
	case subject == 7 && (detail == 26 || detail == 28 || detail == 500):
		return Meaning{Scope: ScopeQuota, Rule: byEnhanced(r)}
	case at == Rcpt && (subject == 1 || subject == 2):
		return Meaning{Scope: ScopeRecipient, Rule: byEnhanced(r)}
	default:
		return Meaning{Scope: ScopeTemporary, Rule: byStage(at, r)}
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
	case errors.Is(err, ErrQueued):
		return Next, ScopeNone
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
