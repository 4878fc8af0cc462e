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
func advise(n Network, list []health.Status, chains []alert.Chain, refusals []alert.Refusal, passwordKeys map[string]string, now time.Time) []string {
	advice := []string{}
	online := n.State == "" || n.State == health.Online
	switch {
	case !online:
		advice = append(advice, network(n))
	case n.Manager == portal:
		advice = append(advice, "No upstream answers, and "+captive)
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
		if refuses := alert.RefusesSenders(u.Name, refusals, list, now); refuses != "" && online {
			advice = append(advice, refuses)
		}
	}
	return advice
}

// portal is NetworkManager's word for one.
const portal = "portal"

// captive is what to do where NetworkManager knows of a portal that lets no mail
// come far enough to show itself.
const captive = "NetworkManager says that this is a captive portal. Open a browser and log in to this network: mail waits on disk and leaves by itself."

// network says what is thought of the network and what to do about it.
func network(n Network) string {
	words := []string{fmt.Sprintf("It is the network (%s), not the upstreams.", n.State)}
	advice := cmp.Or(n.Advice, "mail waits on disk and leaves by itself")
	if n.State == health.Unreachable && n.Manager == portal {
		advice = captive
	}
	for _, s := range []string{n.Why, advice} {
		if s = strings.TrimRight(s, ". "); s != "" {
			words = append(words, strings.ToUpper(s[:1])+s[1:]+".")
		}
	}
	return strings.Join(words, " ")
}
