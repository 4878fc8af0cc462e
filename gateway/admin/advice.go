package admin

import (
	"cmp"
	"fmt"
	"strings"
	"time"

	"mailroam/gateway/alert"
	"mailroam/health"
)

// Upstream is what a Status says of one upstream.
type Upstream struct {
	health.Status
	Why      string `json:"why"`      // always there, also when empty
	Endpoint string `json:"endpoint"` // in use; before one worked, all of them
	// Blocked are the senders for whom it relays nothing at the moment.
	Blocked []Block `json:"blocked,omitempty"`
}

// advise says in words what does not run as it was configured to, and what a
// person can do: failover that works is easily overlooked until the second
// choice fails as well. list is in order of preference.
//
// While it is the network that is wrong, that is all there is to say of
// upstreams that do not answer.
func advise(outlook health.Outlook, list []health.Status, chains []alert.Chain, passwordKeys map[string]string, now time.Time) []string {
	advice := []string{}
	online := outlook.State == "" || outlook.State == health.Online
	if !online {
		advice = append(advice, network(outlook))
	}
	waiting := map[string]bool{} // upstreams that mail waits for
	for _, c := range chains {
		if !online || c.Offered(list) >= 0 {
			continue
		}
		advice = append(advice, c.Waits(chains, list))
		for _, name := range c.Upstreams {
			waiting[name] = true
		}
	}
	for _, u := range list {
		text := alert.Standing(u, now) + " " + alert.Remedy(u, passwordKeys[u.Name], now)
		running := alert.Running(u.Name, chains, list)
		switch {
		case !online && u.Kind != health.Account:
		case running != "":
			advice = append(advice, running+": "+text)
		case waiting[u.Name], u.Kind == health.Account:
			// An account that is out of order will be so, too, when it is its turn.
			advice = append(advice, text)
		}
	}
	return advice
}

// network says what is thought of the network and what to do about it.
func network(o health.Outlook) string {
	words := []string{fmt.Sprintf("It is the network (%s), not the upstreams.", o.State)}
	for _, s := range []string{o.Why, cmp.Or(o.Advice, "mail waits on disk and leaves by itself")} {
		if s = strings.TrimRight(s, ". "); s != "" {
			words = append(words, strings.ToUpper(s[:1])+s[1:]+".")
		}
	}
	return strings.Join(words, " ")
}
