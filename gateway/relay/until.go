package relay

import (
	"regexp"
	"strconv"
	"strings"
	"time"
)

// longestWait bounds what a server can make us wait; after it one message finds
// out whether that was meant.
const longestWait = 24 * time.Hour

// askedFor is until when a refusal asks us to stay away: "try again after DATE",
// "in 300 seconds", "retry in 1h". It is after now and not after longestWait; a
// date that is over says nothing.
func askedFor(text string, now time.Time) (until time.Time, ok bool) {
	for _, rest := range waits(text) {
		if t, ok := dateIn(rest); ok {
			until = t
		} else if d, ok := spanIn(rest); ok {
			until = now.Add(d)
		} else {
			continue
		}
		if latest := now.Add(longestWait); until.After(latest) {
			until = latest
		}
		if until.After(now) {
			return until, true
		}
		break
	}
	return time.Time{}, false
}

// lead are the words before a time at which, or after which, we may come back.
// A limit "per hour" or a time at which something happened has others.
var lead = regexp.MustCompile(`\b(?:again|retry(?:ing)?|retries|resend|wait|come back|until|till|not before|` +
	`(?:blocked|banned|suspended|locked|limited|throttled|deferred|delayed|greylist(?:ed|ing)?|unblocked|available|expires?|resets?))\b`)

// reach is how far after such words their time may stand.
const reach = 64

// waits are the parts of a text that name a time to wait for, from that time on.
func waits(text string) (rests []string) {
	text = strings.Join(strings.Fields(strings.ToLower(text[:min(len(text), maxWords)])), " ")
	for _, at := range lead.FindAllStringIndex(text, maxLeads) {
		rest := text[at[1]:min(len(text), at[1]+reach)]
		if i := date.FindStringIndex(rest); i != nil {
			rests = append(rests, rest[i[0]:])
			continue
		}
		if i := span.FindStringSubmatchIndex(rest); i != nil {
			rests = append(rests, rest[i[2]:])
		}
	}
	return rests
}

// maxLeads bounds the work that a long text makes.
const maxLeads = 16

// date finds RFC 5322 3.3 and 4.3, RFC 1123 5.2.14, RFC 3339, and what C's
// ctime gives.
var date = regexp.MustCompile(`\b(?:` +
	`(?P<d1>\d{1,2})[ -](?P<m1>` + monthNames + `)[a-z]*[ -](?P<y1>\d{4}|\d{2}),? (?P<t1>` + clockTime + `)|` +
	`(?P<m2>` + monthNames + `)[a-z]* (?P<d2>\d{1,2}),? (?P<t2>` + clockTime + `),? (?P<y2>\d{4})|` +
	`(?P<m3>` + monthNames + `)[a-z]* (?P<d3>\d{1,2}),? (?P<y3>\d{4}),? (?:at )?(?P<t3>` + clockTime + `)|` +
	`(?P<y4>\d{4})-(?P<n4>\d{2})-(?P<d4>\d{2})[ t](?P<t4>` + clockTime + `)(?:[.,]\d{1,9})?` +
	`)(?: ?(?P<zone>[+-]\d{2}:?\d{2}\b|[a-z]{1,5}\b))?`)

const (
	monthNames = `jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec`
	clockTime  = `\d{1,2}:\d{2}(?::\d{2})?`
)

func dateIn(rest string) (time.Time, bool) {
	found := date.FindStringSubmatch(rest)
	if found == nil {
		return time.Time{}, false
	}
	part := func(name string) string {
		for i, n := range date.SubexpNames() {
			if n != "" && strings.TrimRight(n, "1234") == name && found[i] != "" {
				return found[i]
			}
		}
		return ""
	}
	month, _ := strconv.Atoi(part("n"))
	if m := part("m"); m != "" {
		month = strings.Index(monthNames, m)/4 + 1
	}
	year, _ := strconv.Atoi(part("y"))
	if year < 100 {
		year += 2000
	}
	day, _ := strconv.Atoi(part("d"))
	clock, err := time.Parse("15:04:05", part("t"))
	if err != nil {
		clock, err = time.Parse("15:04", part("t"))
	}
	t := time.Date(year, time.Month(month), day, clock.Hour(), clock.Minute(), clock.Second(), 0, time.UTC)
	if err != nil || month < 1 || month > 12 || t.Day() != day {
		return time.Time{}, false
	}
	return t.Add(-offset(part("zone"))), true
}

// offset is how far a zone is east of UTC. Without a zone, and with one that
// nobody can know (RFC 5322 4.3), a time is taken for UTC.
func offset(zone string) time.Duration {
	zone = strings.ToUpper(strings.ReplaceAll(zone, ":", ""))
	if len(zone) == 5 && (zone[0] == '+' || zone[0] == '-') {
		h, _ := strconv.Atoi(zone[1:3])
		m, _ := strconv.Atoi(zone[3:])
		d := time.Duration(h)*time.Hour + time.Duration(m)*time.Minute
		if zone[0] == '-' {
			d = -d
		}
		return d
	}
	return zones[zone]
}

var zones = map[string]time.Duration{
	"EDT": -4 * time.Hour, "EST": -5 * time.Hour, "CDT": -5 * time.Hour, "CST": -6 * time.Hour, "MDT": -6 * time.Hour, "MST": -7 * time.Hour,
	"PDT": -7 * time.Hour, "PST": -8 * time.Hour, "CET": time.Hour, "CEST": 2 * time.Hour, "MSK": 3 * time.Hour,
}

// span finds what may be a span behind a word that leads to one. With another
// number between them it is what was counted: "limited to 100 messages in 24
// hours", "again after 3 failures in 1 hour".
var span = regexp.MustCompile(`^[^.;!?\d]{0,40}?(?:\b(?:in|after|for|within|wait|next|least|another|about|approximately|further)|^|\() ?` +
	`((?:\d{1,6}|an?|one) ?(?:s|secs?|seconds?|m|mins?|minutes?|h|hrs?|hours?|d|days?)\b|\d{1,6}[hms]\d|\d{1,2}:\d{2}:\d{2}\b)`)

// spanIn reads a span at the beginning: "300 seconds", "1h30m", "an hour",
// "00:04:59".
func spanIn(rest string) (total time.Duration, ok bool) {
	if clock, err := time.Parse("15:04:05", rest[:min(8, len(rest))]); err == nil {
		return clock.Sub(time.Date(0, 1, 1, 0, 0, 0, 0, time.UTC)), true
	}
	for ; ; ok = true {
		number := rest[:len(rest)-len(strings.TrimLeft(rest, "0123456789"))]
		after := strings.TrimLeft(rest[len(number):], " ")
		n, err := strconv.Atoi(number)
		if word, more, _ := strings.Cut(rest, " "); number == "" && (word == "a" || word == "an" || word == "one") {
			n, err, after = 1, nil, more
		}
		name := after[:len(after)-len(strings.TrimLeft(after, "abcdefghijklmnopqrstuvwxyz"))]
		unit := units[strings.TrimSuffix(name, "s")]
		if name == "s" {
			unit = time.Second
		}
		if err != nil || unit == 0 {
			return total, ok
		}
		total += time.Duration(min(n, int(longestWait/unit)+1)) * unit
		rest = strings.TrimPrefix(strings.TrimLeft(after[len(name):], ", "), "and ")
	}
}

var units = map[string]time.Duration{
	"sec": time.Second, "second": time.Second, "m": time.Minute, "min": time.Minute, "minute": time.Minute,
	"h": time.Hour, "hr": time.Hour, "hour": time.Hour, "d": 24 * time.Hour, "day": 24 * time.Hour,
}
