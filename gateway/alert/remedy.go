package alert

import (
	"cmp"
	"fmt"
	"strings"
	"time"

	"mailroam/health"
)

// Standing says how an upstream is and why, as a sentence.
func Standing(u health.Status, now time.Time) string {
	is, lasting := u.State, " for %s"
	switch u.State {
	case "up":
		// Which of the two holds it back only health knows.
		return fmt.Sprintf("%q answers again; mail returns to it as health.rise and health.failback say.", u.Name)
	case health.Trial:
		is, lasting = "on trial", " after %s of trouble"
	}
	text := fmt.Sprintf("%q is %s", u.Name, is)
	if lasts := now.Sub(u.Since).Round(time.Second); lasts > 0 && !u.Since.IsZero() {
		text += fmt.Sprintf(lasting, lasts)
	}
	if u.Why != "" {
		text += ": " + u.Why
	}
	return sentence(text)
}

// sentence ends a text as one, also where a server has done so.
func sentence(text string) string { return strings.TrimRight(text, ". ") + "." }

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
// about, and when it is tried again. passwordKey is the key of the config by
// which it gets its password.
func Remedy(u health.Status, passwordKey string, now time.Time) string {
	return cure(u, passwordKey) + again(u, now)
}

func cure(u health.Status, passwordKey string) string {
	known := ""
	if u.Remedy != "" {
		known = strings.ToUpper(u.Remedy[:1]) + u.Remedy[1:] + "."
	}
	switch u.Kind {
	case health.Account:
		return cmp.Or(known, "Correct username and password, which for many providers is an app password; if they are right, log in at this provider to see whether the account is in order.") +
			" " + noticed(passwordKey)
	case health.Identity:
		return "Whoever answers there could not prove to be it, so neither mail nor password goes there: look at the certificate, and at ?ca= and ?servername= in its urls."
	case health.Connections:
		return cmp.Or(known, "It takes no more connections at a time: other programs may hold some.")
	case health.Quota:
		return cmp.Or(known, "Its quota is used up: wait, or ask the provider for more.")
	case health.Policy:
		return cmp.Or(known, "It refuses mail for reasons of its own: look at the reply, and ask the provider.")
	case health.Place:
		return cmp.Or(known, "It refuses mail from this network: there is nothing to do while others take the mail, and another network ends it.")
	case health.Session, health.Message:
		return cmp.Or(known, "It answers and does not go through with it: wait, and ask the provider if it lasts.")
	}
	switch u.State {
	case "up":
		return "Nothing to do."
	case health.Limited:
		return "That is a limit of your own, not the provider's: there is nothing to do, or raise it if the provider allows more."
	}
	return "It is used again by itself when it answers; if it should answer now, check its urls and this network."
}

// noticed says how another password comes to be tried.
func noticed(passwordKey string) string {
	switch passwordKey {
	case "password_file":
		return "Another password in its password_file is noticed by itself; after any other change send the gateway SIGHUP."
	case "password_command":
		return "Its password_command is run again for the next login; after a change of the config send the gateway SIGHUP."
	case "password_env":
		return "Another password in the environment takes a restart; after a change of the config send the gateway SIGHUP."
	}
	return "After a change of the config send the gateway SIGHUP."
}

// again says when an upstream is tried again, "" when no time is set.
func again(u health.Status, now time.Time) string {
	switch {
	case u.State == health.Trial:
		return " The next message that comes to it tries it; `mailroam send-test ADDRESS` sends one."
	case u.Until.IsZero():
		return ""
	case u.State == health.Limited:
		return " It is used again at " + clock(u.Until, now) + "."
	}
	return " It is tried again at " + clock(u.Until, now) + "."
}

// clock writes a moment where now is, with the day where it is another one.
func clock(t, now time.Time) string {
	t = t.In(now.Location())
	if y, m, d := t.Date(); y == now.Year() && m == now.Month() && d == now.Day() {
		return t.Format("15:04:05 MST")
	}
	return t.Format("2006-01-02 15:04:05 MST")
}
