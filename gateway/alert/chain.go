package alert

import (
	"fmt"
	"slices"
	"strings"

	"mailroam/health"
)

// Chain is an ordered list of upstreams that the mail of some senders may take.
// An upstream reserved for others is in none of theirs, so it is nobody's
// second choice.
type Chain struct {
	Senders   []string // for people: addresses, @domains, or words
	Upstreams []string // by name, in order of preference; never empty
}

// Offered is the place in the chain of the upstream that mail is offered to
// first, -1 when none can take it.
func (c Chain) Offered(list []health.Status) int {
	for _, good := range []func(health.Status) bool{
		func(u health.Status) bool { return u.Preferred },
		func(u health.Status) bool { return u.State == "up" },
		func(u health.Status) bool { return u.State == health.Trial },
		func(u health.Status) bool { return u.State == "suspect" },
	} {
		i := slices.IndexFunc(c.Upstreams, func(name string) bool {
			u, ok := find(list, name)
			return ok && good(u)
		})
		if i >= 0 {
			return i
		}
	}
	return -1
}

func find(list []health.Status, name string) (health.Status, bool) {
	i := slices.IndexFunc(list, func(u health.Status) bool { return u.Name == name })
	if i < 0 {
		return health.Status{}, false
	}
	return list[i], true
}

// Of says whose mail the chain is for, to follow "mail": " from @example.com".
// It is "" when all mail takes the same one.
func (c Chain) Of(all []Chain) string {
	if len(all) < 2 {
		return ""
	}
	return " from " + listing(c.Senders)
}

// Waits says that no upstream takes the mail of the chain now, and what becomes
// of it.
func (c Chain) Waits(all []Chain, list []health.Status) string {
	cause, leaves := "No upstream works", "when one is back"
	ours := !slices.ContainsFunc(c.Upstreams, func(name string) bool {
		u, _ := find(list, name)
		return u.State != health.Limited
	})
	if ours {
		cause, leaves = "The limits in the config are used up", "as they allow"
	}
	mail := ": mail"
	if of := c.Of(all); of != "" {
		mail = " for mail" + of + ": it"
	}
	return cause + mail + " waits on disk and leaves by itself " + leaves + "."
}

// Running says on which choice the mail runs that would rather take the named
// upstream, "" when there is none that passes it over.
func Running(name string, chains []Chain, list []health.Status) string {
	type choice struct {
		place    int
		upstream string
	}
	senders := map[choice][]string{}
	var order []choice
	passing := 0
	for _, c := range chains {
		used := c.Offered(list)
		if i := slices.Index(c.Upstreams, name); i < 0 || i >= used {
			continue
		}
		passing++
		to := choice{used, c.Upstreams[used]}
		if senders[to] == nil {
			order = append(order, to)
		}
		senders[to] = append(senders[to], c.Senders...)
	}
	var on []string
	for _, to := range order {
		text := fmt.Sprintf("on choice %d, %q", to.place+1, to.upstream)
		if len(order) > 1 || passing < len(chains) {
			text += ", with mail from " + listing(senders[to])
		}
		on = append(on, text)
	}
	if len(on) == 0 {
		return ""
	}
	return "Running " + strings.Join(on, ", and ")
}

// listing joins with commas and an "and", and counts what would be too many.
func listing(words []string) string {
	const most = 4
	if len(words) > most {
		words = append(slices.Clone(words[:most-1]), fmt.Sprintf("%d more", len(words)-most+1))
	}
	last := len(words) - 1
	if last < 1 {
		return strings.Join(words, "")
	}
	return strings.Join(words[:last], ", ") + " and " + words[last]
}
