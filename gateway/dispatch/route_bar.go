package dispatch

import (
	"fmt"
	"slices"
	"strings"

	"mailroam/gateway/relay"
	"mailroam/queue"
)

// bar is why an upstream may not carry a message to a recipient; its zero value
// is that it may.
type bar struct {
	kind barKind
	who  string // the address, or the domain, that it is about
	size int64  // of the message
	most int64  // that is taken
	// shown: so it seems from what the upstream has refused. It never said so, and
	// may have meant something else.
	shown bool
}

type barKind int

const (
	barNone barKind = iota
	barGone
	barSender
	barAuthor
	barRecipient
	barSize
	barEightBit
	barUTF8
	barTLS
)

// String is the reason as people read it, about the upstream.
func (b bar) String() string {
	who := queue.Printable(b.who, 256)
	switch b.kind {
	case barGone:
		return "is not in the configuration"
	case barSender:
		return "its senders do not include <" + who + ">"
	case barAuthor:
		return "the From: line names <" + who + ">, which its senders do not include"
	case barRecipient:
		return "its recipients do not include " + who
	case barSize:
		return fmt.Sprintf("takes at most %s, this has %s", mebi(b.most), mebi(b.size))
	case barEightBit:
		return "offers no 8BITMIME, and the message has 8-bit octets"
	case barUTF8:
		return "offers no SMTPUTF8, and an address or the header is beyond ASCII"
	case barTLS:
		return "offers no REQUIRETLS, and the message asks for it"
	case barNone:
	}
	return ""
}

// mebi writes a size in the unit that limits are written in.
func mebi(n int64) string {
	switch {
	case n < 1<<10:
		return fmt.Sprintf("%d octets", n)
	case n < 1<<20:
		return trimmed(float64(n)/(1<<10)) + " KiB"
	}
	return trimmed(float64(n)/(1<<20)) + " MiB"
}

func trimmed(f float64) string { return strings.TrimSuffix(fmt.Sprintf("%.1f", f), ".0") }

// Bar says why an upstream may not carry m to recipient i, "" when it may.
func (rs Routes) Bar(m *queue.Message, i int, upstream string) string {
	r := rs.find(upstream)
	if r == nil {
		return bar{kind: barGone}.String()
	}
	return rs.bar(m, i, r).String()
}

func (rs Routes) bar(m *queue.Message, i int, r *Route) bar {
	if b := r.forbids(m, i); b.kind != barNone {
		return b
	}
	b := r.lacks(m)
	if b.kind == barNone {
		return b
	}
	for k := range rs.list {
		o := &rs.list[k]
		if o.lacks(m).kind == barNone && o.forbids(m, i).kind == barNone && !(b.shown && refusedBy(m, i, o.Name)) {
			return b
		}
	}
	return bar{} // nobody can, so whoever may is asked
}

// refusedBy says whether an upstream has refused recipient i of m for good.
func refusedBy(m *queue.Message, i int, upstream string) bool {
	return i != anybody && slices.ContainsFunc(m.Recipients[i].Said, func(a queue.Answer) bool {
		return a.Upstream == upstream && a.Permanent() && weighs(relay.Scope(a.Scope))
	})
}

// forbids is what the operator says about recipients and senders: first of those,
// since who does not go there need not know the sender.
func (r *Route) forbids(m *queue.Message, i int) bar {
	if i != anybody && len(r.Recipients) > 0 && !leadsTo(r.Recipients, m.Recipients[i].Address) {
		_, domain, ok := cutAddress(m.Recipients[i].Address)
		if !ok { // postmaster, which needs none (RFC 5321 4.5.1)
			domain = m.Recipients[i].Address
		}
		return bar{kind: barRecipient, who: domain}
	}
	if m.ReversePath != "" {
		if from := r.From(m.ReversePath); !r.sendsFor(from) {
			return bar{kind: barSender, who: m.ReversePath}
		}
		for _, a := range m.Authors {
			if !r.sendsFor(r.From(a)) {
				return bar{kind: barAuthor, who: a}
			}
		}
	}
	return bar{}
}

func (r *Route) sendsFor(address string) bool {
	_, ok := r.as(address)
	return ok
}

// lacks is what the upstream is known not to take.
func (r *Route) lacks(m *queue.Message) bar {
	o, most := r.Offers, r.MaxMessage
	if o.Size > 0 && (most == 0 || o.Size < most) {
		most = o.Size
	}
	switch {
	case most > 0 && m.Size > most:
		return bar{kind: barSize, size: m.Size, most: most, shown: most == o.Size && o.Shown}
	case !o.Known:
	case m.EightBit && !o.EightBit: // RFC 6152 3
		return bar{kind: barEightBit}
	case m.UTF8 && !o.UTF8: // RFC 6531 3.2
		return bar{kind: barUTF8}
	case m.RequireTLS && !o.RequireTLS: // RFC 8689 4.2.1
		return bar{kind: barTLS}
	}
	return bar{}
}

// NoRoute says why no upstream may carry m to one of its pending recipients, and
// what to do about it; "" when each has one that may. A message without
// recipients stands for one to anybody.
func (rs Routes) NoRoute(m *queue.Message) string {
	rcpts := m.Pending()
	if len(m.Recipients) == 0 {
		rcpts = []int{anybody}
	}
	for _, i := range rcpts {
		var bars []bar
		for k := range rs.list {
			bars = append(bars, rs.bar(m, i, &rs.list[k]))
		}
		if why := rs.noRoute(bars); why != "" {
			return why
		}
	}
	return ""
}

func (rs Routes) noRoute(bars []bar) string {
	if len(bars) == 0 {
		return "there is no upstream: add an [[upstream]]"
	}
	if slices.Contains(bars, bar{}) {
		return ""
	}
	there := slices.DeleteFunc(slices.Clone(bars), func(b bar) bool { return b.kind == barRecipient })
	if len(there) == 0 {
		return "no upstream may send to " + queue.Printable(bars[0].who, 256) + ": add it to the recipients of an [[upstream]]"
	}
	if slices.ContainsFunc(there, func(b bar) bool { return b != there[0] }) {
		var each []string
		for k, b := range bars {
			each = append(each, rs.list[k].Name+": "+b.String())
		}
		return "no upstream may carry it: change senders, rewrite or recipients of one (" + strings.Join(each, "; ") + ")"
	}
	who, where := "<"+queue.Printable(there[0].who, 256)+">", ""
	if there[0].kind == barAuthor {
		who += ", which the From: line names"
	}
	if len(there) < len(bars) {
		where = " that goes there"
	}
	return "no upstream" + where + " may send for " + who + ": add it to senders or rewrite of an [[upstream]]"
}
