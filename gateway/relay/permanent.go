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

// codes is whose fault a range of enhanced codes 5.subject.x is, at MAIL, at
// RCPT, and from DATA on. A recipient's fault is told as such only in answer to
// its RCPT; later it counts for the one that the text names, and otherwise is
// what last says.
type codes struct {
	subject, from, to int
	mail, rcpt, last  Scope
}

const anyDetail = 999

var permanent = []codes{
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

func ofPermanent(at Stage, r Reply, text string, names bool) Meaning {
	subject, detail := r.status()
	for _, m := range permanent {
		if m.subject == subject && m.from <= detail && detail <= m.to {
			return m.of(at, r, text, names)
		}
	}
	if subject >= 0 { // one that says whose fault it is not
		names = false
	}
	return Meaning{Scope: ofBasic(at, r.Code, names), Rule: byStage(at, r)}
}

// of is the meaning at a stage. What the code of a destination that takes no
// mail says, and what an enhanced code leaves open, the rest of the reply says.
func (m codes) of(at Stage, r Reply, text string, names bool) Meaning {
	scope := m.last
	switch {
	case at == Rcpt && takesNoMail(r.Code), at == Rcpt && r.Code == 530:
		return Meaning{Scope: ofBasic(at, r.Code, names), Rule: byStage(at, r)}
	case at >= Body && m.subject == 7 && m.to == 0 && (r.Code == 552 || strings.Contains(text, "content")):
		scope = ScopeMessage
	case at == Mail:
		scope = m.mail
	case at == Rcpt || names && m.rcpt == ScopeRecipient:
		scope = m.rcpt
	case at == Data && m.last == ScopeMessage:
		scope = ScopeUnknown // it has not seen the message
	}
	return Meaning{Scope: scope, Rule: byEnhanced(r)}
}

// takesNoMail knows the codes of a destination that never does (RFC 7504).
func takesNoMail(code int) bool { return code == 521 || code == 556 }

// ofBasic is for codes without an enhanced one that says anything.
func ofBasic(at Stage, code int, names bool) Scope {
	switch {
	case at == Rcpt && code == 530:
		return ScopeSender // some may relay here without a login
	case isLoginCode(code):
		return ScopeAccount
	case at == Rcpt && (code == 551 || takesNoMail(code) || names && (code == 550 || code == 553)):
		return ScopeRecipient
	case at == Rcpt && code == 552:
		return ScopeTemporary // too many recipients (RFC 5321 4.5.3.1.10)
	case (at == Mail || at >= Body) && code == 552:
		return ScopeSize
	default:
		return ScopeUnknown
	}
}

// isLoginCode knows the codes of RFC 4954 6.
func isLoginCode(code int) bool { return code == 530 || code == 534 || code == 535 || code == 538 }
