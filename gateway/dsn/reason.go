package dsn

import (
	"strings"

	"mailroam/queue"
)

// reason is why a recipient does not get the message, and what its sender can do
// about it, in everyday words.
type reason struct{ why, do string }

var (
	noMailbox   = reason{"There is no such mailbox.", "Check the address: it may be misspelt or no longer in use."}
	noDomain    = reason{"What stands after the @ is no place that takes mail.", "Check the address: it may be misspelt or no longer in use."}
	noAddress   = reason{"This is no valid address.", "Check how it is written."}
	moved       = reason{"The mailbox has moved elsewhere.", "Ask for the new address."}
	closed      = reason{"The mailbox is closed or takes no mail.", "Reach the person in another way."}
	full        = reason{"The mailbox is full.", "Tell the person in another way, or send it again in some days."}
	tooLarge    = reason{"The message is too large.", "Send it without large attachments, or share them as a link."}
	looping     = reason{"The message is sent round in circles between mail servers.", "Tell whoever looks after the recipient's mail."}
	badForm     = reason{"Something in the form of the message is not accepted.", "Send it in plainer form, or in parts."}
	foreign     = reason{"No mail server was found that can carry letters beyond the English alphabet in addresses.", "Use another address of the person, if there is one."}
	overQuota   = reason{"Your mail provider takes no more mail from you for now: a limit is reached, often how much may be sent in a day.", "Send it again tomorrow."}
	noLogin     = reason{"The mail gateway cannot log in at your mail provider.", "Tell whoever runs the mail gateway: the password or the account must be looked at."}
	notAsSender = reason{"Your mail provider does not let you send with this sender address.", "Send from another address of yours, or tell whoever runs the mail gateway."}
	notWanted   = reason{"It is refused by a rule of a mail server, such as one against unwanted mail.", "Tell whoever runs the mail gateway, or reach the person in another way."}
	content     = reason{"It is refused for what is in it: it looks like spam, or harmful.", "Look at its links and attachments, and send it without them."}
	unclear     = reason{"It is refused, and what the mail server says about it is below.", "If that does not help you, show it to whoever runs the mail gateway."}
	unreachable = reason{"No mail server could be reached.", ""}
	notNow      = reason{"The mail servers cannot take it now.", ""}
)

// byScope is what is known of whose fault it is, in dispatch's words. What is
// not here says nothing that helps the sender.
var byScope = map[string]reason{
	"size": tooLarge, "sender": notAsSender, "quota": overQuota, "account": noLogin,
	"policy": notWanted, "place": notWanted,
}

// byDetail is what subject and detail of an enhanced code say (RFC 3463 3, and
// the registry of RFC 5248).
var byDetail = map[string]reason{
	"1.1": noMailbox, "1.2": noDomain, "1.3": noAddress, "1.6": moved, "1.10": noDomain,
	"1.7": notAsSender, "1.8": notAsSender,
	"2.1": closed, "2.2": full, "2.3": tooLarge, "3.4": tooLarge,
	"4.1": unreachable, "4.4": noDomain, "4.6": looping,
	"6.7": foreign, "6.9": foreign, "6.10": foreign,
}

// bySubject is what is left of it.
var bySubject = map[string]reason{"6": badForm, "7": notWanted}

// why is what is said about one recipient, sentence by sentence.
func (r Report) why(e queue.Recipient) []string {
	if r.Kind == Relayed || r.Kind == Failed && e.State != queue.Expired && e.Last.Upstream == "" && e.Last.Code == 0 {
		return nil // a person gave it up: what is said says all
	}
	at := reasonOf(e)
	switch {
	case r.Kind == Delayed && (at == notAsSender || at == notWanted || at == noLogin):
		return []string{at.why, at.do} // time alone may not help
	case r.Kind == Delayed:
		return []string{at.why}
	case e.State != queue.Expired:
		return []string{at.why, at.do}
	case at == notNow || at == unreachable:
		return []string{"No mail server took it in time.", "Send it again if it is still wanted."}
	default:
		return []string{"No mail server took it in time.", at.why, at.do}
	}
}

func reasonOf(e queue.Recipient) reason {
	a := e.Last
	for _, s := range e.Said { // the last try met nobody: what somebody said before tells more
		if a.Code == 0 && s.Code != 0 {
			a = s
		}
	}
	class, detail, _ := strings.Cut(a.Enhanced, ".")
	subject, _, _ := strings.Cut(detail, ".")
	if why, ok := byScope[a.Scope]; ok {
		return why
	}
	switch {
	case a.Code == 0:
		return unreachable
	case class == "2" || a.Code < 400:
		return notNow
	}
	if why, ok := byDetail[detail]; ok {
		return why
	}
	switch why, ok := bySubject[subject]; {
	case a.Scope == "message" && subject != "6":
		return content
	case ok:
		return why
	case a.Scope == "recipient" && a.Permanent():
		return noMailbox
	case !a.Permanent():
		return notNow
	}
	return unclear
}
