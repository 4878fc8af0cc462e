package relay

import (
	"strconv"
	"strings"
)

// status is what an enhanced status code says after its class (RFC 3463);
// -1, -1 where there is none, and for x.0.0, which says nothing.
func (r Reply) status() (subject, detail int) {
	_, rest, ok := strings.Cut(r.Enhanced, ".")
	s, d, _ := strings.Cut(rest, ".")
	if !ok || s == "0" && d == "0" {
		return -1, -1
	}
	subject, _ = strconv.Atoi(s)
	detail, _ = strconv.Atoi(d)
	return subject, detail
}

// meaning is whose fault a range of enhanced codes 5.subject.x is, at MAIL, at
// RCPT, and from DATA on. A recipient's fault is told as such only in answer to
// its RCPT; later it counts for the one that the text names, and otherwise is
// what last says.
type meaning struct {
	subject, from, to int
	mail, rcpt, last  Scope
}

const anyDetail = 999

var meanings = []meaning{
	// Addresses (RFC 3463 3.2, RFC 7505).
	{1, 7, 8, ScopeSender, ScopeSender, ScopeSender},
	{1, 90, 90, ScopeQuota, ScopeQuota, ScopeQuota}, // Microsoft: recipients a day
	{1, 0, anyDetail, ScopeUnknown, ScopeRecipient, ScopeUnknown},
	// Mailboxes (3.3). One that is full or disabled, and not the recipient's, is
	// the account's own.
	{2, 0, 0, ScopeUnknown, ScopeUnknown, ScopeUnknown},
	{2, 1, 2, ScopeAccount, ScopeRecipient, ScopeAccount},
	{2, 3, 3, ScopeSize, ScopeSize, ScopeSize},
	{2, 4, anyDetail, ScopeUnknown, ScopeRecipient, ScopeUnknown},
	// The mail system (3.4): no space, not accepting, misconfigured.
	{3, 1, 2, ScopeTemporary, ScopeTemporary, ScopeTemporary},
	{3, 4, 4, ScopeSize, ScopeSize, ScopeSize},
	{3, 5, 5, ScopeTemporary, ScopeTemporary, ScopeTemporary},
	// Network and routing (3.5).
	{4, 4, 4, ScopeUnknown, ScopeRecipient, ScopeUnknown},
	{4, 5, 5, ScopeQuota, ScopeQuota, ScopeQuota}, // Gmail: the daily limit
	{4, 6, 6, ScopeUnknown, ScopeMessage, ScopeMessage},
	{4, 7, 7, ScopeTemporary, ScopeTemporary, ScopeTemporary},
	// Protocol (3.6): too many recipients; all else is nonsense.
	{5, 3, 3, ScopeTemporary, ScopeTemporary, ScopeTemporary},
	// Content (3.7).
	{6, 0, anyDetail, ScopeMessage, ScopeMessage, ScopeMessage},
	// Policy and security (3.8, RFC 4954, RFC 7372, and what providers send).
	{7, 0, 0, ScopeAccount, ScopeUnknown, ScopeUnknown},
	{7, 1, 1, ScopeSender, ScopePolicy, ScopeUnknown},
	{7, 2, 3, ScopeUnknown, ScopeUnknown, ScopeUnknown},
	{7, 8, 12, ScopeAccount, ScopeAccount, ScopeAccount},
	{7, 20, 29, ScopeSender, ScopeSender, ScopeSender},
	{7, 30, 30, ScopeUnknown, ScopeUnknown, ScopeUnknown},
	{7, 57, 57, ScopeAccount, ScopeAccount, ScopeAccount},
	{7, 60, 60, ScopeSender, ScopeSender, ScopeSender},
	{7, 64, 64, ScopeAccount, ScopeAccount, ScopeAccount},
	{7, 136, 136, ScopeUnknown, ScopeRecipient, ScopeUnknown},
	{7, 139, 139, ScopeAccount, ScopeAccount, ScopeAccount},
	{7, 232, 233, ScopeQuota, ScopeQuota, ScopeQuota}, // recipients a day
	{7, 509, 509, ScopeSender, ScopeSender, ScopeSender},
	{7, 501, 512, ScopeAccount, ScopeAccount, ScopeAccount}, // account or tenant blocked
	{7, 700, 799, ScopeAccount, ScopeAccount, ScopeAccount},
	{7, 0, anyDetail, ScopeUnknown, ScopePolicy, ScopeUnknown},
}

func ofPermanent(at Stage, r Reply, rcpt string) (Verdict, Scope) {
	scope := permanentScope(at, r, rcpt)
	switch {
	case scope == ScopeRecipient:
		return Bounce, scope
	case scope == ScopeMessage && at >= Body && r.Enhanced != "5.6.7":
		// Another upstream would conclude the same from the same octets; only
		// SMTPUTF8 (5.6.7) is a thing that one has and another has not.
		return Bounce, scope
	default:
		return Next, scope
	}
}

func permanentScope(at Stage, r Reply, rcpt string) Scope {
	subject, detail := r.status()
	text := strings.ToLower(r.Text)
	names := rcpt != "" && strings.Contains(text, strings.ToLower(rcpt))
	switch {
	case at == Rcpt && (r.Code == 521 || r.Code == 556):
		return ScopeRecipient // the destination takes no mail (RFC 7504)
	case at == Rcpt && (r.Code == 530 || refusesToRelay(text)):
		return ScopeSender
	case at >= Body && subject == 7 && detail == 0 && (r.Code == 552 || strings.Contains(text, "content")):
		return ScopeMessage
	}
	for _, m := range meanings {
		if m.subject != subject || detail < m.from || m.to < detail {
			continue
		}
		switch {
		case at == Mail:
			return m.mail
		case at == Rcpt || names && m.rcpt == ScopeRecipient:
			return m.rcpt
		case at == Data && m.last == ScopeMessage:
			return ScopeUnknown // it has not seen the message
		}
		return m.last
	}
	if subject >= 0 {
		return ofBasic(at, r.Code, false)
	}
	return ofBasic(at, r.Code, names)
}

// refusesToRelay knows the words for "not for you", which some servers send
// with codes for "no such user".
func refusesToRelay(text string) bool {
	return strings.Contains(text, "relay access denied") || strings.Contains(text, "relaying") || strings.Contains(text, "authentication required")
}

// ofBasic is for codes without an enhanced one that says anything.
func ofBasic(at Stage, code int, names bool) Scope {
	switch {
	case code == 530 || code == 534 || code == 535 || code == 538:
		return ScopeAccount // RFC 4954 6
	case at == Rcpt && (code == 551 || names && (code == 550 || code == 553)):
		return ScopeRecipient
	case at == Rcpt && code == 552:
		return ScopeTemporary // too many recipients (RFC 5321 4.5.3.1.10)
	case (at == Mail || at >= Body) && code == 552:
		return ScopeSize
	default:
		return ScopeUnknown
	}
}
