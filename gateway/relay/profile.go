package relay

import (
	"embed"
	"fmt"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/pelletier/go-toml/v2"
)

// Profile is what is known of a provider.
type Profile struct {
	Name  string // as in the config: "gmail"
	Title string // for people: "Gmail"
	// Hosts are those it is recognised by; a * stands for any run of characters.
	Hosts []string
	// Checked is when that was last held against the provider's own words.
	Checked time.Time
	// Limits that it is known to have, 0 where none is known: connections at a
	// time, messages on one of them, recipients of a transaction.
	Connections, Messages, Recipients int
	Rules                             []Rule
}

// Serves says that the host is the provider's.
func (p *Profile) Serves(host string) bool {
	host = strings.ToLower(strings.TrimSuffix(host, "."))
	return slices.ContainsFunc(p.Hosts, func(pattern string) bool {
		ok, _ := path.Match(pattern, host)
		return ok
	})
}

//go:embed rules/*.toml
var profileFiles embed.FS

// Profiles reads those that come with the program, by name.
func Profiles() (map[string]*Profile, error) {
	entries, err := profileFiles.ReadDir("rules")
	if err != nil {
		return nil, fmt.Errorf("reading the profiles: %w", err)
	}
	profiles := map[string]*Profile{}
	for _, e := range entries {
		text, err := profileFiles.ReadFile("rules/" + e.Name())
		if err != nil {
			return nil, fmt.Errorf("reading the profiles: %w", err)
		}
		p, err := parseProfile(strings.TrimSuffix(e.Name(), ".toml"), text)
		if err != nil {
			return nil, fmt.Errorf("profile %s: %w", e.Name(), err)
		}
		profiles[p.Name] = p
	}
	return profiles, nil
}

// profileFile is a profile as written. What is not here is no key.
type profileFile struct {
	Title       string         `toml:"title"`
	Hosts       []string       `toml:"hosts"`
	Checked     toml.LocalDate `toml:"checked"`
	Connections int            `toml:"connections"`
	Messages    int            `toml:"messages"`
	Recipients  int            `toml:"recipients"`
	Rules       []ruleFile     `toml:"rule"`
}

type ruleFile struct {
	Name     string         `toml:"name"`
	Stages   []string       `toml:"stages"`
	Code     string         `toml:"code"`
	Enhanced string         `toml:"enhanced"`
	Text     []string       `toml:"text"`
	Scope    string         `toml:"scope"`
	Wait     string         `toml:"wait"`
	Remedy   string         `toml:"remedy"`
	Source   string         `toml:"source"`
	Date     toml.LocalDate `toml:"date"`
}

func parseProfile(name string, text []byte) (*Profile, error) {
	var f profileFile
	d := toml.NewDecoder(strings.NewReader(string(text))).DisallowUnknownFields()
	if err := d.Decode(&f); err != nil {
		return nil, err
	}
	if f.Title == "" || f.Checked.Year == 0 {
		return nil, fmt.Errorf("needs a title and the day it was checked")
	}
	p := &Profile{
		Name: name, Title: f.Title, Hosts: f.Hosts, Checked: f.Checked.AsTime(time.UTC),
		Connections: f.Connections, Messages: f.Messages, Recipients: f.Recipients,
	}
	for _, h := range f.Hosts {
		if _, err := path.Match(h, ""); err != nil {
			return nil, fmt.Errorf("host %q: %w", h, err)
		}
	}
	for i, r := range f.Rules {
		rule, err := r.rule(name)
		if err != nil {
			return nil, fmt.Errorf("rule %d, %q: %w", i+1, r.Name, err)
		}
		p.Rules = append(p.Rules, rule)
	}
	return p, nil
}

func (f ruleFile) rule(profile string) (r Rule, err error) {
	r = Rule{
		Name: profile + ": " + f.Name, Code: f.Code, Enhanced: f.Enhanced, Text: f.Text, Scope: Scope(f.Scope),
		Remedy: f.Remedy, Source: f.Source, Date: f.Date.AsTime(time.UTC),
	}
	switch {
	case f.Name == "" || f.Source == "" || f.Date.Year == 0:
		return r, fmt.Errorf("needs a name, a source and a date")
	case f.Code == "" && f.Enhanced == "" && len(f.Text) == 0:
		return r, fmt.Errorf("matches nothing: needs a code, an enhanced code or words")
	case !slices.Contains(Scopes(), r.Scope):
		return r, fmt.Errorf("%q is no scope", f.Scope)
	}
	for _, s := range f.Stages {
		stage, ok := ParseStage(s)
		if !ok {
			return r, fmt.Errorf("%q is no stage", s)
		}
		r.Stages = append(r.Stages, stage)
	}
	if f.Wait != "" {
		r.Wait, err = time.ParseDuration(f.Wait)
	}
	return r, err
}

// Scopes are those a rule can name.
func Scopes() []Scope {
	return []Scope{
		ScopeRecipient, ScopeMessage, ScopeSize, ScopeSender, ScopeQuota, ScopeAccount, ScopePolicy, ScopePlace, ScopeSession, ScopeConnections,
		ScopeNetwork, ScopeIdentity, ScopeTemporary, ScopeUnknown,
	}
}

// Stages are all there are, in order.
func Stages() []Stage {
	stages := make([]Stage, len(stageNames))
	for i := range stages {
		stages[i] = Stage(i)
	}
	return stages
}

// ParseStage reads what Stage.String writes.
func ParseStage(name string) (Stage, bool) {
	i := slices.Index(stageNames[:], name)
	return Stage(max(i, 0)), i >= 0
}
