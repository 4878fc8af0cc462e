package header

import (
	"bytes"
	"net/mail"
	"slices"
	"strings"
	"testing"
)

func lines(ls ...string) string { return strings.Join(ls, "\r\n") + "\r\n" }

func TestSetAuthor(t *testing.T) {
	long := strings.Repeat("x", 990)
	for name, tt := range map[string]struct{ in, want string }{
		"a name stays": {
			lines("Subject: s", "From: Ann Smith <ann@example.com>", "To: bob@example.net"),
			lines("Subject: s", "From: Ann Smith <acct@gmail.com>", "Reply-To: Ann Smith <ann@example.com>", "X-Original-From: Ann Smith <ann@example.com>", "To: bob@example.net"),
		},
		"no name": {
			lines("From: ann@example.com"),
			lines("From: acct@gmail.com", "Reply-To: ann@example.com", "X-Original-From: ann@example.com"),
		},
		"answers go where they went": {
			lines("Reply-To: list@example.com", "From: Ann <ann@example.com>"),
			lines("Reply-To: list@example.com", "From: Ann <acct@gmail.com>", "X-Original-From: Ann <ann@example.com>"),
		},
		"folds, quotes, encoded words of any charset": {
			lines(`From: "Smith, Ann <boss>"`, " =?koi8-r?B?88HbwQ==?=", "\t<ann@example.com>"),
			lines(`From: "Smith, Ann <boss>"`, " =?koi8-r?B?88HbwQ==?= <acct@gmail.com>",
				`Reply-To: "Smith, Ann <boss>"`, " =?koi8-r?B?88HbwQ==?=", "\t<ann@example.com>",
				`X-Original-From: "Smith, Ann <boss>"`, " =?koi8-r?B?88HbwQ==?=", "\t<ann@example.com>"),
		},
		"a name in a comment": {
			lines("From: ann@example.com (Ann Smith)"),
			lines(`From: "Ann Smith" <acct@gmail.com>`, "Reply-To: ann@example.com (Ann Smith)", "X-Original-From: ann@example.com (Ann Smith)"),
		},
		"a name beyond ASCII": {
			lines("From: Änne <ann@example.com>"),
			lines("From: Änne <acct@gmail.com>", "Reply-To: Änne <ann@example.com>", "X-Original-From: Änne <ann@example.com>"),
		},
		"several authors": {
			lines("From: Ann <ann@example.com>,", " Bob <bob@example.com>", "Sender: ann@example.com"),
			lines("From: Ann <acct@gmail.com>", "Reply-To: Ann <ann@example.com>,", " Bob <bob@example.com>",
				"X-Original-From: Ann <ann@example.com>,", " Bob <bob@example.com>", "X-Original-Sender: ann@example.com"),
		},
		"two fields, one author": {
			lines("From: ann@example.com", "Subject: s", "from : eve@example.org"),
			lines("From: acct@gmail.com", "Reply-To: ann@example.com", "X-Original-From: ann@example.com", "Subject: s", "X-Original-From: eve@example.org"),
		},
		"a signature that would not hold": {
			lines("DKIM-Signature: v=1; h=From;", "\tb=abc", "From: ann@example.com", "Resent-From: carl@example.com"),
			lines("X-Original-DKIM-Signature: v=1; h=From;", "\tb=abc", "From: acct@gmail.com", "Reply-To: ann@example.com", "X-Original-From: ann@example.com", "Resent-From: carl@example.com"),
		},
		"nothing to answer to": {
			lines("From: root"),
			lines("From: acct@gmail.com", "X-Original-From: root"),
		},
		"no author": {
			lines("Subject: s"),
			lines("Subject: s", "From: acct@gmail.com"),
		},
		"a name that would be an address": {
			lines("From: eve@example.org, x <ann@example.com>"),
			lines("From: acct@gmail.com", "Reply-To: eve@example.org, x <ann@example.com>", "X-Original-From: eve@example.org, x <ann@example.com>"),
		},
		"an open quote": {
			lines(`From: "Ann <ann@example.com>`),
			lines("From: acct@gmail.com", `X-Original-From: "Ann <ann@example.com>`),
		},
		"a line that would grow too long": {
			lines("From: " + long),
			lines("From: acct@gmail.com", "X-Original-From:", "  "+long),
		},
		"a name that leaves no room": {
			lines("From: " + strings.Repeat("Ann ", 18) + "<ann@example.com>"),
			lines("From: "+strings.TrimRight(strings.Repeat("Ann ", 18), " "), " <acct@gmail.com>",
				"Reply-To: "+strings.Repeat("Ann ", 18)+"<ann@example.com>", "X-Original-From: "+strings.Repeat("Ann ", 18)+"<ann@example.com>"),
		},
		"no end of line": {"From: ann@example.com", lines("From: acct@gmail.com", "Reply-To: ann@example.com", "X-Original-From: ann@example.com")},
		"what is no field": {
			lines("From ann@example.com Mon Jan  1 10:00:00 2026", "From: ann@example.com"),
			lines("From ann@example.com Mon Jan  1 10:00:00 2026", "From: acct@gmail.com", "Reply-To: ann@example.com", "X-Original-From: ann@example.com"),
		},
	} {
		t.Run(name, func(t *testing.T) {
			if got := string(SetAuthor([]byte(tt.in), "acct@gmail.com")); got != tt.want {
				t.Errorf("got\n%s\nwant\n%s", got, tt.want)
			}
		})
	}
}

// FuzzSetAuthor: one author, the given one; every field that is not renamed
// stays as it was, in its order; what a reader could read it still can.
func FuzzSetAuthor(f *testing.F) {
	for _, s := range []string{
		"From: Ann <ann@example.com>\r\nTo: b@c\r\n", "From: \"a\\\" <x@y>\r\n", "Reply-To: x@y\r\nFrom: a (b) <c@d>\r\n",
		"From: =?utf-8?q?a=0d=0aTo:_x?= <a@b>\r\n", "from:a@b(=?x?q?=0d=0aBcc:_e@f?=)\r\nSender: x\r\n", "From: g: a@b, c@d;\r\n", " x\r\nDKIM-Signature: a\r\n",
		"From: a\\\r\n <b@c>\r\n",
	} {
		f.Add([]byte(s))
	}
	renamed := []string{"From", "Sender", "DKIM-Signature", "Reply-To", "X-Original-From", "X-Original-Sender", "X-Original-DKIM-Signature"}
	f.Fuzz(func(t *testing.T, in []byte) {
		if len(in) > 64<<10 || bytes.Contains(in, []byte("\r\n\r\n")) || bytes.HasPrefix(in, []byte("\r\n")) {
			return
		}
		before := bytes.Clone(in)
		out := SetAuthor(in, "acct@gmail.com")
		if !bytes.Equal(in, before) {
			t.Fatal("the section given was changed")
		}
		if !bytes.Equal(out, SetAuthor(in, "acct@gmail.com")) {
			t.Fatal("not the same each time")
		}
		others := func(section []byte) (rest []string) {
			for len(section) > 0 {
				var field []byte
				field, section = Next(section)
				if name, _ := Cut(field); !slices.ContainsFunc(renamed, func(n string) bool { return strings.EqualFold(n, string(name)) }) {
					rest = append(rest, string(field))
				}
			}
			return rest
		}
		if a, b := others(in), others(out); !slices.Equal(a, b) {
			t.Fatalf("other fields changed:\n%q\n%q", a, b)
		}
		if got := Read(out).Authors; !slices.Equal(got, []string{"acct@gmail.com"}) {
			t.Fatalf("the author is %q in %q", got, out)
		}
		if bytes.Contains(out, []byte("\r\n\r\n")) {
			t.Fatalf("the header ends early: %q", out)
		}
		if strings.ContainsAny(strings.ReplaceAll(string(in), "\r\n", ""), "\r\n") {
			return // readers differ on what a lone CR or LF ends
		}
		if _, err := mail.ReadMessage(bytes.NewReader(append(slices.Clone(in), "\r\n\r\n"...))); err != nil {
			return
		}
		m, err := mail.ReadMessage(bytes.NewReader(append(slices.Clone(out), "\r\n\r\n"...)))
		if err != nil {
			t.Fatalf("can be read no more: %v\n%q", err, out)
		}
		p := mail.AddressParser{}
		if froms := m.Header["From"]; len(froms) != 1 {
			t.Fatalf("authors: %q", froms)
		} else if list, err := p.ParseList(froms[0]); err == nil && (len(list) != 1 || list[0].Address != "acct@gmail.com") {
			t.Fatalf("the author is %v", list)
		}
	})
}
