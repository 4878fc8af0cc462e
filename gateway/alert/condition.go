package alert

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"mailroam/health"
	"mailroam/queue"
)

// View is one look at the gateway.
type View struct {
	Now       time.Time
	Odometer  time.Duration // the time online so far
	Outlook   health.Outlook
	Upstreams []health.Status // in order of preference
	Chains    []Chain
	// Passed is when mail last left by another upstream, by the one that is its
	// first choice.
	Passed map[string]time.Time
	// Refusals are the senders whose first choice refuses them.
	Refusals []Refusal
	Queue    queue.Stats
	// StuckWhy is why the newest is held that mailroam itself holds, "" when it was
	// not found among very many.
	StuckWhy string
	// PolicyHold is how long mail that all refuse waits.
	PolicyHold time.Duration
	InDoubt    string // queue.in_doubt: who is asked for mail in doubt
	// PasswordKeys are the keys of the config by which upstreams get their
	// passwords.
	PasswordKeys map[string]string
	Disk         string // why the disk keeps new mail out, "" when it does not
}

// online says that what is seen of upstreams is about upstreams.
func (v View) online() bool { return v.Outlook.State == "" || v.Outlook.State == "online" }

// The kinds of events.
const (
	SecondChoice  = "second-choice"
	FirstChoice   = "first-choice" // the end of second-choice
	AllDown       = "all-down"
	Credentials   = "credentials"
	Quota         = "quota"
	Refused       = "refused"        // mail, by all that may send it
	SenderRefused = "sender-refused" // by the first choice, and another may take the mail
	Held          = "held"           // mail, by mailroam
	InDoubt       = "in-doubt"
	Disk          = "disk"
	TooMany       = "too-many" // alerts: the rest is in the log
)

// key names what an alert is about: one kind of trouble with one upstream, ""
// where it is about none.
type key struct{ kind, upstream string }

// condition is something that is so and that a person should know, if it lasts.
type condition struct {
	key
	text  string
	since time.Time     // zero: as long as it is seen
	lasts time.Duration // it is no news before it was seen for this long, online
	met   bool          // by mail: that makes it news at once
}

// blip is how long a first choice may be away without being news.
const blip = 10 * time.Second

// paced is as long for one whose limits are used up.
const paced = 2 * time.Minute

// conditions lists what is so. down is how long it is no news that nothing
// works.
func conditions(v View, down time.Duration) (all []condition) {
	if v.online() {
		for _, c := range v.Chains {
			switch used := c.Offered(v.Upstreams); {
			case used < 0:
				all = append(all, v.allDown(c, down))
			case used > 0 && !slices.ContainsFunc(all, func(o condition) bool { return o.key == key{SecondChoice, c.Upstreams[0]} }):
				all = append(all, v.secondChoice(c.Upstreams[0]))
			}
		}
		for _, u := range v.Upstreams {
			// In a blip the others may turn out to refuse the sender as well.
			if text := RefusesSenders(u.Name, v.Refusals, v.Upstreams, v.Now); text != "" {
				all = append(all, condition{key: key{SenderRefused, u.Name}, text: text, lasts: blip})
			}
			switch u.Kind {
			case health.Account:
				all = append(all, condition{key: key{Credentials, u.Name}, since: u.Since, text: fmt.Sprintf("%q refuses our login: %s %s", u.Name, sentence(u.Why), v.remedy(u))})
			case health.Quota:
				all = append(all, condition{key: key{Quota, u.Name}, since: u.Since, text: fmt.Sprintf("%q takes no more mail for now: %s %s", u.Name, sentence(u.Why), v.remedy(u))})
			}
		}
	}
	if n := v.Queue.Barred; n > 0 {
		all = append(all, condition{key: key{kind: Refused}, text: Barred(n, v.PolicyHold)})
	}
	if n := v.Queue.Stuck; n > 0 {
		newest := ""
		if v.StuckWhy != "" {
			newest = " Of the newest: " + v.StuckWhy + "."
		}
		all = append(all, condition{key: key{kind: Held}, text: fmt.Sprintf(
			"Held until you decide: %s.%s See `mailroam status`; then `mailroam queue release`, `fail` or `drop` it.", messages(n), newest,
		)})
	}
	if n := v.Queue.InDoubt; n > 0 {
		all = append(all, condition{key: key{kind: InDoubt}, text: inDoubt(n, v.InDoubt)})
	}
	if v.Disk != "" {
		all = append(all, condition{key: key{kind: Disk}, text: v.Disk})
	}
	return all
}

// inDoubt says what becomes of so many messages by the choice of the config.
func inDoubt(n int, choice string) string {
	text := fmt.Sprintf("In doubt: %d. An upstream may have taken the message, but its answer was lost. ", n)
	const list = "`mailroam queue list --state in-doubt`"
	switch choice {
	case "hold":
		return text + "queue.in_doubt is hold, so it waits until you decide: " + list + " and `mailroam queue show ID` say what is known; " +
			"`mailroam queue release ID` asks that upstream again, and the recipient may get two copies; `fail` tells the sender, `drop` ends it if it has arrived."
	case "failover":
		return text + "queue.in_doubt is failover, so the next upstream is asked at once: there is nothing to do, and the recipient may get two copies. See " + list + "."
	}
	return text + "It is asked first, so there is nothing to do; should it stay away, another is asked, and the recipient may get two copies. See " + list + "."
}

// secondChoice is about all chains that begin with the named upstream.
func (v View) secondChoice(first string) condition {
	u, _ := find(v.Upstreams, first)
	lasts, met := blip, v.Passed[first].After(u.LastGood)
	if u.State == health.Limited { // a limit of a minute is no news at all
		lasts, met = paced, false
	}
	return condition{
		key: key{SecondChoice, first}, since: u.Since, lasts: lasts, met: met,
		text: fmt.Sprintf("%s: %s %s", Running(first, v.Chains, v.Upstreams), Standing(u, v.Now), v.remedy(u)),
	}
}

func (v View) remedy(u health.Status) string { return Remedy(u, v.PasswordKeys[u.Name], v.Now) }

func (v View) allDown(c Chain, down time.Duration) condition {
	text := c.Waits(v.Chains, v.Upstreams)
	var since time.Time // the last one's
	for _, name := range c.Upstreams {
		u, _ := find(v.Upstreams, name)
		text += " " + Standing(u, v.Now) + " " + v.remedy(u)
		if u.Since.After(since) {
			since = u.Since
		}
	}
	return condition{key: key{AllDown, strings.Join(c.Upstreams, ",")}, text: text, since: since, lasts: down}
}

// unsure says that what is seen does not tell whether k is still so.
func (v View) unsure(k key) bool {
	switch k.kind {
	case InDoubt, Disk, Refused, Held:
		return false
	case SecondChoice:
		// From the second choice on to none is no way back to the first. Nor has
		// the first served yet while it may only show whether it does.
		first, _ := find(v.Upstreams, k.upstream)
		if slices.ContainsFunc(v.Chains, func(c Chain) bool {
			return c.Upstreams[0] == k.upstream && (c.Offered(v.Upstreams) < 0 || untried(first))
		}) {
			return true
		}
	case AllDown:
		if slices.ContainsFunc(v.Chains, func(c Chain) bool { return strings.Join(c.Upstreams, ",") == k.upstream && v.untried(c) }) {
			return true
		}
	case Quota:
		// What does not answer shows that, and not its quota.
		if u, ok := find(v.Upstreams, k.upstream); ok && (u.Kind == health.Network || u.Kind == health.Identity || u.State == health.Offline) {
			return true
		}
	}
	return !v.online()
}

// untried says that an upstream may be offered mail and has not shown yet that it
// serves: another password, or the end of a wait, may turn out to be no cure.
func untried(u health.Status) bool { return u.State == health.Trial || u.State == "unknown" }

// untried says that nothing but such upstreams can take the mail of a chain.
func (v View) untried(c Chain) bool {
	return !slices.ContainsFunc(c.Upstreams, func(name string) bool {
		u, _ := find(v.Upstreams, name)
		return u.State == "up" || u.State == "suspect"
	})
}

// over says in words that k is no longer so, after so long. What the config has
// no more is not said to work.
func (v View) over(k key, lasted time.Duration) string {
	after := " after " + lasted.Round(time.Second).String()
	chain := func(has func(Chain) bool) bool { return slices.ContainsFunc(v.Chains, has) }
	_, there := find(v.Upstreams, k.upstream)
	switch k.kind {
	case InDoubt:
		return "No message is in doubt any more," + after + "."
	case Refused:
		return "No message is refused by every upstream any more," + after + "."
	case Held:
		return "No message waits for you any more," + after + "."
	case Disk:
		return "The disk has room again: mail is taken," + after + "."
	case AllDown:
		if !chain(func(c Chain) bool { return strings.Join(c.Upstreams, ",") == k.upstream }) {
			return "The config has changed: mail has other upstreams now than " + strings.ReplaceAll(k.upstream, ",", ", ") + "."
		}
		return fmt.Sprintf("Mail leaves again,%s: an upstream of %s works.", after, strings.ReplaceAll(k.upstream, ",", ", "))
	}
	switch {
	case !there:
		return fmt.Sprintf("%q is not among the upstreams of the config any more.", k.upstream)
	case k.kind == SecondChoice && !chain(func(c Chain) bool { return c.Upstreams[0] == k.upstream }):
		return fmt.Sprintf("The config has changed: %q is nobody's first choice any more.", k.upstream)
	case k.kind == SecondChoice:
		return fmt.Sprintf("Back on the first choice: mail goes by %q again,%s.", k.upstream, after)
	case k.kind == SenderRefused:
		return fmt.Sprintf("%q is not known to refuse a sender any longer,%s.", k.upstream, after)
	case k.kind == Credentials:
		return fmt.Sprintf("%q refuses our login no longer,%s.", k.upstream, after)
	}
	return fmt.Sprintf("%q takes mail again,%s.", k.upstream, after)
}
