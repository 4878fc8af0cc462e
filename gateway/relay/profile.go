package relay

import "time"

// Profile is what is known of a provider.
type Profile struct {
	Name  string   // as in the config: "gmail"
	Title string   // for people: "Gmail"
	Hosts []string // by which it is recognised: a host name, or .domain for all below it
	// Checked is when that was last held against the provider's own words.
	Checked time.Time
	// Limits that it is known to have, 0 where none is known: connections at a
	// time, messages on one of them, recipients of a transaction.
	Connections, Messages, Recipients int
	Rules                             []Rule
}

// Profiles reads those that come with the program, by name.
func Profiles() (map[string]*Profile, error) { return map[string]*Profile{}, nil }
