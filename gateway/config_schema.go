package gateway

import (
	"cmp"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"mailroam/gateway/relay"

	"mailroam/gateway/dispatch"
)

// schema names the keys of a table, and rule says what one of them holds.
// Exactly one field of a rule is set.
type (
	schema map[string]rule
	rule   struct {
		value func(d *decoder, key string, n *node) // a single value
		table schema                                // [key], or key = { … }
		each  func(n *node) schema                  // [[key]]: asked once for each
	}
)

// decoder turns the tree into a Config and gathers what is wrong.
type decoder struct {
	path, dir string
	mode      fs.FileMode // of the file
	config    *Config
	problems  Problems

	// What [[listen]] and [[upstream]] said, beside what became of it in
	// config: the checks need the lines.
	listen   []*listenEntry
	upstream []*upstreamEntry
	rules    []*ruleEntry
	profiles map[string]*relay.Profile
}

func (d *decoder) problem(line int, key, what, fix string) {
	d.problems = append(d.problems, Problem{Path: d.path, Line: line, Key: key, What: what, Fix: fix})
}

func (d *decoder) warn(line int, key, what, fix string) {
	d.config.Warnings = append(d.config.Warnings, Problem{Path: d.path, Line: line, Key: key, What: what, Fix: fix})
}

// schema is every key there is: what is not here is unknown.
func (d *decoder) schema() schema {
	c := d.config
	return schema{
		"hostname": text(&c.Hostname, checkHostname),
		"data_dir": folder(&c.DataDir),
		"listen":   {each: d.listenSchema},
		"queue": {table: schema{
			"expire": duration(&c.Queue.Expire, time.Minute, 30*day),
			"retry": {table: schema{
				"initial": duration(&c.Queue.RetryInitial, time.Second, day),
				"max":     duration(&c.Queue.RetryMax, time.Second, day),
			}},
			// RFC 5321 4.5.3.1.7: 64 KiB at least.
			"max_message": size(&c.Queue.MaxMessage, 64<<10, 1<<30),
			"keep":        duration(&c.Queue.Keep, 0, 365*day),
			"warn": durationOr(&c.Queue.Warn, time.Minute, 30*day, map[string]func(){
				"off": func() { c.Queue.Warn = 0 },
			}),
			"policy_hold":    duration(&c.Queue.PolicyHold, 0, 30*day),
			"in_doubt":       choice((*string)(&c.Queue.InDoubt), string(dispatch.SameUpstream), string(dispatch.FailOver), string(dispatch.HoldInDoubt)),
			"content_reject": choice((*string)(&c.Queue.ContentReject), string(dispatch.BounceContent), string(dispatch.FailOverContent), string(dispatch.HoldContent)),
			"second_opinion": choice((*string)(&c.Queue.SecondOpinion), string(dispatch.Unattributed), string(dispatch.Always), string(dispatch.NeverAsk)),
			"soft_bounce":    yesNo(&c.Queue.SoftBounce),
		}},
		"health": {table: schema{
			"interval": duration(&c.Health.Interval, time.Second, 15*time.Minute),
			"timeout":  duration(&c.Health.Timeout, 100*time.Millisecond, time.Minute),
			"rise":     number(&c.Health.Rise, 1, 100),
			"hedge": durationOr(&c.Health.Hedge, 10*time.Millisecond, time.Minute, map[string]func(){
				"off": func() { c.Health.Hedge = 0 },
			}),
			"failback": durationOr(&c.Health.Failback.After, time.Second, 7*day, map[string]func(){
				"when-up":        func() {},
				"network-change": func() { c.Health.Failback.NetworkChange = true },
			}),
		}},
		"alert": {table: schema{
			"command": alertCommand(&c.Alert.Command),
			"webhook": webhook(&c.Alert.Webhook),
			"every":   duration(&c.Alert.Every, time.Second, 7*day),
			"down":    duration(&c.Alert.Down, time.Second, 7*day),
		}},
		"log": {table: schema{
			"format": choice(&c.Log.Format, "text", "json"),
			"level":  choice(&c.Log.Level, "debug", "info", "warn", "error"),
		}},
		"upstream": {each: d.upstreamSchema},
		"rule":     {each: d.ruleSchema},
	}
}

// table walks one table of the file.
func (d *decoder) table(n *node, prefix string, s schema) {
	for _, name := range n.names {
		value, key := n.fields[name], prefix+printable(name)
		r, known := s[name]
		switch {
		case !known:
			d.problem(value.line, key, "no such key", suggest(name, prefix, s))
		case r.value != nil:
			r.value(d, key, value)
		case r.table != nil:
			if value.kind != aTable {
				d.problem(value.line, key, "needs a table, not "+string(value.kind), "write ["+key+"] on a line of its own, and its keys below")
				continue
			}
			d.table(value, key+".", r.table)
		default:
			d.tables(value, key, r)
		}
	}
}

func (d *decoder) tables(list *node, key string, r rule) {
	fix := "write [[" + key + "]] on a line of its own, and its keys below"
	if list.kind != aList || len(list.items) == 0 {
		what := "needs a list of tables, not " + string(list.kind)
		if list.kind == aList {
			what = "is an empty list"
		}
		d.problem(list.line, key, what, fix)
		return
	}
	for _, item := range list.items {
		if item.kind != aTable {
			d.problem(item.line, key, "needs tables, not "+string(item.kind), fix)
			continue
		}
		d.table(item, key+".", r.each(item))
	}
}

// keys lists the full names of all keys.
func (s schema) keys(prefix string) []string {
	var names []string
	for _, name := range slices.Sorted(maps.Keys(s)) {
		switch r := s[name]; {
		case r.table != nil:
			names = append(names, r.table.keys(prefix+name+".")...)
		case r.each != nil:
			names = append(names, r.each(newTable(0)).keys(prefix+name+".")...)
		default:
			names = append(names, prefix+name)
		}
	}
	return names
}

// fault is why a value is no good; its zero value is that it is fine.
type fault struct{ what, fix string }

// text is a rule for a string. Its checks must not quote what they were given
// unless it can be no secret.
func text(to *string, checks ...func(string) fault) rule {
	return rule{value: func(d *decoder, key string, n *node) {
		if n.kind != aText {
			d.problem(n.line, key, "needs text, not "+string(n.kind), "put it in quotes: "+lastName(key)+` = "…"`)
			return
		}
		for _, check := range checks {
			if f := check(n.text); f.what != "" {
				d.problem(n.line, key, f.what, f.fix)
				return
			}
		}
		*to = n.text
	}}
}

func choice(to *string, choices ...string) rule {
	return text(to, func(s string) fault {
		if slices.Contains(choices, s) {
			return fault{}
		}
		return fault{"has a value that means nothing here", `it can be "` + strings.Join(choices, `", "`) + `"`}
	})
}

// texts is a rule for a list of strings that is not empty.
func texts(to *[]string, example string, checks ...func(string) fault) rule {
	return rule{value: func(d *decoder, key string, n *node) {
		fix := "write " + lastName(key) + " = " + example
		if n.kind != aList || len(n.items) == 0 {
			d.problem(n.line, key, "needs a list of texts, with one at least", fix)
			return
		}
		*to = nil
		for _, item := range n.items {
			var s string
			if item.kind != aText {
				d.problem(item.line, key, "needs texts in the list, not "+string(item.kind), fix)
				continue
			}
			text(&s, checks...).value(d, key, item)
			*to = append(*to, s)
		}
	}}
}

func yesNo(to *bool) rule {
	return rule{value: func(d *decoder, key string, n *node) {
		if n.kind != aBool {
			d.problem(n.line, key, "needs true or false, not "+string(n.kind), "without quotes, for example "+lastName(key)+" = true")
			return
		}
		*to = n.text == "true"
	}}
}

func number(to *int, least, most int) rule {
	return rule{value: func(d *decoder, key string, n *node) {
		v, err := strconv.Atoi(strings.ReplaceAll(n.text, "_", ""))
		if n.kind != aNumber || err != nil || v < least || v > most {
			d.problem(n.line, key, fmt.Sprintf("needs a whole number from %d to %d", least, most),
				fmt.Sprintf("without quotes, for example %s = %d", lastName(key), cmp.Or(*to, min(most, 100))))
			return
		}
		*to = v
	}}
}

func duration(to *time.Duration, least, most time.Duration) rule {
	return rule{value: func(d *decoder, key string, n *node) {
		v, ok := parseDuration(n.text)
		if n.kind != aText || !ok {
			example := cmp.Or(*to, min(most, time.Hour))
			d.problem(n.line, key, "needs a time span", fmt.Sprintf(`write a number with its unit (s, m, h, d) in quotes, for example %s = %q`, lastName(key), spell(example)))
			return
		}
		if v < least || v > most {
			fix := "the default is " + spell(*to)
			if *to == 0 {
				fix = "leave the key out for what is usual"
			}
			d.problem(n.line, key, fmt.Sprintf("%s is outside %s to %s", spell(v), spell(least), spell(most)), fix)
			return
		}
		*to = v
	}}
}

// durationOr is a rule for a time span or one of some words, each of which says
// what to do without one.
func durationOr(to *time.Duration, least, most time.Duration, words map[string]func()) rule {
	return rule{value: func(d *decoder, key string, n *node) {
		set, isWord := words[n.text]
		v, ok := parseDuration(n.text)
		switch {
		case n.kind == aText && isWord:
			set()
		case n.kind == aText && ok && v >= least && v <= most:
			*to = v
		default:
			example := cmp.Or(*to, min(most, 10*time.Minute))
			d.problem(n.line, key, fmt.Sprintf("needs a time span from %s to %s, or a word", spell(least), spell(most)),
				fmt.Sprintf(`the word can be "%s"; a time span is a number with its unit, as in %s = %q`, strings.Join(slices.Sorted(maps.Keys(words)), `" or "`), lastName(key), spell(example)))
		}
	}}
}

func size(to *int64, least, most int64) rule {
	return rule{value: func(d *decoder, key string, n *node) {
		v, ok := parseSize(n.text)
		if n.kind != aText || !ok {
			d.problem(n.line, key, "needs a size", fmt.Sprintf(`write a number with its unit (KB, MB, GB, KiB, MiB, GiB) in quotes, for example %s = "50MiB"`, lastName(key)))
			return
		}
		if v < least || v > most {
			fix := "the default is " + spellSize(*to)
			if *to == 0 {
				fix = "leave the key out for no limit"
			}
			d.problem(n.line, key, fmt.Sprintf("%s is outside %s to %s", spellSize(v), spellSize(least), spellSize(most)), fix)
			return
		}
		*to = v
	}}
}

func lastName(key string) string { return key[strings.LastIndexByte(key, '.')+1:] }

// quote bounds and escapes what a stranger may have written.
func quote(s string) string {
	if len(s) > 64 {
		s = s[:64] + "…"
	}
	return strconv.Quote(s)
}

// printable is the same without the quotes.
func printable(s string) string {
	s = quote(s)
	return s[1 : len(s)-1]
}
