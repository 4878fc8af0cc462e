package relay

import "time"

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
}

// Meaning is what a reply or an error means for one recipient.
type Meaning struct {
	Verdict Verdict
	Scope   Scope
	Until   time.Time     // the upstream itself named an end; zero: it did not
	Wait    time.Duration // Rule.Wait
	Rule    string        // which rule says so, for people
}

// Classify says what a reply or an error means for one recipient, and whose
// fault it is: by the operator's rules, else the provider's, else what words
// mean everywhere, else the enhanced code, else stage and basic code. Rules only
// ever say whose fault a refusal is: they make no success of it, and no bounce
// of a 4xx (RFC 5321 4.2). Before MAIL the upstream knows nothing about the
// message, so nothing it says there bounces it.
func (rs Rules) Classify(at Stage, r Reply, err error, rcpt string, now time.Time) Meaning {
	v, s := classify(at, r, err, rcpt)
	return Meaning{Verdict: v, Scope: s}
}
