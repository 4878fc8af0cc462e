package dispatch

import (
	"fmt"
	"hash/fnv"
	"math/big"
	"slices"
	"strings"

	"mailroam/gateway/relay"
	"mailroam/queue"
)

// Routes is the ordered list of upstreams, and what each may carry:
//
//   - senders, rewrite: in whose name it sends. The envelope sender and every
//     author must be listed, or be rewritten. The null reverse-path, whose author
//     is a program, may go anywhere.
//   - recipients: to which domains.
//   - what it takes: octets, 8BITMIME, SMTPUTF8, REQUIRETLS. What is not known
//     yet does not count against it; the transaction finds out. A size that it
//     never said, but seems to have refused, counts until all who take as much
//     have refused the message for good: then it is asked all the same.
//
// The first two are the operator's word, and nothing goes against it: mail that
// they leave no way is refused at MAIL or RCPT where that is certain by then,
// else held for the operator to decide. The third only chooses among the rest. Where
// nobody is left to choose, those who may are asked all the same: their refusal,
// or relay's in their place, is judged like any other and goes back to the
// sender, who can make the message smaller; waiting for a larger server could
// take for ever. So limits.message never refuses anything by itself: where only
// that is in the way, the server has the last word.
type Routes struct {
	list []Route
	tag  string
	// byRecipient: some carry mail for some recipients only.
	byRecipient bool
}

// NewRoutes keeps list, which is in order of preference.
func NewRoutes(list []Route) Routes {
	rs := Routes{tag: tagOf(list)}
	for _, r := range list {
		r.Senders, r.Recipients, r.Rewrite = each(r.Senders, canonical), each(r.Recipients, domainPattern), slices.Clone(r.Rewrite)
		for i := range r.Rewrite {
			r.Rewrite[i].Pattern = canonical(r.Rewrite[i].Pattern)
		}
		rs.list = append(rs.list, r)
		rs.byRecipient = rs.byRecipient || len(r.Recipients) > 0
	}
	return rs
}

func each(patterns []string, form func(string) string) []string {
	formed := make([]string, len(patterns))
	for i, p := range patterns {
		formed[i] = form(p)
	}
	return formed
}

// domainPattern is a pattern of recipients as it is compared: domain, or @domain.
func domainPattern(p string) string { return canonicalDomain(strings.TrimPrefix(p, "@")) }

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

// From is an address as this upstream sees it: one without a real domain is
// replaced by its default_from. The null reverse-path stays what it is: it says
// "never answer this" (RFC 5321 4.5.5).
func (r *Route) From(address string) string {
	if r.DefaultFrom == "" || address == "" || malformed(address) || realDomain(address) {
		return address
	}
	return r.DefaultFrom
}

// malformed knows an author who cannot be read (header.Facts): nobody's name, so
// only who sends for everybody sends for that.
func malformed(address string) bool { return strings.HasPrefix(address, "<") }

// as says in whose name this upstream sends for an address: its own, or one that
// it is rewritten to; false when it may not send for it. Who is listed is not
// rewritten.
func (r *Route) as(address string) (string, bool) {
	plain := canonical(address)
	if matchesAny(r.Senders, plain) {
		return address, true
	}
	for _, w := range r.Rewrite {
		if matches(w.Pattern, plain) {
			return w.Address, true
		}
	}
	return address, len(r.Senders) == 0
}

// find is the route of an upstream, nil when it is not in the list.
func (rs Routes) find(upstream string) *Route {
	i := slices.IndexFunc(rs.list, func(r Route) bool { return r.Name == upstream })
	if i < 0 {
		return nil
	}
	return &rs.list[i]
}

// Knowing is rs with what is known of the upstreams now.
func (rs Routes) Knowing(offers func(upstream string) relay.Offers) Routes {
	rs.list = slices.Clone(rs.list)
	for i := range rs.list {
		rs.list[i].Offers = offers(rs.list[i].Name)
	}
	return rs
}

// From is the reverse-path that an upstream is told for m, and the author that
// it must show, "" where the author stays. An author without a real domain is
// nobody's name, so it stays where default_from is welcome.
func (rs Routes) From(m *queue.Message, upstream string) (reversePath, author string) {
	r := rs.find(upstream)
	if r == nil {
		return m.ReversePath, ""
	}
	if m.ReversePath != "" {
		from := r.From(m.ReversePath)
		reversePath, _ = r.as(from)
		if reversePath != from && len(m.Authors) == 0 { // who cannot be read may be anybody
			author = reversePath
		}
	}
	for _, a := range m.Authors {
		from := r.From(a)
		if as, ok := r.as(from); ok && !same(as, from) {
			return reversePath, as
		}
	}
	return reversePath, author
}

// anybody stands for a recipient that is not known yet.
const anybody = -1

// Eligible lists, in order of preference, who may carry m to one of its pending
// recipients, if nothing were refused. A message without recipients stands for
// one to anybody.
func (rs Routes) Eligible(m *queue.Message) []string {
	var names []string
	for k := range rs.list {
		if r := &rs.list[k]; rs.mayAny(m, r) {
			names = append(names, r.Name)
		}
	}
	return names
}

func (rs Routes) mayAny(m *queue.Message, r *Route) bool {
	if b := rs.bar(m, anybody, r); len(m.Recipients) == 0 || !rs.byRecipient && !b.shown {
		return b == bar{}
	}
	for i := range m.Recipients {
		if m.Recipients[i].State == queue.Pending && rs.bar(m, i, r) == (bar{}) {
			return true
		}
	}
	return false
}

// askable lists the recipients that an upstream may be asked for. One in doubt
// is offered to nobody but the upstream that may hold its copy, and one that is
// left to a person to nobody.
func (rs Routes) askable(m *queue.Message, upstream string) []int {
	r := rs.find(upstream)
	if r == nil || !rs.mayAny(m, r) {
		return nil
	}
	each := rs.byRecipient || r.lacks(m).shown
	return slices.DeleteFunc(m.Pending(), func(i int) bool {
		d := m.Recipients[i].Doubt
		return d != nil && d.Upstream != upstream || m.Recipients[i].Last.Scope == untold || each && rs.bar(m, i, r) != bar{}
	})
}

// tagOf marks the lanes of a list: when the list changes, every lane becomes
// unknown and its mail is filed anew, so that a new upstream, another order or
// a narrower `senders` reaches mail that was already waiting.
func tagOf(list []Route) string {
	h := fnv.New32a()
	for _, r := range list {
		fmt.Fprintf(h, "%q%q%q%q%q%d", r.Name, r.Senders, r.DefaultFrom, r.Recipients, r.Rewrite, r.MaxMessage)
	}
	return fmt.Sprintf("%08x", h.Sum32())
}

// lane names the lane of mail that the given upstreams, in order of preference,
// can take next: by their places in the list, of which the tag is, so that the
// name is short however many there are and however they are called. The first
// place is the lowest bit.
func (rs Routes) lane(names []string) string {
	var places big.Int
	for k := range rs.list {
		if len(names) > 0 && rs.list[k].Name == names[0] {
			places.SetBit(&places, k, 1)
			names = names[1:]
		}
	}
	return rs.tag + "#" + places.Text(16)
}

// parse reads a lane back, and says whether it is one of this list. A lane of
// nobody is: there mail in doubt at an upstream that is gone waits for its age.
func (rs Routes) parse(lane string) (names []string, ok bool) {
	tag, list, ok := strings.Cut(lane, "#")
	if !ok || tag != rs.tag {
		return nil, false
	}
	places, ok := new(big.Int).SetString(list, 16)
	if !ok || places.BitLen() > len(rs.list) {
		return nil, false
	}
	for k := range rs.list {
		if places.Bit(k) == 1 {
			names = append(names, rs.list[k].Name)
		}
	}
	return names, true
}
