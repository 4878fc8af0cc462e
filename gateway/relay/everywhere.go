package relay

import (
	"slices"
	"strings"
	"time"
)

// words is the text of a reply, in lower case and on one line.
type words struct {
	all   string
	plain string // without mail addresses, which may contain any word, and what others said
}

// maxWords is how many octets of a reply are read for their meaning: a server
// must not make us work by talking.
const maxWords = 8 << 10

func readWords(text string) words {
	all := strings.Fields(strings.ToLower(text[:min(len(text), maxWords)]))
	plain := slices.DeleteFunc(strings.Fields(ownWords(strings.Join(all, " "))), func(w string) bool { return strings.Contains(w, "@") })
	return words{strings.Join(all, " "), strings.Join(plain, " ")}
}

// ownWords leaves out what a server quotes of another, which it asked about a
// recipient: whoever runs that one could make our upstream seem anything.
func ownWords(text string) string {
	own, _, _ := strings.Cut(text, " said: ")
	return own
}

// names says that a text has an address in it, and not only as a part of another
// one.
func names(text, address string) bool {
	const (
		inDomain = "abcdefghijklmnopqrstuvwxyz0123456789-_"
		inLocal  = inDomain + "!#$%&*+/?^`{|}~."
	)
	for from := 0; address != ""; {
		i := strings.Index(text[from:], address)
		if i < 0 {
			return false
		}
		before, after := text[:from+i], text[from+i+len(address):]
		more := strings.TrimPrefix(after, ".")
		if strings.TrimRight(before, inLocal) == before && (more == "" || strings.IndexByte(inDomain, more[0]) < 0) {
			return true
		}
		from += i + len(address)
	}
	return false
}

func says(text string, words []string) bool {
	return slices.ContainsFunc(words, func(w string) bool { return strings.Contains(text, w) })
}

// everywhere is what a refusal means whoever it comes from. Where the codes
// leave open whose fault it is, words are asked first: servers choose words with
// more care than codes.
func everywhere(at Stage, r Reply, text words, names bool) Meaning {
	m := ofCodes(at, r, text.all, names)
	for _, s := range sayings {
		if s.from <= at && at <= s.to && (s.class == 0 || s.class == r.Code/100) && s.refines(at, r, text.plain, m.Scope) && s.means(text.plain) {
			return Meaning{Scope: s.scope, Wait: s.wait, Rule: "the words for " + s.name}
		}
	}
	return m
}

// saying is what some words mean, wherever they are said.
type saying struct {
	name     string
	from, to Stage
	class    int     // 4 or 5; 0: either
	over     []Scope // of the codes, that the words know better than
	means    func(text string) bool
	scope    Scope
	wait     time.Duration
}

var (
	vague = []Scope{ScopeUnknown, ScopePolicy, ScopeSender, ScopeTemporary}
	// A 421 only says that the session ends, and before MAIL codes say little.
	anyFault = append(slices.Clip(vague), ScopeSession, ScopeNetwork)
	// Where only its address in the text speaks against the recipient, the other
	// words of the text may speak for it.
	orNamed = append(slices.Clip(vague), ScopeRecipient)
)

// sayings are in order: what ends by itself, and what is about us, comes before
// what ends a message.
var sayings = []saying{
	{"too many connections", Greeting, Dot, 0, anyFault, tooManyConnections, ScopeConnections, 0},
	{"a place that may not send", Mail, Dot, 0, orNamed, isPlace, ScopePlace, 0},
	{"an address on a list", Mail, Dot, 0, orNamed, isListed, ScopePlace, 4 * time.Hour},
	{"too many logins", Auth, Auth, 4, vague, phrases("too many login", "too many failed", "too many auth", "too many bad auth"), ScopeQuota, time.Hour},
	{"a limit of mail", Auth, Dot, 0, append(slices.Clip(anyFault), ScopeRecipient, ScopeAccount, ScopeMessage), overLimit, ScopeQuota, 0},
	{"a wait", Mail, Dot, 5, vague, asksToWait, ScopeQuota, 0},
	{"too many recipients", Rcpt, Dot, 5, vague, phrases("too many recipients", "too many rcpt"), ScopeTemporary, 0},
	{"an account that is shut", Mail, Dot, 5, orNamed, accountShut, ScopeAccount, 0},
	{"a login that is missing", Mail, Mail, 5, append(slices.Clip(vague), ScopeAccount), noLogin, ScopeAccount, 0},
	{"relaying denied", Rcpt, Rcpt, 5, orNamed, noRelay, ScopeSender, 0},
	{"a sender who is not welcome", Mail, Dot, 5, append(slices.Clip(orNamed), ScopeAccount), notThisSender, ScopeSender, 0},
	{"a message that is too large", Mail, Dot, 5, []Scope{ScopeUnknown}, tooLarge, ScopeSize, 0},
	{"a message that is not wanted", Body, Dot, 5, []Scope{ScopeUnknown}, badContent, ScopeMessage, 0},
}

// refines says that the words may know better than the codes.
func (s saying) refines(at Stage, r Reply, text string, coded Scope) bool {
	if !slices.Contains(s.over, coded) {
		return false
	}
	subject, detail := r.status()
	if subject == 5 && detail == 3 { // too many recipients for one transaction, which is about no limit but that
		return false
	}
	switch coded {
	case ScopeRecipient:
		// 5.1.0 says that an address is wrong, and not which. Of the others 5.1.1
		// comes with "relaying denied" at times.
		open := subject < 0 && (r.Code == 550 || r.Code == 553) || subject == 1 && detail == 0
		return r.Code/100 == 5 && (open || s.from == Rcpt && s.scope == ScopeSender)
	case ScopeAccount:
		// To MAIL 5.7.0 mostly says that a login is missing, and means any security
		// status (RFC 3463 3.8).
		return !isLoginCode(r.Code) && (at == Auth && subject < 0 || at == Mail && subject == 7 && detail == 0)
	case ScopeMessage:
		// Some say by the code for a loop that too much mail comes from us.
		return subject == 4 && detail == 6 && !speaksOfLoop(text)
	default:
		return true
	}
}

func speaksOfLoop(text string) bool {
	return says(" "+withoutHosts(text), []string{"loop", " hop", "received", "forward", "routing", "circular"})
}

func phrases(words ...string) func(string) bool {
	return func(text string) bool { return says(text, words) }
}

func tooManyConnections(text string) bool {
	return says(text, []string{
		"too many connections", "too many concurrent", "too many simultaneous", "too many open connections", "too many sessions", "too many smtp sessions", "concurrent connection",
		"simultaneous connection", "connection limit", "connections limit", "sender thread limit", "maximum number of connections", "maximum connections",
		"trop de connexions",
	}) && !says(text, []string{"recipient"})
}

// overLimit: so much mail in so much time.
func overLimit(text string) bool {
	return says(text, []string{
		"per second", "per minute", "per hour", "per day", "per 24", "/hour", "/day", "in an hour", "in a day", "24 hours", "24-hour", " 24h", "/24h",
		"this hour", "hourly", "daily",
		"sending limit", "send limit", "sending quota", "sender quota", "sending rate", "rate limit", "ratelimit", "rate-limit", "message limit", "messages limit",
		"recipient limit", "outgoing limit", "outgoing mail limit", "email quota", "mail quota", "message rate", "submission rate", "too many messages",
		"too many mails", "too many emails", "too much mail",
	}) && says(text, []string{"exceed", "limit", "reached", "too many", "too much", "maximum", "over quota"}) && !says(text, []string{
		"mailbox", "inbox", "receiving", "disk", "storage", "size limit", "this user", "the user", "recipient is", "recipient has", "recipient's",
	})
}

func asksToWait(text string) bool { return len(waits(text)) > 0 }

func accountShut(text string) bool {
	return says(text, []string{"your account", "sender account", "sending account", "sending for this account", "outgoing mail from", "sender's account"}) &&
		says(text, []string{"suspend", "disabled", "blocked", "locked", "deactivated", "inactive", "restricted", "not activated", "not yet activated", "paused"})
}

func noLogin(text string) bool {
	return says(text, []string{
		"authentication required", "authentication is required", "must authenticate", "need to authenticate", "not authenticated", "please authenticate",
		"unauthenticated", "auth required", "log in first", "login required",
	}) && !says(text, []string{"spf", "dkim", "dmarc"})
}

// noRelay knows the words for "not for you", which some servers send with codes
// for "no such user".
func noRelay(text string) bool {
	return says(text, []string{
		"relay access denied", "relaying", "relay denied", "relay not permitted", "relay not allowed", "relay prohibited", "not permitted to relay",
		"not allowed to relay", "unable to relay", "authentication required", "authentication is required", "please authenticate",
	})
}

func notThisSender(text string) bool {
	return says(text, []string{
		"sender address rejected", "sender address is not allowed", "sender address not allowed", "sender rejected", "sender is not allowed",
		"sender not allowed", "sender denied", "invalid sender", "not owned by", "not allowed to send from", "not authorized to send from",
		"not authorised to send from", "not permitted to send from", "not allowed to send as", "not authorized to send as", "not permitted to send as",
		"permissions to send as", "sendasdenied", "send as denied", "verified sender", "sender verify failed", "sender domain not", "sending domain",
		"sender not verified", "email address is not verified", "domain is not verified", "from address is not", "not associated with your account", "one of your addresses",
	}) && !says(text, []string{"to this recipient", "to this group", "to the recipient", "recipient's"})
}

func tooLarge(text string) bool {
	return says(text, []string{
		"message too large", "message is too large", "message too big", "message is too big", "message size exceeds", "size limit", "maximum message size",
		"maximum size", "message too long", "message is too long",
	})
}

// badContent: of the message itself, so that others would say the same. What is
// also said of a person, a machine or an account is no word for it.
func badContent(text string) bool {
	return (says(withoutHosts(text), []string{"virus", "malware", "infected", "phish"}) || says(text, []string{
		"spam message", "as spam", "is spam", "be spam", "like spam", "looks spam", "suspicion of spam", "probability of spam", "spam content", "spam score",
		"spam detected", "spam points", "detected spam", "blocked by spamassassin", "likely unsolicited", "unsolicited mail", "unsolicited bulk", "uribl", "surbl", "dbl.", "message content", "content of the message", "content rejected", "its content", "message contains",
		"banned file", "attachment type", "blocked attachment", "anti-spam engine",
	})) && !says(text, []string{
		"account", "your ip", "your server", "your host", "your network", "your address", "your domain", "your mailbox", "sender address", "sender domain", "from domain",
		"client host", "client ip", "sending ip", "sender ip", "ip address", "helo", "ehlo", "reputation", "blacklist", "black list", "blocklist", "block list",
		"sending spam", "spammer", "limit", "quota", "not spam", "no virus",
		// No verdict at all.
		"temporarily unavailable", "scanner unavailable", "unable to scan", "not scanned", "not be scanned", "cannot scan", "could not scan", "scanner fail", "scanner error", "scan fail", "scan error",
	})
}

// withoutHosts leaves out names of machines and links: many a filter is called
// after what it looks for.
func withoutHosts(text string) string {
	return strings.Join(slices.DeleteFunc(strings.Fields(text), func(w string) bool {
		return strings.Contains(w, "://") || strings.Contains(strings.Trim(w, ".,;:()[]"), ".")
	}), " ")
}
