package gateway

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"mailroam/gateway/dispatch"
	"mailroam/gateway/relay"
	"mailroam/health"
	"mailroam/queue"
)

// ReplyQuestion is a reply that somebody wonders about.
type ReplyQuestion struct {
	Reply   string
	Stage   string // "" for all at which there are replies
	Rcpt    string // "" for somebody
	Profile string // of the provider that said it; "" or "none" for nobody's
	// Config and Upstream, instead of a profile, are whose rules count.
	Config   *Config
	Upstream string
}

// ReplyAnswer is what a reply would do.
type ReplyAnswer struct {
	Code     int          `json:"code"`
	Enhanced string       `json:"enhanced,omitempty"`
	Text     string       `json:"text"`
	Profile  string       `json:"profile,omitempty"`
	Title    string       `json:"title,omitempty"` // of the profile
	Upstream string       `json:"upstream,omitempty"`
	Stages   []ReplyStage `json:"stages"`
}

// ReplyStage is what it would do at one stage, and who says so.
type ReplyStage struct {
	Stage    string     `json:"stage"`
	Verdict  string     `json:"verdict"` // delivered, next, later, bounce or in-doubt; hold where a person decides; continue where nothing is decided yet
	Scope    string     `json:"scope,omitempty"`
	Message  string     `json:"message"`          // what becomes of the message
	Upstream string     `json:"upstream"`         // and of the upstream
	Remedy   string     `json:"remedy,omitempty"` // what a person can do, where that is known
	Wait     float64    `json:"wait_s,omitzero"`  // how long the upstream is not used
	Until    *time.Time `json:"until,omitempty"`  // where the reply itself says so
	Rule     string     `json:"rule"`
	Source   string     `json:"source,omitempty"`
	Date     string     `json:"date,omitempty"`
}

// ChoiceError is a name that stands for nothing.
type ChoiceError struct {
	What, Name string
	Have       []string
}

func (e *ChoiceError) Error() string { return fmt.Sprintf("there is no %s %q", e.What, e.Name) }

// ExplainReply says what a reply would do to a message and to the upstream that
// said it. It asks who decides that in earnest.
func ExplainReply(q ReplyQuestion, now time.Time) (ReplyAnswer, error) {
	r, err := relay.ParseReply(q.Reply)
	if err != nil {
		return ReplyAnswer{}, err
	}
	rules, err := q.rules()
	if err != nil {
		return ReplyAnswer{}, err
	}
	stages, err := q.stages()
	if err != nil {
		return ReplyAnswer{}, err
	}
	a := ReplyAnswer{Code: r.Code, Enhanced: r.Enhanced, Text: queue.Printable(r.Text, 2000), Upstream: q.Upstream}
	if rules.Profile != nil {
		a.Profile, a.Title = rules.Profile.Name, rules.Profile.Title
	}
	p := policyOf(q.Config)
	for _, at := range stages {
		a.Stages = append(a.Stages, explainAt(p, rules, at, r, q.Rcpt, now))
	}
	return a, nil
}

func (q ReplyQuestion) rules() (relay.Rules, error) {
	if q.Upstream != "" {
		for _, u := range q.Config.Upstreams {
			if u.Name == q.Upstream {
				return u.rules(), nil
			}
		}
		return relay.Rules{}, &ChoiceError{"upstream", q.Upstream, upstreamNames(q.Config)}
	}
	profiles, err := relay.Profiles()
	if err != nil || q.Profile == "" || q.Profile == noProfile {
		return relay.Rules{}, err
	}
	if p := profiles[q.Profile]; p != nil {
		return relay.Rules{Profile: p}, nil
	}
	return relay.Rules{}, &ChoiceError{"profile", q.Profile, slices.Sorted(maps.Keys(profiles))}
}

func (q ReplyQuestion) stages() (stages []relay.Stage, err error) {
	for _, s := range relay.Stages() {
		if s >= relay.Greeting && (q.Stage == "" || q.Stage == s.String()) {
			stages = append(stages, s)
		}
	}
	if len(stages) == 0 {
		return nil, &ChoiceError{"stage", q.Stage, replyStages()}
	}
	return stages, nil
}

func upstreamNames(cfg *Config) (names []string) {
	for _, u := range cfg.Upstreams {
		names = append(names, u.Name)
	}
	return names
}

// The upstreams of an explanation: who said it, and who else there is.
const thisOne, anotherOne = "this one", "another one"

// policyOf is what a configuration says about replies, for a message that any
// of its upstreams may carry. Without one there are two of them.
func policyOf(cfg *Config) dispatch.Policy {
	list := []dispatch.Route{{Name: thisOne}, {Name: anotherOne}}
	if cfg == nil {
		c := Default()
		cfg = &c
	} else if len(cfg.Upstreams) == 1 {
		list = list[:1]
	}
	p := dispatchConfig(&Config{Queue: cfg.Queue}, nil).Policy
	p.Routes = dispatch.NewRoutes(list)
	return p
}

func explainAt(p dispatch.Policy, rules relay.Rules, at relay.Stage, r relay.Reply, rcpt string, now time.Time) ReplyStage {
	if rcpt == "" {
		rcpt = "somebody@example.net"
	}
	meaning := rules.Classify(at, r, nil, rcpt, now)
	if goesOn(at, r) {
		return ReplyStage{Stage: at.String(), Verdict: "continue", Message: "it goes on", Upstream: "it stays in use", Rule: meaning.Rule}
	}
	m := &queue.Message{ReversePath: "sender@example.com", Recipients: []queue.Recipient{{Address: rcpt, State: queue.Pending}}}
	m.Accepted = now
	result := relay.RcptResult{Stage: at, Reply: r, InDoubt: at == relay.Dot && !r.Refuses() && !r.Positive()}
	judged := p.Judge(dispatch.Try{
		Message: m, Upstream: thisOne, Rcpts: []int{0}, Rules: rules, At: now,
		Result: relay.Result{Rcpts: []relay.RcptResult{result}, Served: at >= relay.Mail},
	}, dispatch.Now{Time: now, Online: time.Second})
	s := ReplyStage{
		Stage: at.String(), Verdict: judged.Attempts[0].Verdict, Scope: string(meaning.Scope), Rule: meaning.Rule,
	}
	if meaning.By != nil {
		s.Remedy = meaning.By.Remedy
	}
	if meaning.By != nil && meaning.By.Source != "" {
		s.Source, s.Date = meaning.By.Source, meaning.By.Date.Format(time.DateOnly)
	}
	if judged.Hold != "" {
		s.Verdict = "hold"
	}
	rests := health.RestsUntil(judged.Fault, now)
	if left := rests.Sub(now).Round(time.Second); left > 0 {
		s.Wait = left.Seconds()
	}
	if !judged.Fault.Until.IsZero() {
		until := judged.Fault.Until.UTC()
		s.Until = &until
	}
	s.Message = messageWords(s.Verdict, meaning.Scope, judged, p)
	s.Upstream = upstreamWords(meaning, judged, rests, now)
	return s
}

// goesOn says that a reply is what an upstream is hoped to say there (RFC 5321
// 4.3.2, RFC 4954 4), after which the next command follows.
func goesOn(at relay.Stage, r relay.Reply) bool {
	switch at {
	case relay.Auth:
		return r.Positive() || r.Code == 334
	case relay.Data:
		return r.Code == 354
	case relay.Greeting, relay.Hello, relay.StartTLS, relay.Mail, relay.Rcpt:
		return r.Positive()
	default:
		return false
	}
}

// ProfileInfo is a profile as people see it.
type ProfileInfo struct {
	Name        string   `json:"name"`
	Title       string   `json:"title"`
	Hosts       []string `json:"hosts"`
	Rules       int      `json:"rules"`
	Connections int      `json:"connections,omitempty"`
	Messages    int      `json:"messages,omitempty"`
	Recipients  int      `json:"recipients,omitempty"`
	Checked     string   `json:"checked"`
}

// ListProfiles lists those that come with the program.
func ListProfiles() ([]ProfileInfo, error) {
	profiles, err := relay.Profiles()
	if err != nil {
		return nil, err
	}
	var list []ProfileInfo
	for _, p := range profiles {
		list = append(list, ProfileInfo{p.Name, p.Title, p.Hosts, len(p.Rules), p.Connections, p.Messages, p.Recipients, p.Checked.Format(time.DateOnly)})
	}
	slices.SortFunc(list, func(a, b ProfileInfo) int { return strings.Compare(a.Name, b.Name) })
	return list, nil
}
