package relay

import (
	"net/netip"
	"strings"
)

// isPlace knows refusals from MAIL on of those who are in this network. Like
// those of an address that is on a list they are about where we are: there are
// no codes for that.
func isPlace(text string) bool { return says(text, wrongNetwork) && !says(text, localPart) }

// isListed knows refusals for a listed address, and tells them from those for
// what a message links to and for listed domains.
func isListed(text string) bool {
	return says(text, lists) && (says(text, client) || hasAddress(text)) && !says(text, content)
}

// wrongNetwork is said to those who are where they may not send from.
var wrongNetwork = []string{
	"not local", "outside our network", "outside of our network", "outside the network", "from your network", "not on our network",
	"not in our network", "from your location",
}

// localPart is how a mailbox is "not local" (RFC 5321 3.4).
var localPart = []string{
	"user not local", "user is not local", "mailbox not local", "mailbox is not local", "recipient not local", "recipient is not local",
	"address not local", "address is not local",
}

// lists are the words for lists of addresses.
var lists = []string{
	"blocked using", "block list", "blocklist", "black list", "blacklist", "blackhole", "dnsbl", " rbl", "spamhaus", "spamcop", "barracudacentral",
	"listed at", "listed in", "listed on", "listed by", "is listed", "are listed", "] blocked", "] is blocked", "] has been blocked",
	"host blocked", "ip blocked", "ip is blocked", "banned sending ip",
}

// client is who is on the list.
var client = []string{
	"client host", "client ip", "your ip", "your host", "your server", "your mail server", "your network", "sending ip", "sender ip",
	"ip address", "connecting ip", "connecting host", "remote host",
}

// content is what else may be on one, or not.
var content = []string{
	"uribl", "surbl", "ivmuri", "dbl.", " dbl", "uri ", "urls", "url in", "links", "message contains", "body contains", "content", "attachment",
	"virus", "not listed", "sender address", "sender domain", "your domain", "from domain", "recipient address", "helo command",
}

// hasAddress finds an IP address, however it is dressed: [192.0.2.1], ip=::1,
// or the end of a link.
func hasAddress(text string) bool {
	apart := func(r rune) bool { return strings.ContainsRune(" []()<>=,;/?'\"", r) }
	for w := range strings.FieldsFuncSeq(text, apart) {
		if _, err := netip.ParseAddr(strings.Trim(strings.TrimPrefix(w, "ipv6:"), ".:")); err == nil {
			return true
		}
	}
	return false
}
