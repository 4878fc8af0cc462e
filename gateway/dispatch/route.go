package dispatch

import (
	"fmt"
	"hash/fnv"
	"slices"
	"strings"

	"mailroam/gateway/relay"
	"mailroam/queue"
)

// Routes is the ordered list of upstreams and for whom each may send.
type Routes struct {
	list []Route
	tag  string
}

// NewRoutes keeps list, which is in order of preference.
func NewRoutes(list []Route) Routes { return Routes{list, tagOf(list)} }

// Route is what decides whether an upstream may carry a message.
type Route struct {
	Name        string
	Senders     []string // patterns: whole addresses, @domains, or with * for any part; none: anyone
	DefaultFrom string   // stands in for an envelope sender without a real domain
	Recipients  []string // patterns of domains; none: any
	Rewrite     []Rewrite
	MaxMessage  int64        // octets, 0: no limit of ours
	Offers      relay.Offers // what is known of the upstream now
}

// Rewrite is an address of the upstream's own in whose name it sends for those
// who match the pattern.
type Rewrite struct{ Pattern, Address string }

// From is the reverse-path this upstream is told. The null reverse-path stays
// what it is: it says "never answer this" (RFC 5321 4.5.5).
func (r Route) From(reversePath string) string {
	if r.DefaultFrom == "" || reversePath == "" || realDomain(reversePath) {
		return reversePath
	}
	return r.DefaultFrom
}

// Carries says whether this upstream may send for reversePath. Domains are
// compared without case; so are local parts, because a person who writes
// Ann@ and ann@ means one mailbox.
func (r Route) Carries(reversePath string) bool {
	if reversePath == "" || len(r.Senders) == 0 {
		return true
	}
	from := strings.ToLower(r.From(reversePath))
	_, domain, _ := cutAddress(from)
	return slices.ContainsFunc(r.Senders, func(s string) bool {
		s = strings.ToLower(s)
		return s == from || strings.HasPrefix(s, "@") && s[1:] == domain
	})
}

// realDomain says whether mail to the address could come back over the
// Internet: root, pi@raspberry and ann@box.local could not.
func realDomain(address string) bool {
	_, domain, ok := cutAddress(strings.ToLower(address))
	if !ok || domain == "" {
		return false
	}
	if strings.HasPrefix(domain, "[") {
		return true
	}
	label := domain[strings.LastIndexByte(domain, '.')+1:]
	// RFC 6761, RFC 6762 and RFC 8375 reserve names for use at home.
	return label != domain && !slices.Contains([]string{"local", "localdomain", "lan", "internal", "home", "localhost", "invalid"}, label) &&
		!strings.HasSuffix(domain, ".home.arpa")
}

func cutAddress(address string) (local, domain string, ok bool) {
	i := strings.LastIndexByte(address, '@')
	if i < 0 {
		return address, "", false
	}
	return address[:i], address[i+1:], true
}

// Eligible lists, in order of preference, who may carry m to one of its pending
// recipients, if nothing were refused. A message without recipients stands for
// one to anybody.
func (rs Routes) Eligible(m *queue.Message) []string {
	var names []string
	for _, r := range rs.list {
		if r.Carries(m.ReversePath) {
			names = append(names, r.Name)
		}
	}
	return names
}

// Bar says why an upstream may not carry m to recipient i, "" when it may.
func (rs Routes) Bar(m *queue.Message, i int, upstream string) string { return "" }

// Knowing is rs with what is known of the upstreams now.
func (rs Routes) Knowing(offers func(upstream string) relay.Offers) Routes { return rs }

// From is the reverse-path that an upstream is told for m, and the author that
// it must show, "" where the author stays.
func (rs Routes) From(m *queue.Message, upstream string) (reversePath, author string) {
	return rs.from(upstream, m.ReversePath), ""
}

// tagOf marks the lanes of a list: when the list changes, every lane becomes
// unknown and its mail is filed anew, so that a new upstream, another order or
// a narrower `senders` reaches mail that was already waiting.
func tagOf(list []Route) string {
	h := fnv.New32a()
	for _, r := range list {
		fmt.Fprintf(h, "%q%q%q", r.Name, r.Senders, r.DefaultFrom)
	}
	return fmt.Sprintf("%08x", h.Sum32())
}

// lane names the lane of mail that the given upstreams can take next.
func (rs Routes) lane(names []string) string { return rs.tag + ":" + strings.Join(names, ",") }

// parse reads a lane back, and says whether it is one of this list. A lane of
// nobody is: there mail in doubt at an upstream that is gone waits for its age.
func (rs Routes) parse(lane string) (names []string, ok bool) {
	tag, list, ok := strings.Cut(lane, ":")
	if !ok || tag != rs.tag {
		return nil, false
	}
	return strings.FieldsFunc(list, func(r rune) bool { return r == ',' }), true
}

// from is the reverse-path that an upstream is told.
func (rs Routes) from(upstream, reversePath string) string {
	for _, r := range rs.list {
		if r.Name == upstream {
			return r.From(reversePath)
		}
	}
	return reversePath
}

// next lists who can take the next step of m: those that may send for it and
// have a recipient to be asked for.
func (rs Routes) next(m *queue.Message) []string {
	names := rs.Eligible(m)
	if m.InDoubt() == "" {
		return names
	}
	return slices.DeleteFunc(names, func(n string) bool { return len(askable(m, n)) == 0 })
}

// askable lists the recipients that an upstream may be asked for. One in doubt
// is offered to nobody but the upstream that may hold its copy.
func askable(m *queue.Message, upstream string) []int {
	return slices.DeleteFunc(m.Pending(), func(i int) bool {
		d := m.Recipients[i].Doubt
		return d != nil && d.Upstream != upstream
	})
}
