package relay

import (
	"path"
	"slices"
	"strings"
	"testing"
	"time"
)

func profiles(t testing.TB) map[string]*Profile {
	t.Helper()
	ps, err := Profiles()
	if err != nil {
		t.Fatal(err)
	}
	return ps
}

// TestProfiles: what comes with the program can be read, and says nothing that a
// rule cannot mean.
func TestProfiles(t *testing.T) {
	ps := profiles(t)
	if len(ps) < 15 {
		t.Errorf("only %d profiles", len(ps))
	}
	for _, p := range ps {
		if len(p.Hosts) == 0 || len(p.Rules) == 0 {
			t.Errorf("%s has no hosts, or no rules", p.Name)
		}
		for _, r := range p.Rules {
			perm := strings.HasPrefix(r.Code, "5") || strings.HasPrefix(r.Enhanced, "5")
			switch {
			case r.Wait < 0 || r.Wait > longestWait:
				t.Errorf("%s waits %v", r.Name, r.Wait)
			case r.Date.After(p.Checked):
				t.Errorf("%s is newer than its profile's check", r.Name)
			case r.Scope == ScopeMessage && (!perm || slices.ContainsFunc(r.Stages, func(s Stage) bool { return s < Body }) || r.Stages == nil):
				t.Errorf("%s is about a message that nobody has seen, or bounces for a while", r.Name)
			case r.Scope == ScopeRecipient && (!perm || !slices.Equal(r.Stages, []Stage{Rcpt})):
				t.Errorf("%s is about a recipient, and not in answer to its RCPT", r.Name)
			case r.Remedy != "" && (strings.ToLower(r.Remedy[:1]) != r.Remedy[:1] || strings.HasSuffix(r.Remedy, ".")):
				t.Errorf("%s: what to do is a clause, as others are put before and after it", r.Name)
			case slices.ContainsFunc(r.Text, func(w string) bool { return w == "" || w != strings.ToLower(w) }):
				t.Errorf("%s: words are written in lower case", r.Name)
			}
		}
	}
}

// TestProfilesAreApart: a host is of one provider at most.
func TestProfilesAreApart(t *testing.T) {
	ps := profiles(t)
	for _, p := range ps {
		for _, h := range p.Hosts {
			host := strings.ReplaceAll(h, "*", "example")
			for _, q := range ps {
				if p != q && q.Serves(host) {
					t.Errorf("%s is also a host of %s", host, q.Name)
				}
			}
			if _, err := path.Match(h, ""); err != nil {
				t.Errorf("%s: %v", h, err)
			}
		}
	}
}

func TestProfileByHost(t *testing.T) {
	ps := profiles(t)
	for host, want := range map[string]string{
		"smtp.gmail.com": "gmail", "SMTP.Gmail.com.": "gmail", "smtp.gmail.com.example": "", "email-smtp.eu-west-1.amazonaws.com": "ses",
		"email-smtp.eu-west-1.amazonaws.com.example": "", "smtp.office365.com": "microsoft", "smtp.zoho.com.au": "zoho", "mail.example.com": "", "": "",
		"smtp.ionos.co.uk": "ionos", "mail-eu.smtp2go.com": "smtp2go", "[": "",
	} {
		got := ""
		for _, p := range ps {
			if p.Serves(host) {
				got = p.Name
			}
		}
		if got != want {
			t.Errorf("%q is %q, want %q", host, got, want)
		}
	}
}

// TestProfileIsStrict: what is misspelled in a data file is found.
func TestProfileIsStrict(t *testing.T) {
	const head = "title = \"T\"\nchecked = 2026-11-22\n"
	const good = "[[rule]]\nname = \"n\"\ncode = \"550\"\nscope = \"quota\"\nsource = \"s\"\ndate = 2026-11-22\n"
	if p, err := parseProfile("x", []byte(head+good+"wait = \"1h\"\nstages = [\"dot\"]\n")); err != nil {
		t.Error(err)
	} else if r := p.Rules[0]; r.Name != "x: n" || r.Wait != time.Hour || !slices.Equal(r.Stages, []Stage{Dot}) || r.Source != "s" {
		t.Errorf("read as %+v", r)
	}
	for what, text := range map[string]string{
		"a key that is none":      head + good + "scpoe = \"quota\"\n",
		"a key above":             head + "host = [\"x\"]\n" + good,
		"no title":                "checked = 2026-11-22\n" + good,
		"no check":                "title = \"T\"\n" + good,
		"a scope that is none":    head + strings.Replace(good, "quota", "quoat", 1),
		"a stage that is none":    head + good + "stages = [\"dots\"]\n",
		"a wait that is none":     head + good + "wait = \"1x\"\n",
		"nothing to match":        head + strings.Replace(good, "code = \"550\"\n", "", 1),
		"no source":               head + strings.Replace(good, "source = \"s\"\n", "", 1),
		"no date":                 head + strings.Replace(good, "date = 2026-11-22\n", "", 1),
		"a pattern that is none":  head + "hosts = [\"[\"]\n",
		"what is not TOML at all": "=",
	} {
		if _, err := parseProfile("x", []byte(text)); err == nil {
			t.Errorf("%s is read", what)
		}
	}
}
