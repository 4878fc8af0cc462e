package relay

import (
	"slices"
	"strings"
	"time"
)

// Rules are what is known about one upstream's replies beside the standards:
// first what the operator says, then what its provider is known to mean. The
// zero value is none.
type Rules struct {
	Operator []Rule
	Profile  *Profile // nil: no known provider
}

// Rule says whose fault a reply is. What is set must match; a rule with neither
// Code, Enhanced nor Text matches nothing.
type Rule struct {
	Name     string   // for people: where it is written
	Stages   []Stage  // nil: every one
	Code     string   // the code or its first digits
	Enhanced string   // the enhanced code or its first parts
	Text     []string // all of them occur, in any case
	Scope    Scope
	// Wait is how long the upstream is left alone, doubled each time in a row;
	// 0: as long as the scope asks for.
	Wait time.Duration
	// Remedy says what a person can do about it, as a clause; "" where no more is
	// known than the scope says.
	Remedy string
	// Source and Date say who told, and when that was last looked at; "" and zero
	// for the operator's own.
	Source string
	Date   time.Time
}

// Meaning is what a reply or an error means for one recipient.
type Meaning struct {
	Verdict Verdict
	Scope   Scope
	Until   time.Time     // the upstream itself named an end; zero: it did not
	Wait    time.Duration // Rule.Wait
	Rule    string        // which rule says so, for people
	By      *Rule         // the operator's or the provider's, nil: none of them
}

// Classify says what a reply or an error means for one recipient, and whose
// fault it is: by the operator's rules, else the provider's, else what words
// mean everywhere, else the enhanced code, else stage and basic code. Rules only
// ever say whose fault a refusal is: they make no success of it, and no bounce
// of a 4xx (RFC 5321 4.2). Before MAIL the upstream knows nothing about the
// message, so nothing it says there bounces it.
func (rs Rules) Classify(at Stage, r Reply, err error, rcpt string, now time.Time) Meaning {
	switch class := r.Code / 100; {
	case err != nil:
		v, s := ofError(at, err)
		return Meaning{Verdict: v, Scope: s, Rule: "no proper reply at " + at.String()}
	case class == 2 && at == Dot:
		return Meaning{Verdict: Delivered, Rule: "a 2xx in answer to the final dot"}
	case class == 4 || class == 5:
		return rs.ofRefusal(at, r, rcpt, now)
	case at == Dot:
		return Meaning{Verdict: InDoubt, Scope: ScopeSession, Rule: byStage(at, r)}
	default:
		return Meaning{Verdict: Next, Scope: ScopeSession, Rule: byStage(at, r)}
	}
}

// hearsay bounds what the words of a 5xx alone can make us wait, from RCPT on: a
// recipient may have written them (RFC 5429 2.2), to keep our mail from others.
const hearsay = time.Hour

func (rs Rules) ofRefusal(at Stage, r Reply, rcpt string, now time.Time) Meaning {
	if at == StartTLS && r.Code/100 == 5 { // it was offered: somebody else may be speaking (RFC 3207 6)
		return Meaning{Verdict: Next, Scope: ScopeIdentity, Rule: byStage(at, r)}
	}
	text := readWords(r.Text)
	names := names(text.all, strings.ToLower(rcpt))
	var m Meaning
	if rule, scope := rs.find(at, r, text, names); rule != nil {
		m = Meaning{Scope: scope, Wait: rule.Wait, Rule: rule.Name, By: rule}
	} else {
		m = everywhere(at, r, text, names)
	}
	// Before AUTH nobody may have proven who it is that would keep us away.
	if m.Scope.passes(r.Code/100 == 5) && at >= Auth {
		m.Until, _ = askedFor(ownWords(text.all), now)
		if longest := now.Add(hearsay); m.By == nil && at >= Rcpt && r.Code/100 == 5 && m.Until.After(longest) {
			m.Until = longest
		}
	}
	m.Verdict = next(at, r, m.Scope)
	return m
}

// find is the first rule that matches, with what it says here.
func (rs Rules) find(at Stage, r Reply, text words, names bool) (*Rule, Scope) {
	for i := range rs.Operator {
		rule := &rs.Operator[i]
		if scope := rule.says(at, r, true); rule.matches(at, r, text.all) && scope != ScopeNone {
			return rule, scope
		}
	}
	if rs.Profile == nil {
		return nil, ScopeNone
	}
	for i := range rs.Profile.Rules {
		rule := &rs.Profile.Rules[i]
		// Addresses are left out, for they may contain any word.
		if scope := rule.says(at, r, names); rule.matches(at, r, text.plain) && scope != ScopeNone {
			return rule, scope
		}
	}
	return nil, ScopeNone
}

func (rule *Rule) matches(at Stage, r Reply, text string) bool {
	if rule.Code == "" && rule.Enhanced == "" && len(rule.Text) == 0 {
		return false
	}
	return (rule.Stages == nil || slices.Contains(rule.Stages, at)) &&
		strings.HasPrefix(codeOf(r), rule.Code) &&
		(rule.Enhanced == "" || strings.HasPrefix(r.Enhanced+".", rule.Enhanced+".")) &&
		!slices.ContainsFunc(rule.Text, func(w string) bool { return !strings.Contains(text, strings.ToLower(w)) })
}

// says is the rule's scope as far as it can be true of this reply; none: it
// cannot. clear says that there is no doubt which recipient is meant.
func (rule *Rule) says(at Stage, r Reply, clear bool) Scope {
	perm := r.Code/100 == 5
	switch s := rule.Scope; {
	case at < Mail && s.aboutMail(),
		at < Auth && perm && (s == ScopeQuota || s == ScopeAccount): // it knows no account yet
		return ScopeNone
	case s == ScopeRecipient && at < Rcpt,
		s == ScopeRecipient && perm && at > Rcpt && !clear, // one of many (RFC 5321 3.3)
		s == ScopeMessage && perm && at < Body:             // nobody has seen it
		return ScopeUnknown
	case !perm && (s == ScopeMessage || s == ScopeUnknown):
		return ScopeTemporary
	default:
		return s
	}
}

// aboutMail says that the fault is one that only mail can have.
func (s Scope) aboutMail() bool {
	switch s {
	case ScopeRecipient, ScopeMessage, ScopeSize, ScopeSender, ScopeUnknown:
		return true
	default:
		return false
	}
}

// passes says that such a refusal ends by itself, so that a time named in it is
// worth waiting for. Bad credentials have waits of their own, so that no server
// makes us log in more often.
func (s Scope) passes(perm bool) bool {
	switch s {
	case ScopeQuota, ScopeTemporary, ScopeConnections, ScopePolicy, ScopePlace, ScopeSession:
		return true
	case ScopeRecipient:
		return !perm
	default:
		return false
	}
}

// next is the step that follows from whose fault a refusal is.
func next(at Stage, r Reply, s Scope) Verdict {
	switch perm := r.Code/100 == 5; {
	case at < Rcpt:
		return Next
	case s == ScopeRecipient && !perm:
		return Later // every upstream would meet the same mailbox
	case s == ScopeRecipient:
		return Bounce
	case s == ScopeMessage && perm && at >= Body && r.Enhanced != "5.6.7":
		// Another upstream would conclude the same from the same octets; only
		// SMTPUTF8 (5.6.7) is a thing that one has and another has not.
		return Bounce
	default:
		return Next
	}
}
