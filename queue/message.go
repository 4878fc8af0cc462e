package queue

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"
)

// State is where a message is in its life.
type State string

// The states of a message. Whether a queued message is waiting or ready is
// only its due time compared with now.
const (
	Queued State = "queued"
	Leased State = "leased" // a pass owns it
	Held   State = "held"   // waits for a person
	Done   State = "done"   // no recipient pending; the body is gone
)

// RcptState is where one recipient is. All but Pending are final.
type RcptState string

// The states of a recipient.
const (
	Pending   RcptState = "pending"
	Delivered RcptState = "delivered" // an upstream answered 2xx to the dot
	Failed    RcptState = "failed"    // refused for good, or failed by a person
	Expired   RcptState = "expired"   // too old
	Dropped   RcptState = "dropped"   // ended by a person, without a notice
)

// Want is what a person asked of a leased message; it takes effect before the
// next dot, else when the pass settles.
type Want string

// The wishes that can wait on a lease.
const (
	WantNothing Want = ""
	WantHold    Want = "hold"
	WantDrop    Want = "drop"
)

// Message is one accepted mail: its envelope, how far each recipient is, and
// what was tried. The body is kept apart (Store.OpenBody). All times are UTC.
type Message struct {
	ID       ID        `json:"id"`
	State    State     `json:"state"`
	Accepted time.Time `json:"accepted"`
	// Online is the odometer of time online (health) when it was accepted or
	// last released; after a release it is 0 until the message is filed.
	Online time.Duration `json:"online,omitzero"`

	ReversePath string      `json:"from"` // "" is the null reverse-path
	Recipients  []Recipient `json:"to"`
	Size        int64       `json:"size"` // octets as stored
	Content
	Return Return `json:"return,omitzero"`
	Notice bool   `json:"notice"` // made by mailroam: never answered by another notice
	Client Client `json:"client"`

	Filing
	Held     Hold      `json:"held,omitzero"`     // why and since when, in state Held
	Released time.Time `json:"released,omitzero"` // when a person last let it go: 30 days count from here
	Ended    time.Time `json:"ended,omitzero"`    // in state Done
	Tries    int       `json:"counted"`           // passes that counted for the back-off
	Warned   time.Time `json:"warned,omitzero"`   // when its sender was told that it is delayed
	// Barred is the odometer since when all that may send it refuse it for its
	// sender or by their policy; 0: they do not. A person who lets it go or tries
	// it again begins that time anew.
	Barred   time.Duration `json:"barred,omitempty"`
	Attempts []Attempt     `json:"timeline"` // oldest first; of many the first, the last and those in doubt
	Refusals []Refusal     `json:"refusals,omitempty"`
}

// Content is what was seen of a message as it came in: it decides who can carry
// it.
type Content struct {
	// Authors are the addresses of the From field (RFC 5322 3.6.2), nil when
	// there is none. One that is malformed stands in brackets, so that it is
	// nobody's.
	Authors   []string `json:"authors,omitempty"`
	MessageID string   `json:"message_id,omitempty"` // without its brackets
	EightBit  bool     `json:"eight_bit"`            // holds octets above 127 (RFC 6152)
	// UTF8: an address or the header is beyond ASCII, so it goes only where
	// SMTPUTF8 is offered (RFC 6531).
	UTF8       bool `json:"utf8,omitempty"`
	RequireTLS bool `json:"require_tls,omitempty"` // only over verified TLS, all the way (RFC 8689)
	// Automatic: a program answers or reports here (RFC 3834, Precedence: junk or
	// bulk); nobody reads a notice about it but about failures.
	Automatic bool `json:"automatic,omitempty"`
}

// Return is what the sender wants to see of the message in a notice (RFC 3461
// 4.3, 4.4).
type Return struct {
	Full   bool   `json:"full,omitempty"`   // all of it
	Header bool   `json:"header,omitempty"` // the header only, which is also what is returned where nothing was said
	EnvID  string `json:"envid,omitempty"`  // as given, in xtext
}

// Notify is of what a sender wants to hear about a recipient (RFC 3461 4.1). Its
// zero value is that nothing was said: failures and delays.
type Notify uint8

// The wishes. Never stands alone.
const (
	NotifyNever Notify = 1 << iota
	NotifySuccess
	NotifyFailure
	NotifyDelay
)

// Wants says whether the sender is to be told of what.
func (n Notify) Wants(what Notify) bool {
	if n == 0 {
		return what&(NotifyFailure|NotifyDelay) != 0
	}
	return n&what != 0
}

// String is the value of the NOTIFY parameter, "" when nothing was said.
func (n Notify) String() string {
	var words []string
	for i, word := range []string{"NEVER", "SUCCESS", "FAILURE", "DELAY"} {
		if n&(1<<i) != 0 {
			words = append(words, word)
		}
	}
	return strings.Join(words, ",")
}

// Addressee is a recipient of a new message, with what the sender asked for.
type Addressee struct {
	Address string
	Notify  Notify
	ORcpt   string // the original recipient as given: type;xtext (RFC 3461 4.2)
}

// UnmarshalJSON also reads a bare address: so a store of version 1, whose senders
// could ask for nothing, wrote down notices that it had no room for.
func (a *Addressee) UnmarshalJSON(b []byte) error {
	*a = Addressee{}
	if json.Unmarshal(b, &a.Address) == nil {
		return nil
	}
	type plain Addressee // without this method
	return json.Unmarshal(b, (*plain)(a))
}

// To is a list of recipients for whom nothing was asked.
func To(addresses ...string) []Addressee {
	to := make([]Addressee, len(addresses))
	for i, a := range addresses {
		to[i].Address = a
	}
	return to
}

// Client is who submitted a message.
type Client struct {
	Addr string `json:"addr"` // IP address
	Helo string `json:"helo"`
}

// Filing says where the store keeps a queued message and when it is looked at
// again. Dispatch decides it; stores only obey.
type Filing struct {
	Lane string    `json:"lane"` // "" must be filed anew before it is sent
	Due  time.Time `json:"due,omitzero"`
	// Age is the earliest moment at which the clock alone may change what
	// happens to the message; no lane filters it. Zero: never.
	Age time.Time `json:"age,omitzero"`
}

// Hold is why a message waits for a person.
type Hold struct {
	Reason string    `json:"reason"`
	By     string    `json:"by"` // "operator" or "mailroam"
	Since  time.Time `json:"since"`
}

// ByUs says that it was no person who held the message.
func (h Hold) ByUs() bool { return h.By != "operator" }

// Recipient is one forward-path and what became of it.
type Recipient struct {
	Address string    `json:"address"`
	State   RcptState `json:"state"`
	Doubt   *Doubt    `json:"doubt,omitempty"` // only while Pending
	Last    Answer    `json:"last,omitzero"`   // the answer that decided, or the last one
	// Said is the last answer of each upstream about this recipient: several
	// that refuse it for good end it, and a notice tells of all.
	Said   []Answer `json:"said,omitempty"`
	Notify Notify   `json:"notify,omitempty"`
	ORcpt  string   `json:"orcpt,omitempty"` // as in Addressee
}

// Say replaces what a's upstream said before.
func (r Recipient) Say(a Answer) []Answer {
	said := slices.DeleteFunc(slices.Clone(r.Said), func(o Answer) bool { return o.Upstream == a.Upstream })
	return append(said, a)
}

// Doubt says that an upstream may already hold a copy. It ends by a 2xx from
// that upstream or by its release, by nothing else.
type Doubt struct {
	Upstream string        `json:"upstream"`
	At       time.Time     `json:"at"`
	Online   time.Duration `json:"online,omitzero"` // odometer at the beginning, 0 when not known
	Crash    bool          `json:"crash"`           // the process died; else the loss was witnessed
	Refused  int           `json:"refused"`         // times that upstream turned the retry away
	// Unacked: the upstream's machine did not even acknowledge the end of the
	// message, so it is less likely to have it.
	Unacked bool `json:"unacked,omitempty"`
}

// Answer is what an upstream said about a recipient, or what went wrong.
type Answer struct {
	Upstream string    `json:"upstream,omitempty"`
	Code     int       `json:"code,omitempty"`
	Enhanced string    `json:"enhanced,omitempty"`
	Text     string    `json:"text,omitempty"` // escaped, bounded
	At       time.Time `json:"at,omitzero"`
	// Scope is whose fault a refusal is, in dispatch's words.
	Scope string `json:"scope,omitempty"`
}

// Permanent says that it is a refusal for good (RFC 5321 4.2.1).
func (a Answer) Permanent() bool { return a.Code/100 == 5 }

// String is the answer as people read it: code, enhanced code and text.
func (a Answer) String() string {
	switch {
	case a.Code == 0:
		return a.Text
	case a.Enhanced == "" || strings.Contains(a.Text, a.Enhanced):
		return fmt.Sprintf("%d %s", a.Code, a.Text)
	default:
		return fmt.Sprintf("%d %s %s", a.Code, a.Enhanced, a.Text)
	}
}

// Attempt is one try of a message at one upstream.
type Attempt struct {
	At          time.Time     `json:"at"`
	Took        time.Duration `json:"took,omitzero"`
	Upstream    string        `json:"upstream"`
	Endpoint    string        `json:"endpoint,omitempty"`
	Stage       string        `json:"stage"`   // how far it got
	Verdict     string        `json:"verdict"` // delivered, next, later, bounce, in-doubt
	Code        int           `json:"code,omitempty"`
	Enhanced    string        `json:"enhanced,omitempty"`
	Text        string        `json:"text,omitempty"`
	Scope       string        `json:"scope,omitempty"` // whose fault it is
	Rule        string        `json:"rule,omitempty"`  // which rule says so
	Why         string        `json:"why,omitempty"`   // why the next step was chosen
	Rcpts       []int         `json:"rcpts,omitempty"` // indexes; nil means all
	Interrupted bool          `json:"interrupted,omitempty"`
}

// MaxAttempts bounds the timeline kept with a message.
const MaxAttempts = 20

// Refusal remembers that an upstream turned this very message away, and until
// when it is not asked again.
type Refusal struct {
	Upstream string    `json:"upstream"`
	Until    time.Time `json:"until"`
	Perm     bool      `json:"perm,omitempty"`  // a 5xx
	Place    bool      `json:"place,omitempty"` // may be for where we were: it ends with a major change of the network, unless in doubt
	Answer   Answer    `json:"answer"`
}

// Pending lists the indexes of the recipients still to be served.
func (m *Message) Pending() []int {
	var open []int
	for i := range m.Recipients {
		if m.Recipients[i].State == Pending {
			open = append(open, i)
		}
	}
	return open
}

// InDoubt names the upstream that may hold a copy, "" when none does.
func (m *Message) InDoubt() string {
	for i := range m.Recipients {
		if r := &m.Recipients[i]; r.State == Pending && r.Doubt != nil {
			return r.Doubt.Upstream
		}
	}
	return ""
}
