package gateway

import (
	"reflect"
	"strings"
	"testing"

	"mailroam/gateway/dispatch"
)

func TestRoutesAreRead(t *testing.T) {
	u := parseGood(t, oneUpstream+`
senders = ["@Bücher.example", "ann+*@EXAMPLE.com", "@*.example.com", "*@example.org"]
recipients = ["Example.NET", "@*.example.net", "intranet"]
default_from = "ann+pi@example.com"
[upstream.rewrite]
"*" = "rest@Gmail.com"
"*@example.net" = "net@gmail.com"
"@example.COM" = "dom@gmail.com"
"Ann@Example.COM" = "ann@gmail.com"
`).Upstreams[0]
	if want := []string{"@bücher.example", "ann+*@example.com", "@*.example.com", "*@example.org"}; !reflect.DeepEqual(u.Senders, want) {
		t.Errorf("senders %q", u.Senders)
	}
	if want := []string{"example.net", "*.example.net", "intranet"}; !reflect.DeepEqual(u.Recipients, want) {
		t.Errorf("recipients %q", u.Recipients)
	}
	want := []dispatch.Rewrite{
		{Pattern: "Ann@example.com", Address: "ann@gmail.com"},
		{Pattern: "@example.com", Address: "dom@gmail.com"},
		{Pattern: "*@example.net", Address: "net@gmail.com"},
		{Pattern: "*", Address: "rest@gmail.com"},
	}
	if !reflect.DeepEqual(u.Rewrite, want) {
		t.Errorf("rewrite %q", u.Rewrite)
	}
	// Whoever is rewritten may stand in for a program.
	parseGood(t, oneUpstream+`
senders = ["ann@gmail.com"]
default_from = "pi@example.com"
rewrite = { "@example.com" = "ann@gmail.com" }
`)
}

func TestRewriteOfNobodyIsSaid(t *testing.T) {
	c := parseGood(t, oneUpstream+`
senders = ["*"]
rewrite = { "@example.com" = "ann@gmail.com" }
`)
	if len(c.Warnings) != 1 || c.Warnings[0].Key != "upstream.rewrite" || c.Warnings[0].Line != 7 {
		t.Errorf("%+v", c.Warnings)
	}
}

func TestSenderPatterns(t *testing.T) {
	for s, good := range map[string]bool{
		"ann@example.com": true, "@example.com": true, "*": true, "@*": true, "*@*": true, "ann@*": true, "@*.example.com": true, "a*n@example.com": true, "@bücher.example": true, "ännè@example.com": true,
		"": false, "@": false, "ann": false, "example.com": false, "*.example.com": false, "@example": false, "ann@example": false, "@a b.example": false, "Ann <ann@example.com>": false, "@a..b": false,
	} {
		if f := checkSender(s); (f.what == "") != good || f.what != "" && f.fix == "" {
			t.Errorf("%q: %+v", s, f)
		}
	}
	for s, good := range map[string]bool{
		"example.com": true, "@example.com": true, "*": true, "*.example.com": true, "intranet": true, "bücher.example": true,
		"": false, "ann@example.com": false, "exa mple": false, "@": false, ".example.com": false, "@@example.com": false,
	} {
		f := checkRecipient(s)
		if (f.what == "") != good || f.what != "" && f.fix == "" {
			t.Errorf("%q: %+v", s, f)
		}
		if s == "ann@example.com" && !strings.Contains(f.fix, `"example.com"`) {
			t.Errorf("%q: %+v", s, f)
		}
	}
}
