package alert

import (
	"fmt"
	"strings"
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

// Barred says of so many messages that all upstreams refuse them, and what
// becomes of them after hold.
func Barred(n int, hold time.Duration) string {
	is, it, wait, come, sender := "is", "it", "It waits", "comes back to its sender", "its sender"
	if n > 1 {
		is, it, wait, come, sender = "are", "them", "They wait", "come back to their senders", "their senders"
	}
	return fmt.Sprintf("%s %s refused by every upstream that may send %s, for %s or by policy. %s for another network, password or config, and %s after %s online (queue.policy_hold). "+
		"`mailroam queue show` says what each of them answered; once it is mended: `mailroam queue retry --all`.", messages(n), is, it, sender, wait, come, span(hold))
}

func messages(n int) string {
	if n == 1 {
		return "1 message"
	}
	return fmt.Sprintf("%d messages", n)
}

// span writes a time span as the config has it.
func span(d time.Duration) string {
	const day = 24 * time.Hour
	if d > 0 && d%day == 0 {
		return fmt.Sprintf("%dd", d/day)
	}
	text := d.Round(time.Second).String()
	for _, zero := range []string{"m0s", "h0m"} {
		if strings.HasSuffix(text, zero) {
			text = strings.TrimSuffix(text, zero[1:])
		}
	}
	return text
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
	case health.Connections:
		return "It takes no more connections at a time: other programs may hold some." + again
	case health.Quota:
		return "Its quota is used up: wait, or ask the provider for more." + again
	case health.Policy:
		return "It refuses mail for reasons of its own: look at the reply, and ask the provider." + again
	case health.Place:
		return "It refuses mail from this network: there is nothing to do while others take the mail, and another network ends it." + again
	}
	switch u.State {
	case "up":
		return "Nothing to do."
	case health.Limited:
		return "That is a limit of your own, not the provider's: there is nothing to do, or raise it if the provider allows more." + strings.Replace(again, "It is tried again", "It is used again", 1)
	}
	return "It is used again by itself when it answers; if it should answer now, check its urls and this network."
}
