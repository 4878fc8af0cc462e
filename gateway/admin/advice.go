package admin

import (
	"fmt"
	"time"

	"mailroam/health"
)

// Upstream is what a Status says of one upstream.
type Upstream struct {
	health.Status
	Why      string `json:"why"` // always there, also when empty
	Endpoint string `json:"endpoint"`
}

// advise says in words what does not run as it was configured to, and what a
// person can do: failover that works is easily overlooked until the second
// choice fails as well. list is in order of preference.
func advise(list []Upstream, now time.Time) []string {
	advice := []string{}
	used := inUse(list)
	for i, u := range list {
		switch {
		case used < 0:
			advice = append(advice, fmt.Sprintf("%s %s", standing(u, now), remedy(u)))
		case i < used:
			advice = append(advice, fmt.Sprintf("Running on choice %d, %q: %s %s", used+1, list[used].Name, standing(u, now), remedy(u)))
		case u.Kind == health.Account:
			// It is not its turn, but when it is, it will not work.
			advice = append(advice, fmt.Sprintf("%s %s", standing(u, now), remedy(u)))
		}
	}
	if used < 0 && len(list) > 0 {
		advice = append([]string{"No upstream works: mail waits on disk and leaves by itself when one is back."}, advice...)
	}
	return advice
}

// inUse is the upstream that mail is offered to first, -1 if there is none.
func inUse(list []Upstream) int {
	for i, u := range list {
		if u.Preferred {
			return i
		}
	}
	for _, state := range []string{"up", health.Trial, "suspect"} {
		for i, u := range list {
			if u.State == state {
				return i
			}
		}
	}
	return -1
}

func standing(u Upstream, now time.Time) string {
	if u.State == "up" {
		return fmt.Sprintf("%q is back and must answer once more to be trusted.", u.Name)
	}
	text := fmt.Sprintf("%q is %s", u.Name, u.State)
	if !u.Since.IsZero() {
		text += fmt.Sprintf(" for %s", now.Sub(u.Since).Round(time.Second))
	}
	if u.Why != "" {
		text += ": " + u.Why
	}
	return text + "."
}

// remedy says what to do, by what the fault is about.
func remedy(u Upstream) string {
	again := ""
	if !u.Until.IsZero() {
		again = " It is tried again at " + u.Until.Format(time.RFC3339) + "."
	}
	switch u.Kind {
	case health.Account:
		return "Correct username, password or what provides it in the config, and send the gateway SIGHUP; if they are right, log in at this provider to see whether the account is in order." + again
	case health.Identity:
		return "Whoever answers there could not prove to be it, so neither mail nor password goes there: look at the certificate, and at ?ca= and ?servername= in its urls."
	case health.Quota:
		return "Its quota is used up: wait, or ask the provider for more." + again
	case health.Policy:
		return "It refuses mail for reasons of its own: look at the reply, and ask the provider." + again
	}
	if u.State == "up" {
		return "Nothing to do."
	}
	return "It is used again by itself when it answers; if it should answer now, check its urls and this network." + again
}
