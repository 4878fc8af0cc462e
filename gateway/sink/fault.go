package sink

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Stage is a place in the dialogue where a fault can strike.
type Stage string

// The stages in the order they happen.
const (
	Greeting Stage = "greeting"
	Ehlo     Stage = "ehlo"
	Helo     Stage = "helo"
	StartTLS Stage = "starttls"
	TLS      Stage = "tls" // at the first octet of the handshake, implicit or after STARTTLS
	Auth     Stage = "auth"
	Mail     Stage = "mail"
	Rcpt     Stage = "rcpt"
	Data     Stage = "data"
	Body     Stage = "body" // after the first octets of the body
	Dot      Stage = "dot"
	Rset     Stage = "rset"
	Quit     Stage = "quit"
)

var stages = []Stage{Greeting, Ehlo, Helo, StartTLS, TLS, Auth, Mail, Rcpt, Data, Body, Dot, Rset, Quit}

// Action is what one step of a fault does.
type Action string

// The actions. A fault without any of Reply, Garbage, Flood, Hang, Close and
// Reset is followed by the normal reply.
const (
	Reply   Action = "reply"   // Text, verbatim; CRLF is added
	Delay   Action = "delay"   // wait For
	Slow    Action = "slow"    // from here on one octet a second
	Take    Action = "take"    // dot only: keep the message, whatever is answered
	Garbage Action = "garbage" // octets that are no reply
	Flood   Action = "flood"   // an endless multi-line reply
	Hang    Action = "hang"    // say nothing more; in the body also read nothing
	Close   Action = "close"   // FIN
	Reset   Action = "reset"   // RST
)

// Step is one step of a fault.
type Step struct {
	Do   Action
	Text string        // for Reply
	For  time.Duration // for Delay
}

// Range is a closed interval counted from 1; its zero value holds everything.
type Range struct{ From, To int }

func (r Range) holds(n int) bool { return r.From == 0 || r.From <= n && n <= r.To }

// Fault says what happens at a stage instead of the normal reply. All
// conditions must hold. Replies of successive steps leave in one segment, so
// two replies are an early one.
type Fault struct {
	Stage Stage
	Rcpt  string // rcpt only: this forward-path alone
	Msgs  Range  // from MAIL on: the server's n-th transactions
	Conns Range  // the server's n-th connections
	Steps []Step
}

// ParseFault reads the text form
//
//	STAGE[:ADDRESS][#MESSAGES][%CONNECTIONS]=STEP[; STEP…]
//
// where MESSAGES and CONNECTIONS are N or N-M, and a STEP is a reply code with
// or without a text (\n in it starts a new line), "delay 5s", or one of the
// words slow, take, garbage, flood, hang, close and reset:
//
//	dot=451
//	greeting%1-3=hang
//	rcpt:bob@example.com=550 5.1.1 no such user
//	dot#2=take; close
func ParseFault(s string) (Fault, error) {
	where, what, ok := strings.Cut(s, "=")
	if !ok {
		return Fault{}, fmt.Errorf("fault %q: want STAGE=STEP, as in dot=451", s)
	}
	f, err := parseWhere(where)
	if err != nil {
		return Fault{}, fmt.Errorf("fault %q: %w", s, err)
	}
	for part := range strings.SplitSeq(what, ";") {
		step, err := parseStep(strings.TrimSpace(part))
		if err != nil {
			return Fault{}, fmt.Errorf("fault %q: %w", s, err)
		}
		if step.Do == Take && f.Stage != Dot {
			return Fault{}, fmt.Errorf("fault %q: take makes sense at the dot only", s)
		}
		f.Steps = append(f.Steps, step)
	}
	return f, nil
}

func parseWhere(s string) (f Fault, err error) {
	if i := strings.LastIndexByte(s, '%'); i >= 0 {
		if f.Conns, err = parseRange(s[i+1:]); err != nil {
			return f, err
		}
		s = s[:i]
	}
	if i := strings.LastIndexByte(s, '#'); i >= 0 {
		if f.Msgs, err = parseRange(s[i+1:]); err != nil {
			return f, err
		}
		s = s[:i]
	}
	stage, rcpt, _ := strings.Cut(s, ":")
	f.Stage, f.Rcpt = Stage(stage), rcpt
	if !slices.Contains(stages, f.Stage) {
		return f, fmt.Errorf("no stage %q; the stages are %v", stage, stages)
	}
	if rcpt != "" && f.Stage != Rcpt {
		return f, fmt.Errorf("an address goes with the stage rcpt only")
	}
	return f, nil
}

func parseRange(s string) (Range, error) {
	from, to, isRange := strings.Cut(s, "-")
	if !isRange {
		to = from
	}
	a, err1 := strconv.Atoi(from)
	b, err2 := strconv.Atoi(to)
	if err1 != nil || err2 != nil || a < 1 || b < a {
		return Range{}, fmt.Errorf("%q is no number from 1 and no range like 1-3", s)
	}
	return Range{a, b}, nil
}

func parseStep(s string) (Step, error) {
	word, rest, _ := strings.Cut(s, " ")
	switch Action(word) {
	case Slow, Take, Garbage, Flood, Hang, Close, Reset:
		if rest != "" {
			return Step{}, fmt.Errorf("%q takes no argument; separate steps with ;", word)
		}
		return Step{Do: Action(word)}, nil
	case Delay:
		d, err := time.ParseDuration(strings.TrimSpace(rest))
		if err != nil || d < 0 {
			return Step{}, fmt.Errorf("%q is no duration like 5s", rest)
		}
		return Step{Do: Delay, For: d}, nil
	}
	if replyCode(s) == 0 {
		return Step{}, fmt.Errorf("%q is no step; want a reply code, delay, slow, take, garbage, flood, hang, close or reset", s)
	}
	if len(s) == 3 {
		s += " as requested"
	}
	return Step{Do: Reply, Text: strings.ReplaceAll(s, `\n`, "\r\n")}, nil
}

// replyCode reads the code of a reply, 0 if there is none.
func replyCode(s string) int {
	if len(s) < 3 || len(s) > 3 && s[3] != ' ' && s[3] != '-' {
		return 0
	}
	n := 0
	for _, c := range []byte(s[:3]) {
		if c < '0' || c > '9' {
			return 0
		}
		n = 10*n + int(c-'0')
	}
	return n
}
