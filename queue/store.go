package queue

import (
	"context"
	"errors"
	"io"
	"iter"
	"time"
)

// Errors that callers decide by. A store returns them wrapped.
var (
	ErrNotFound = errors.New("no such message")
	// ErrFenced: another session or a later claim owns the message; nothing changed.
	ErrFenced = errors.New("the lease is no longer ours")
	// ErrHeld and ErrDropped come from MarkDot: a person stopped the message
	// while it was leased. The dot must not be sent.
	ErrHeld    = errors.New("held while it was being sent")
	ErrDropped = errors.New("dropped while it was being sent")
	// ErrFull: the disk is full and nothing was stored; it may heal.
	ErrFull = errors.New("no space left for the queue")
	// ErrPoisoned: a write or sync failed in a way that leaves the disk's state
	// unknown. Nothing is acknowledged any more; the process must end.
	ErrPoisoned = errors.New("the queue's disk failed; it must be verified by a restart")
	ErrClosed   = errors.New("the queue is closed")
	ErrCorrupt  = errors.New("stored mail is damaged")
	ErrNewer    = errors.New("the queue was written by a newer mailroam")
	// ErrExists: a draft is committed once, and no two messages share an ID.
	ErrExists = errors.New("the message is stored already")
	// ErrBusy: another process has the queue open.
	ErrBusy = errors.New("the queue is in use")
)

// Store keeps mail durably. All methods honour ctx while nothing has been
// written, give UTC times and copies, and are safe for concurrent use.
type Store interface {
	// Join begins the one session of this process and ends every older one:
	// what those had leased is queued again in the empty lane, due now, with
	// its last attempt marked interrupted and its unsettled recipients in
	// doubt at the upstream their lease names (see Interrupt).
	Join(ctx context.Context) (Session, error)

	// Get returns one message, in any state, or ErrNotFound.
	Get(ctx context.Context, id ID) (Message, error)
	// List gives messages newest first. No transaction is held between
	// yields; every row is consistent, none comes twice, and every row that
	// existed throughout is seen.
	List(ctx context.Context, f Filter) iter.Seq2[Message, error]
	// OpenBody reads the stored octets, each chunk checked against its
	// checksum: ErrCorrupt is returned before a damaged octet is.
	OpenBody(ctx context.Context, id ID) (io.ReadCloser, error)
	// Apply does op to all messages that match, in lots, and is repeatable.
	Apply(ctx context.Context, f Filter, op Op) (Affected, error)
	// Stats counts the queue as of the last commit.
	Stats(ctx context.Context) (Stats, error)
	// Poisoned is closed when ErrPoisoned begins.
	Poisoned() <-chan struct{}
	// Close waits for the running commit. The session must have ended first.
	Close() error
}

// Session is this process's hold on the queue. Its leases never time out in
// the embedded store: they end by Settle, Requeue or the next Join.
type Session interface {
	// NewDraft begins a message whose body is written while DATA runs.
	NewDraft(ctx context.Context, id ID) (Draft, error)
	// Claim leases up to r.Max messages and returns as soon as there is one:
	// it waits for a due time, a commit or a release, until ctx ends, and then
	// returns nil, nil. A claim that was written is always returned.
	Claim(ctx context.Context, r ClaimRequest) ([]Claim, error)
	// MarkDot is called before the final dot goes to upstream for the given
	// recipients (indexes). It writes only when the lease names another
	// upstream, and then stores with it the results already known. An error
	// means: do not send the dot.
	MarkDot(ctx context.Context, c Claim, rcpts []int, upstream string, known []RcptResult) error
	// Settle ends a lease: results, filing and notices in one transaction.
	// Repeating the same Outcome is a no-op.
	Settle(ctx context.Context, c Claim, o Outcome) error
	// Requeue gives claims back untouched, due now: nothing is counted.
	Requeue(ctx context.Context, cs ...Claim) error
	// Leave ends the session and requeues what is left.
	Leave(ctx context.Context) error
}

// Draft takes a body while it arrives, holding at most 1 MiB in memory.
type Draft interface {
	io.Writer
	// Commit makes the message durable: after a nil error the caller may say
	// 250. With first == "" it is queued. Else it is born leased, the lease
	// naming upstream first, and the Claim must be settled or requeued.
	// An error means that nothing is stored.
	Commit(ctx context.Context, first string, m NewMessage) (Claim, error)
	// Abort removes what was written; it is harmless after Commit.
	Abort()
}

// NewMessage is a message about to be stored.
type NewMessage struct {
	ID          ID
	Accepted    time.Time
	Online      time.Duration
	ReversePath string
	Recipients  []Addressee
	Content
	Return Return
	Notice bool
	Client Client
	Filing
	// Body is for notices only (Outcome.Spawn), at most 256 KiB; a Draft's
	// body is what was written to it.
	Body []byte
}

// ClaimRequest says what a claimer can take now.
type ClaimRequest struct {
	// Lanes to claim from: for each the upstream that the lease will name.
	// Upstream "" claims for filing anew: whatever its due time, and a crash
	// under it leaves nothing in doubt.
	Lanes []LaneRequest
	// Slots bounds the claims that name an upstream, over all lanes together:
	// lanes share the connections of an upstream. One not listed has none.
	Slots map[string]int
	// Except, when not nil, claims as well from every lane that is not listed
	// here, for filing anew (Upstream "").
	Except map[string]bool
	// Aged claims as well messages whose Age has come, whatever their lane;
	// such a claim names no upstream either.
	Aged bool
	Max  int // bounds the claims that name no upstream (Except, Aged, Upstream "")
	Turn int // Lanes are served in turn, starting at Turn, so that none starves
}

// LaneRequest is one lane of a ClaimRequest.
type LaneRequest struct {
	Lane     string
	Upstream string
	Newest   bool // the newest due instead of the oldest
}

// Claim is a lease on one message, a value. Session and Epoch are the fence:
// both must match on every write.
type Claim struct {
	Message
	Session, Epoch int64
	Upstream       string // that the lease names; "" for a claim that must not send
	Aged           bool
}

// RcptResult is the new standing of one recipient after a pass.
type RcptResult struct {
	Index int
	State RcptState
	Doubt *Doubt // replaces the old one; nil ends it
	Last  Answer
	// Said replaces the old list.
	Said []Answer
}

// Outcome is what a pass did. Recipients not named keep their standing.
type Outcome struct {
	Rcpts    []RcptResult
	Attempts []Attempt // appended to the timeline
	Counted  bool      // Tries grows by one
	// Filing and Hold are for a message that still has a pending recipient:
	// held when Hold.Reason is set, else queued there.
	Filing
	Hold     Hold
	Refusals []Refusal // replaces the old ones
	// Barred replaces Message.Barred.
	Barred time.Duration
	// Warned says that a delay notice goes out with this outcome.
	Warned bool
	// Online replaces Message.Online unless it is 0: mail that was released
	// has its time before it again.
	Online time.Duration
	Spawn  []NewMessage // notices, queued in the same transaction
	At     time.Time
}

// Verb is what a person can do to messages.
type Verb string

// The verbs. Each acts on the states it makes sense for and skips the others.
const (
	OpHold    Verb = "hold"    // queued, leased (at its next dot or settle)
	OpRelease Verb = "release" // held → queued, due now, in the empty lane
	OpRetry   Verb = "retry"   // queued → due now, refusals forgotten, in the empty lane
	OpFail    Verb = "fail"    // queued, held → done, pending recipients failed, with the notice Op.Notice makes
	OpDrop    Verb = "drop"    // queued, held, leased (at its next dot or settle) → done, without a notice
	OpForget  Verb = "forget"  // done → gone
)

// Op is a verb with what it needs.
type Op struct {
	Verb   Verb
	Reason string
	By     string
	At     time.Time
	// Notice makes the failure notice for OpFail, nil for none. It gets the
	// message as it was: its pending recipients are those about to fail. It is
	// called inside the transaction: it must be pure and quick.
	Notice func(m Message) *NewMessage
}

// Affected counts what Apply did.
type Affected struct {
	Matched int  `json:"matched"`
	Changed int  `json:"changed"`
	IDs     []ID `json:"ids"` // changed, at most MaxAffectedIDs
}

// MaxAffectedIDs bounds the list in Affected.
const MaxAffectedIDs = 1000

// Stats counts messages. InDoubt is counted over queued, leased and held ones,
// Barred over queued and leased ones: one that is held waits for a person.
type Stats struct {
	Queued  int            `json:"queued"`
	Leased  int            `json:"leased"`
	Held    int            `json:"held"`
	InDoubt int            `json:"in_doubt"`
	Barred  int            `json:"barred"` // refused by all that may send them
	Stuck   int            `json:"-"`      // held by mailroam itself, and not by a person
	Done    int            `json:"done"`
	Bytes   int64          `json:"bytes"`           // bodies stored
	Oldest  time.Time      `json:"oldest,omitzero"` // when the unfinished one with the lowest ID was accepted
	Lanes   map[string]int `json:"-"`               // queued, per lane
	// Online is the highest odometer reading of any message, so that a lost
	// odometer never runs behind the queue.
	Online      time.Duration `json:"-"`
	Quarantined int           `json:"quarantined"` // damaged records, named in the log
}
