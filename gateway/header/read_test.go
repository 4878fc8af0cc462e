package header

import (
	"slices"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestAuthors(t *testing.T) {
	tests := []struct{ name, from, want string }{
		{"bare", "ann@example.com", "ann@example.com"},
		{"named", "Ann Smith <ann@example.com>", "ann@example.com"},
		{"quoted name with an address in it", `"Bob <bob@example.org>, boss" <ann@example.com>`, "ann@example.com"},
		{"name with an @", "Sales @ Example <ann@example.com>", "ann@example.com"},
		{"name that is an address", "bob@example.org <ann@example.com>", "ann@example.com"},
		{"encoded word", "=?utf-8?q?bob@example.org=3C?= <ann@example.com>", "ann@example.com"},
		{"encoded words of any charset", "=?koi8-r?B?88HbwQ==?= =?x-none?q?=FF?= <ann@example.com>", "ann@example.com"},
		{"several", "Ann <ann@example.com>, bob@example.org", "ann@example.com bob@example.org"},
		{"one of them twice", "Ann <ann@example.com>, ann@example.com", "ann@example.com"},
		{"group", "Friends: ann@example.com, Bob <bob@example.org>;", "ann@example.com bob@example.org"},
		{"empty group", "Undisclosed:;", ""},
		{"group among others", "a@x.example, G: b@x.example;, c@x.example", "a@x.example b@x.example c@x.example"},
		{"comments", "(he said (twice) \\)) ann(x)@(y)example.com (Ann <bob@example.org>)", "ann@example.com"},
		{"folded", "Ann Smith\r\n\t<ann@example.com>", "ann@example.com"},
		{"space round dots", "ann . lee @ example . com", "ann.lee@example.com"},
		{"space in brackets", "Ann < ann . lee@example.com >", "ann.lee@example.com"},
		{"quoted local part", `"ann, lee"@example.com`, `"ann, lee"@example.com`},
		{"quoted words in a local part", `ann."b <".c@example.com`, `ann."b <".c@example.com`},
		{"quoted pair", `"ann\"@x"@example.com`, `"ann\"@x"@example.com`},
		{"literal", "<ann@[IPv6:2001:db8::1]>", "ann@[IPv6:2001:db8::1]"},
		{"route", "<@a.example,@b.example:ann@example.com>", "ann@example.com"},
		{"empty elements", ", ,ann@example.com,,", "ann@example.com"},
		{"periods in a name", "John Q. Public <ann@example.com>", "ann@example.com"},
		{"beyond ASCII", "Jörg <jörg@müller.example>", "jörg@müller.example"},

		{"nothing", "", ""},
		{"nobody", "<>", ""},
		{"a name alone", "root (Cron Daemon)", ""},
		{"a name in brackets", "System <root>", ""},

		{"scheme", "<mailto:ann@example.com>", "ann@example.com"},
		{"semicolon for comma", "ann@example.com; bob@example.org", "ann@example.com bob@example.org"},
		{"no comma", "ann@example.com bob@example.org", "ann@example.com bob@example.org"},
		{"words round it", "Ann Smith ann@example.com at home", "ann@example.com"},
		{"two in brackets", "<ann@example.com> <bob@example.org>", "ann@example.com bob@example.org"},
		{"two in one bracket", "<ann@example.com, bob@example.org>", "ann@example.com bob@example.org"},
		{"bracket in bracket", "<ann@example.com <bob@example.org>>", "ann@example.com bob@example.org"},
		{"behind the bracket", "<ann@example.com> bob@example.org", "ann@example.com bob@example.org"},
		{"open bracket", "Ann <ann@example.com", "ann@example.com"},
		{"open quote", `5" Drives <ann@example.com>`, "ann@example.com"},
		{"open comment", "Ann (home <ann@example.com>", "ann@example.com"},
		{"open literal", "Ann [x <ann@example.com>", "ann@example.com"},

		{"a name with empty brackets", "bob@example.org <>", "bob@example.org"},
		{"a name with an open bracket", "bob@example.org <", "bob@example.org"},
		{"a name with a comment in brackets", "bob@example.org <(x)>, ann@example.com", "bob@example.org ann@example.com"},
		{"a name with a name in brackets", "cron@home <root>", ""},
		{"an encoded address", "=?utf-8?q?bob=40example.org?=", "<=?utf-8?q?bob=40example.org?=>"},
		{"an encoded address among others", "=?x-none?B?Ym9iQGV4YW1wbGUub3Jn?=, ann@example.com", "<=?x-none?B?Ym9iQGV4YW1wbGUub3Jn?=> ann@example.com"},
		{"an encoded name", "=?utf-8?q?Bob?=", ""},

		{"two @", "ann@example.com@example.org", "<ann@example.com@example.org>"},
		{"no local part", "<@example.com>", "<@example.com>"},
		{"no domain", "ann@", "<ann@>"},
		{"space inside", "<bob ann@example.com>", "<bob ann@example.com>"},
		{"all of it quoted", `"ann@example.com"`, `<"ann@example.com">`},
		{"a control character", "<ann\x01@example.com>", "ann\ufffd@example.com"},
		{"broken UTF-8", "<j\xf6rg@example.com>", "j\ufffdrg@example.com"},
		{"long", "<" + strings.Repeat("a", 600) + "@example.com>", "<" + strings.Repeat("a", 512) + ">"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := Read([]byte("Subject: x\r\nFrom: " + tt.from + "\r\nTo: eve@example.net\r\n"))
			// Lists are compared as they print: an address with a space in it
			// stands in quotes or brackets.
			if s := strings.Join(got.Authors, " "); s != tt.want {
				t.Errorf("got %q, want %q", s, tt.want)
			}
		})
	}
}

func TestAuthorsAreBounded(t *testing.T) {
	var many strings.Builder
	for i := range 300 {
		many.WriteString("a" + strings.Repeat("b", i) + "@example.com, ")
	}
	for _, sep := range []string{"", "\r\nFrom: "} {
		got := Read([]byte("From: " + many.String() + sep + "bob@example.org\r\n")).Authors
		if n := len(got); n != maxAuthors+1 || got[n-1] != tooMany {
			t.Errorf("%d authors, the last is %s: those beyond must be nobody's", n, got[n-1])
		}
	}
}

func TestFacts(t *testing.T) {
	tests := []struct {
		name, section string
		want          Facts
	}{
		{"nothing", "", Facts{}},
		{"no fields", "hello\r\n: x\r\nfrom a@b c: d\r\n", Facts{}},
		{"every From counts", "From: a@x.example\r\nSubject: s\r\nFROM : b@x.example\r\n", Facts{Authors: []string{"a@x.example", "b@x.example"}}},
		{"other fields do not", "Resent-From: a@x.example\r\nSender: b@x.example\r\nX-From: c@x.example\r\n", Facts{}},
		{"Message-ID", "message-id:\r\n <1@x.example> (first)\r\nMessage-ID: <2@x.example>\r\n", Facts{MessageID: "1@x.example"}},
		{"Message-ID without brackets", "Message-ID: 1@x.example \r\n", Facts{MessageID: "1@x.example"}},
		{"Message-ID with an open bracket", "Message-ID: <1@x.example\r\n", Facts{MessageID: "1@x.example"}},
		{"empty Message-ID", "Message-ID:\r\n", Facts{}},
		{"hostile Message-ID", "Message-ID: <\x1b[2J\xff>\r\n", Facts{MessageID: "\ufffd[2J\ufffd"}},
		{"UTF-8", "Subject: grüße\r\n", Facts{UTF8: true}},
		{"Latin-1", "Subject: gr\xfc\xdfe\r\n", Facts{}},
		{"encoded word", "Subject: =?utf-8?q?gr=C3=BC=C3=9Fe?=\r\n", Facts{}},
		{"Auto-Submitted", "Auto-Submitted: auto-generated (by cron)\r\n", Facts{Automatic: true}},
		{"Auto-Submitted with a parameter", "Auto-Submitted: auto-notified; owner-email=\"a@x\"\r\n", Facts{Automatic: true}},
		{"Auto-Submitted: no", "Auto-Submitted: NO (a person)\r\n", Facts{}},
		{"Auto-Submitted of nothing", "Auto-Submitted: \r\n", Facts{}},
		{"Precedence", "Precedence: Bulk\r\n", Facts{Automatic: true}},
		{"Precedence: first-class", "Precedence: first-class\r\n", Facts{}},
		{"no says nothing of the list", "Auto-Submitted: no\r\nPrecedence: list\r\n", Facts{Automatic: true}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := Read([]byte(tt.section))
			if !slices.Equal(got.Authors, tt.want.Authors) || got.MessageID != tt.want.MessageID || got.UTF8 != tt.want.UTF8 || got.Automatic != tt.want.Automatic {
				t.Errorf("got %+v, want %+v", got, tt.want)
			}
		})
	}
}

// FuzzRead: whatever a header holds, its facts are few, short and printable, and
// an address that stands alone in a field is among them.
func FuzzRead(f *testing.F) {
	for _, s := range []string{
		"", "ann@example.com", `"x\" (" <@a,@b:"c d"@e>, G: (x(y)z) f . g @ h;`, "((((<a@b>", `""""<a@b`, "[[[@]", "<<<>>>,;:@.",
		"\xff@\x00", "a@b,a@b,<a@b>", "=?utf-8?q?a@b?=",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, from string) {
		got := Read([]byte("From: x@example.com\r\nFrom: " + from + "\r\nMessage-ID: " + from + "\r\nFrom: y@example.com\r\n"))
		if len(got.Authors) == 0 || got.Authors[0] != "x@example.com" || len(got.Authors) > maxAuthors {
			t.Fatalf("%q", got.Authors)
		}
		if len(got.Authors) < maxAuthors && !slices.Contains(got.Authors, "y@example.com") {
			t.Fatalf("what follows %q is lost: %q", from, got.Authors)
		}
		for _, s := range append(got.Authors, got.MessageID) {
			if len(s) > 3*maxWord+2 || !utf8.ValidString(s) || strings.ContainsAny(s, "\x00\r\n\t\x1b") {
				t.Fatalf("%q", s)
			}
		}
		seen := map[string]bool{}
		for _, a := range got.Authors {
			if seen[a] || !strings.Contains(a, "@") && len(a) < maxWord {
				t.Fatalf("%q in %q", a, got.Authors)
			}
			seen[a] = true
		}
	})
}

func BenchmarkRead(b *testing.B) {
	section := []byte("Received: from a.example (b.example [192.0.2.1])\r\n\tby c.example with ESMTP id 123;\r\n\tMon, 02 Jan 2006 15:04:05 -0700\r\n" +
		"From: Ann Smith <ann@example.com>\r\nTo: bob@example.net\r\nSubject: hello, and what more there is to say\r\n" +
		"Date: Sat, 01 Jan 2000 00:00:00 +0000\r\nMessage-ID: <1@example.com>\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n")
	b.SetBytes(int64(len(section)))
	b.ReportAllocs()
	for b.Loop() {
		Read(section)
	}
}

// The cost grows with the length and with nothing else.
func BenchmarkReadHostile(b *testing.B) {
	for _, s := range []string{"(", "\"", "[", "<", "@", ",a@b", "a@b ", "\\(", ". "} {
		b.Run(s, func(b *testing.B) {
			section := []byte("From: " + strings.Repeat(s, 256<<10/len(s)) + "\r\n")
			b.SetBytes(int64(len(section)))
			for b.Loop() {
				Read(section)
			}
		})
	}
}
