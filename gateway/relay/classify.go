package relay

// Verdict is the next step for a recipient.
type Verdict string

// The verdicts (design 3.1).
const (
	Delivered Verdict = "delivered"
	Next      Verdict = "next"     // another upstream, now
	Later     Verdict = "later"    // any upstream, after a wait
	Bounce    Verdict = "bounce"   // no upstream will take it
	InDoubt   Verdict = "in-doubt" // an upstream may have taken it
)

// Scope is whose fault a refusal is (verdicts: the fault classes): it decides
// who is charged.
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
	ScopeSession   Scope = "session"   // L, X: protocol limits and nonsense
	ScopeNetwork   Scope = "network"   // N
	ScopeIdentity  Scope = "identity"  // TLS identity not proven
	ScopeTemporary Scope = "temporary" // T: this message, for a while
	ScopeUnknown   Scope = "unknown"   // U: permanent, not attributed
)
