package gateway

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"

	"mailroam/gateway/relay"
)

// ruleEntry is a [[rule]] as written, with what was made of it.
type ruleEntry struct {
	node     *node
	upstream string // "" for all
	stages   []string
	scope    string
	rule     relay.Rule
}

func (d *decoder) ruleSchema(n *node) schema {
	e := &ruleEntry{node: n, rule: relay.Rule{Name: fmt.Sprintf("rule %d of the config", len(d.rules)+1)}}
	d.rules = append(d.rules, e)
	return schema{
		"upstream": text(&e.upstream, notEmpty),
		"stage":    texts(&e.stages, `["rcpt", "dot"]`, checkStage),
		"code":     text(&e.rule.Code, checkReplyCode),
		"enhanced": text(&e.rule.Enhanced, checkEnhancedCode),
		"text":     texts(&e.rule.Text, `["daily limit"]`, notEmpty),
		"scope":    choice(&e.scope, scopeNames()...),
		"wait":     duration(&e.rule.Wait, time.Second, day),
	}
}

func scopeNames() (names []string) {
	for _, s := range relay.Scopes() {
		names = append(names, string(s))
	}
	return names
}

// replyStages are those at which an upstream says something.
func replyStages() (names []string) {
	for _, s := range relay.Stages() {
		if s >= relay.Greeting {
			names = append(names, s.String())
		}
	}
	return names
}

func checkStage(s string) fault {
	if slices.Contains(replyStages(), s) {
		return fault{}
	}
	return fault{quote(s) + " is no stage at which an upstream answers", "it can be " + strings.Join(replyStages(), ", ")}
}

var (
	replyCode    = regexp.MustCompile(`^[45]([0-5]\d?)?$`)
	enhancedCode = regexp.MustCompile(`^[45](\.\d{1,3}){0,2}$`)
)

func checkReplyCode(s string) fault {
	if replyCode.MatchString(s) {
		return fault{}
	}
	return fault{quote(s) + " is no code of a refusal", `write "550", or "55" or "5" for all that begin so; only 4xx and 5xx are refusals`}
}

func checkEnhancedCode(s string) fault {
	if enhancedCode.MatchString(s) {
		return fault{}
	}
	return fault{quote(s) + " is no enhanced code of a refusal", `write "5.7.1", or "5.7" for all that begin so; only 4.x and 5.x are refusals`}
}

// checkRules gives each upstream the rules that are for it, in order.
func (d *decoder) checkRules() {
	for _, e := range d.rules {
		written := func(name string) bool { return e.node.fields[name] != nil }
		r := &e.rule
		if !written("scope") {
			d.problem(e.node.line, "rule.scope", "is missing", `say whose fault such a reply is: scope = "quota", for example`)
		}
		if !written("code") && !written("enhanced") && !written("text") {
			d.problem(e.node.line, "rule", "says nothing about the replies it is for", "add code, enhanced or text")
		}
		if r.Code != "" && r.Enhanced != "" && r.Code[0] != r.Enhanced[0] {
			d.problem(e.node.lineOf("enhanced"), "rule.enhanced", "is of another class than code, so no reply has both", "make them begin with the same digit")
		}
		if e.scope == string(relay.ScopeMessage) && strings.HasPrefix(r.Code+r.Enhanced, "4") {
			d.problem(e.node.lineOf("scope"), "rule.scope", "a 4xx never bounces a message", `use scope = "temporary", or another one`)
		}
		r.Scope = relay.Scope(e.scope)
		for _, s := range relay.Stages() {
			if slices.Contains(e.stages, s.String()) || len(e.stages) == 0 && s >= relay.Mail {
				r.Stages = append(r.Stages, s)
			}
		}
		known := false
		for i := range d.config.Upstreams {
			if u := &d.config.Upstreams[i]; e.upstream == "" || e.upstream == u.Name {
				u.Rules, known = append(u.Rules, *r), true
			}
		}
		if !known && e.upstream != "" {
			d.problem(e.node.lineOf("upstream"), "rule.upstream", fmt.Sprintf("no upstream is called %s", quote(e.upstream)), "use the name of one, or leave the key out for all")
		}
	}
}

// profileRule is a rule for the name of a profile.
func (d *decoder) profileRule(to *string) rule {
	return text(to, func(s string) fault {
		if s == noProfile || d.profiles[s] != nil {
			return fault{}
		}
		names := slices.Sorted(maps.Keys(d.profiles))
		return fault{"is no profile we have", fmt.Sprintf("it can be %q for none, or %s; see: mailroam explain --profiles", noProfile, strings.Join(names, ", "))}
	})
}

const noProfile = "none"

// settleProfile finds what is known of an upstream's provider: the one that is
// named, else the one whose hosts all its URLs have.
func (d *decoder) settleProfile(e *upstreamEntry) {
	if e.u.Profile = d.profiles[e.profile]; e.profile == "" {
		e.u.Profile = recognise(d.profiles, e.u.URLs)
	}
}

func recognise(profiles map[string]*relay.Profile, urls []UpstreamURL) *relay.Profile {
	for _, p := range profiles { // no host is of two
		if len(urls) > 0 && !slices.ContainsFunc(urls, func(u UpstreamURL) bool { return !p.Serves(u.Host) }) {
			return p
		}
	}
	return nil
}
