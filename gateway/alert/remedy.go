package alert

import (
	"fmt"
	"time"

	"mailroam/health"
)

// Standing says how an upstream is and why, as a sentence.
func Standing(u health.Status, now time.Time) string {
	if u.State == "up" {
		// Which of the two holds it back only health knows.
		return fmt.Sprintf("%q answers again; mail returns to it as health.rise and health.failback say.", u.Name)
	}
	text := fmt.Sprintf("%q is %s", u.Name, u.State)
	if !u.Since.IsZero() {
		text += fmt.Sprintf(" for %s", max(0, now.Sub(u.Since)).Round(time.Second))
	}
	if u.Why != "" {
		text += ": " + u.Why
	}
	return text + "."
}

// Remedy says what a person can do about an upstream, by what its fault is
// about.
func Remedy(u health.Status) string {
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
	case health.Place:
		return "It refuses mail from this network: there is nothing to do while others take the mail, and another network ends it." + again
	}
	if u.State == "up" {
		return "Nothing to do."
	}
	return "It is used again by itself when it answers; if it should answer now, check its urls and this network."
}
