package dsn

import (
	"bytes"
	"fmt"
	"mime"
	"slices"
	"strings"
	"time"

	"mailroam/queue"
)

// human is the part for people, who may know nothing of mail servers. What the
// servers said is there all the same, for those whom they ask.
func (r Report) human() []byte {
	var b bytes.Buffer
	say := func(format string, a ...any) { fmt.Fprintf(&b, format+"\n", a...) }
	say(openings[r.Kind], r.title(), day(r.Message.Accepted))
	for i, e := range r.About {
		if b.Len() > maxHuman-4*maxText {
			say("\n  … and %d more, see the report below.", len(r.About)-i)
			break
		}
		say("\n  %s", printable(e.Address, maxAddress))
		for _, sentence := range r.why(e) {
			if sentence != "" {
				say("    %s", sentence)
			}
		}
		for _, a := range answers(e) {
			say("    %s", said(a))
			if b.Len() > maxHuman {
				break
			}
		}
	}
	if r.untold > 0 {
		say("\n  … and %d more, for whom there is no room here.", r.untold)
	}
	say("")
	switch r.Kind {
	case Failed:
		say("The mail gateway %s has given up on them. This is about nobody else:", r.Hostname)
		say("other recipients of the message are not affected. To try again, send it anew.")
	case Delayed:
		say("You need not send it again: the mail gateway %s goes on", r.Hostname)
		say("trying%s. If that does not help, you get another notice.", r.until())
	case Relayed:
		say("You asked to be told. That mail server tells no more, so you may not hear")
		say("when the message arrives. If it cannot be delivered, you should get a notice.")
	}
	if r.Last {
		say("")
		say("You got many notices like this within an hour, so no more are sent to you for")
		say("a while. Whoever runs the mail gateway can list what they would be about:")
		say("  %s", r.listing())
	}
	say("")
	say("For whoever runs the mail gateway: mailroam queue show %s", r.Message.ID)
	return b.Bytes()
}

var openings = map[Kind]string{
	Failed:  "Your message %sof %s could not be delivered to:",
	Delayed: "Your message %sof %s could not be delivered yet to:",
	Relayed: "Your message %sof %s was passed on to the next mail server for:",
}

func day(t time.Time) string { return t.UTC().Format("2 January 2006, 15:04 MST") }

func (r Report) until() string {
	if r.Until.IsZero() {
		return ""
	}
	return ", until " + day(r.Until)
}

func (r Report) listing() string {
	if r.Kind == Delayed {
		return "mailroam queue list"
	}
	return "mailroam queue list --state done"
}

// title is the subject of the message, which its sender knows it by.
func (r Report) title() string {
	var raw []byte
	for l := range bytes.Lines(cut(r.Header, maxHeader)) {
		switch {
		case raw != nil && len(l) > 0 && (l[0] == ' ' || l[0] == '\t'):
			raw = append(append(raw, ' '), bytes.TrimSpace(l)...)
			continue
		case raw != nil:
		case len(l) > 8 && bytes.EqualFold(l[:8], []byte("subject:")):
			raw = bytes.Clone(bytes.TrimSpace(l[8:]))
			continue
		default:
			continue
		}
		break
	}
	text, err := new(mime.WordDecoder).DecodeHeader(string(raw))
	if err != nil { // in a charset that is not worth a library
		return ""
	}
	if text = strings.TrimSpace(printable(text, 150)); text == "" {
		return ""
	}
	return "“" + text + "” "
}

// answers are the last words of every upstream about a recipient, the deciding
// ones last.
func answers(e queue.Recipient) []queue.Answer {
	list := slices.DeleteFunc(slices.Clone(e.Said), func(a queue.Answer) bool { return a.Upstream == e.Last.Upstream })
	return slices.DeleteFunc(append(list, e.Last), func(a queue.Answer) bool { return a.String() == "" })
}

func said(a queue.Answer) string {
	text := printable(a.String(), maxText)
	switch {
	case a.Upstream == "":
		return "It was " + text + "." // by a person
	case a.Code == 0:
		return fmt.Sprintf("%s could not be used: %s", printable(a.Upstream, 100), text)
	default:
		return fmt.Sprintf("%s answered: %s", printable(a.Upstream, 100), text)
	}
}
