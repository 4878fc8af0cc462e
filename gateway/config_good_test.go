package gateway

import (
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/pelletier/go-toml/v2"

	"mailroam/gateway/dispatch"
	"mailroam/health"
)

const oneUpstream = `
[[upstream]]
name = "work"
urls = ["smtps://mail.example.com"]
`

func parseGood(t *testing.T, text string) *Config {
	t.Helper()
	c, err := Parse("/etc/mailroam/config.toml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestDefaults(t *testing.T) {
	t.Setenv("XDG_STATE_HOME", "/home/ann/state")
	got := *parseGood(t, oneUpstream)
	want := Default()
	want.Path = "/etc/mailroam/config.toml"
	want.Upstreams = []UpstreamConfig{{
		Name: "work", Auth: "none", Limits: LimitsConfig{Connections: 16},
		URLs: []UpstreamURL{{Raw: "smtps://mail.example.com", Scheme: "smtps", Host: "mail.example.com", Port: "465", ServerName: "mail.example.com"}},
	}}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
	if got.Queue.Expire != 120*time.Hour || got.Queue.MaxMessage != 52428800 || got.Health.Rise != 2 || got.Listen[0].Address != "127.0.0.1:2525" {
		t.Errorf("these defaults are not the documented ones: %+v", got)
	}
	if f := checkHostname(got.Hostname); f.what != "" {
		t.Errorf("the default hostname %q: %s", got.Hostname, f.what)
	}
}

func TestAllIsRead(t *testing.T) {
	c := parseGood(t, "\ufeff"+`
hostname = "GW.example.org"
data_dir = "../../var/mail"
queue.retry = { initial = "10s", max = "1d" }
queue.warn = "off"
queue.policy_hold = "0s"
queue.in_doubt = "failover"
queue.content_reject = "hold"
queue.second_opinion = "never"
queue.soft_bounce = true
listen = [{ address = "[::1]:25" }, { address = ":26", allow = ["192.168.1.7/24", "::1", "fd00:1::/48", "::ffff:10.1.2.3"], received = "private" }, { address = "192.168.1.1:587" }]
[health]
interval = "1m30s"
timeout = "2.5s"
rise = 3
hedge = "off"
failback = "network-change"
[alert]
command = ["./tell", "me"]
webhook = "http://[::1]:8080/hook?token=hunter2"
every = "1h"
down = "1d"
[log]
format = "json"
level = "debug"
[[upstream]]
name = "a.b_c-1"
urls = ["smtp://[2001:db8::1]", "smtps://Mail.Example.COM:1465/?servername=MX.example.com"]
auth = "plain"
username = "ann"
password_env = "MAILROAM_TEST_PASSWORD"
senders = ["@EXAMPLE.com", "Ann@Example.org", "\"a b\"@example.net"]
default_from = "Ann@Example.ORG"
[upstream.limits]
connections = 1_000
[[upstream]]
name = "lo"
urls = ["smtp+insecure://127.0.0.1:25"]
username = "ann"
password_command = ["true"]
`)
	if c.DataDir != "/var/mail" || c.Queue.RetryInitial != 10*time.Second || c.Queue.RetryMax != day {
		t.Errorf("data_dir %s, retry %v to %v", c.DataDir, c.Queue.RetryInitial, c.Queue.RetryMax)
	}
	if q := c.Queue; q.Warn != 0 || q.PolicyHold != 0 || q.InDoubt != dispatch.FailOver || q.ContentReject != dispatch.HoldContent || q.SecondOpinion != dispatch.NeverAsk || !q.SoftBounce {
		t.Errorf("queue %+v", q)
	}
	if c.Health != (HealthConfig{90 * time.Second, 2500 * time.Millisecond, 3, 0, health.Failback{NetworkChange: true}}) || c.Log != (LogConfig{"json", "debug"}) {
		t.Errorf("health %+v, log %+v", c.Health, c.Log)
	}
	if !reflect.DeepEqual(c.Alert.Command, []string{"/etc/mailroam/tell", "me"}) || c.Alert.Every != time.Hour || c.Alert.Down != day {
		t.Errorf("alert %+v", c.Alert)
	}
	if url, err := c.Alert.Webhook.Read(t.Context()); url != "http://[::1]:8080/hook?token=hunter2" || err != nil {
		t.Errorf("webhook %q, %v", url, err)
	}
	p := netip.MustParsePrefix
	wantListen := []Listen{
		{"[::1]:25", loopback(), "private"},
		{":26", []netip.Prefix{p("192.168.1.0/24"), p("::1/128"), p("fd00:1::/48"), p("10.1.2.3/32")}, "private"},
		{"192.168.1.1:587", loopback(), "full"},
	}
	if !reflect.DeepEqual(c.Listen, wantListen) {
		t.Errorf("listen %+v, want %+v", c.Listen, wantListen)
	}
	a := c.Upstreams[0]
	wantURLs := []UpstreamURL{
		{Raw: "smtp://[2001:db8::1]", Scheme: "smtp", Host: "2001:db8::1", Port: "587", ServerName: "2001:db8::1"},
		{Raw: "smtps://Mail.Example.COM:1465/?servername=MX.example.com", Scheme: "smtps", Host: "mail.example.com", Port: "1465", ServerName: "mx.example.com"},
	}
	if !reflect.DeepEqual(a.URLs, wantURLs) {
		t.Errorf("urls %+v", a.URLs)
	}
	if want := []string{"@example.com", "Ann@example.org", `"a b"@example.net`}; !reflect.DeepEqual(a.Senders, want) || a.DefaultFrom != "Ann@example.org" {
		t.Errorf("senders %q, default_from %q", a.Senders, a.DefaultFrom)
	}
	if a.Auth != "plain" || a.Username != "ann" || a.Limits.Connections != 1000 {
		t.Errorf("%+v", a)
	}
	var warnings []string
	for _, w := range c.Warnings {
		warnings = append(warnings, w.Key)
	}
	if want := []string{"alert.command", "upstream.password_env", "upstream.urls"}; !reflect.DeepEqual(warnings, want) {
		t.Errorf("warnings %+v", c.Warnings)
	}
}

func TestSpansOrWords(t *testing.T) {
	for line, want := range map[string]HealthConfig{
		``:                            {Hedge: 2 * time.Second},
		`hedge = "500ms"`:             {Hedge: 500 * time.Millisecond},
		`hedge = "off"`:               {},
		`failback = "when-up"`:        {Hedge: 2 * time.Second},
		`failback = "10m"`:            {Hedge: 2 * time.Second, Failback: health.Failback{After: 10 * time.Minute}},
		`failback = "network-change"`: {Hedge: 2 * time.Second, Failback: health.Failback{NetworkChange: true}},
	} {
		got := parseGood(t, "[health]\n"+line+oneUpstream).Health
		if got.Hedge != want.Hedge || got.Failback != want.Failback {
			t.Errorf("%s is %+v", line, got)
		}
	}
}

func TestWebhooks(t *testing.T) {
	for raw, good := range map[string]bool{
		"https://hooks.example.com/T0/B1": true, "https://ann:hunter2@example.com/?t=hunter2": true, "https://192.0.2.1:8443": true,
		"http://localhost:8080/x": true, "http://127.0.0.2/": true, "http://[::1]/": true,
		"http://example.com/": false, "http://192.168.1.1/": false, "ftp://example.com/": false, "hooks.example.com": false, "https://": false,
		"https:hooks.example.com": false, "https://a b/": false, "https://example.com/\x00": false, "http://127.0.0.1.example.com/": false, "": false,
	} {
		if f := checkWebhook(raw); (f.what == "") != good || strings.Contains(f.what+f.fix, "hunter") {
			t.Errorf("%q: %+v", raw, f)
		}
	}
}

// Every documented key is read: what the example says is what comes out.
func TestExampleSaysTheDefaults(t *testing.T) {
	c, err := Load(example)
	if err != nil {
		t.Fatal(err)
	}
	want := Default()
	if c.Queue != want.Queue || c.Health != want.Health || c.Log != want.Log || !reflect.DeepEqual(c.Alert, want.Alert) || !reflect.DeepEqual(c.Listen, want.Listen) {
		t.Errorf("the example shows other values than the defaults: %+v", c)
	}
}

func TestFindConfig(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	t.Setenv("HOME", filepath.Join(dir, "home"))
	t.Setenv("XDG_CONFIG_HOME", "")
	t.Setenv("MAILROAM_CONFIG", "")
	write := func(path string) string {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	expect := func(flag, want string) {
		t.Helper()
		if got, err := FindConfig(flag); got != want || err != nil {
			t.Errorf("found %q, %v, want %q", got, err, want)
		}
	}
	write(filepath.Join(dir, "config.toml"))
	write(filepath.Join(dir, "mailroam", "config.toml"))
	if _, err := os.Stat("/etc/mailroam/config.toml"); errors.Is(err, os.ErrNotExist) {
		t.Setenv("XDG_CONFIG_HOME", ".") // relative: ignored
		if got, err := FindConfig(""); err == nil || !strings.Contains(err.Error(), "--config") {
			t.Errorf("the current folder's %q is taken, %v", got, err)
		}
		t.Setenv("XDG_CONFIG_HOME", "")
	}
	home := write(filepath.Join(dir, "home", ".config", "mailroam", "config.toml"))
	expect("", home)
	xdg := write(filepath.Join(dir, "xdg", "mailroam", "config.toml"))
	t.Setenv("XDG_CONFIG_HOME", filepath.Join(dir, "xdg"))
	expect("", xdg)
	t.Setenv("MAILROAM_CONFIG", "mine.toml")
	expect("", "mine.toml")
	expect("other.toml", "other.toml")
}

func TestLoad(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "mail config.toml")
	password := oneUpstream + "username = \"ann\"\npassword = \"hunter2\"\n"
	load := func(text string, mode os.FileMode) (*Config, error) {
		t.Helper()
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(file, mode); err != nil {
			t.Fatal(err)
		}
		return Load(file)
	}
	for _, mode := range []os.FileMode{0o640, 0o604, 0o644} {
		_, err := load(password, mode)
		if err == nil || !strings.Contains(err.Error(), "run: chmod 600 '"+file+"'") || strings.Contains(err.Error(), "hunter") {
			t.Errorf("a password in a file of mode %o: %v", mode, err)
		}
	}
	if c, err := load(password, 0o600); err != nil || c.Path != file {
		t.Errorf("a password in a file of mode 600: %v", err)
	}
	if _, err := load(oneUpstream, 0o644); err != nil {
		t.Errorf("no password in a file of mode 644: %v", err)
	}
	if _, err := load(oneUpstream, 0o602); err == nil || !strings.Contains(err.Error(), "chmod o-w") {
		t.Errorf("a file that everybody can write: %v", err)
	}

	if _, err := Load(filepath.Join(dir, "none.toml")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no file: %v", err)
	}
	if _, err := Load(dir); err == nil || !strings.Contains(err.Error(), "not a regular file") {
		t.Errorf("a folder: %v", err)
	}
	if _, err := Load("/dev/zero"); err == nil {
		t.Error("a device is read")
	}
	if _, err := load(strings.Repeat("#", maxConfigSize+1), 0o600); err == nil {
		t.Error("a file of any size is read")
	}
}

func TestCAFile(t *testing.T) {
	dir := t.TempDir()
	config := filepath.Join(dir, "config.toml")
	text := []byte("[[upstream]]\nname = \"work\"\nurls = [\"smtps://mail.example.com?ca=my%20ca.pem\"]\n")
	if err := os.WriteFile(filepath.Join(dir, "my ca.pem"), []byte("no certificate"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := Parse(config, text); err == nil || !strings.Contains(err.Error(), "without a certificate") {
		t.Errorf("a ca file without one: %v", err)
	}
	if err := os.WriteFile(filepath.Join(dir, "my ca.pem"), testCA(t), 0o644); err != nil {
		t.Fatal(err)
	}
	c, err := Parse(config, text)
	if err != nil {
		t.Fatal(err)
	}
	if u := c.Upstreams[0].URLs[0]; u.Roots == nil || u.CAFile != filepath.Join(dir, "my ca.pem") {
		t.Errorf("%+v", u)
	}
}

func TestHostnames(t *testing.T) {
	for s, good := range map[string]bool{
		"gw.example.org": true, "GW-1.example.org": true, "xn--mller-kva.example": true, "[192.0.2.1]": true, "[IPv6:2001:db8::1]": true,
		"": false, "gw": false, "localhost": false, "a.localhost": false, "localhost.localdomain": false, "LocalHost": false,
		"gw.example.org.": false, "-gw.example.org": false, "gw..org": false, "müller.example": false, "192.0.2.1": false, "1.2.3": false,
		"[2001:db8::1]": false, "[IPv6:192.0.2.1]": false, "[192.0.2.1": false, "[]": false, "gw.example.org\r\n": false, "2001:db8::1": false,
		strings.Repeat("a", 64) + ".org": false, strings.Repeat("a.", 127) + "org": false,
	} {
		if f := checkHostname(s); (f.what == "") != good {
			t.Errorf("%q: %+v", s, f)
		}
	}
}

func TestAddresses(t *testing.T) {
	for s, good := range map[string]bool{
		"ann@example.com": true, "a.b+c@EXAMPLE.com": true, `"a b"@example.com`: true, `"a\"@\\b"@example.com`: true, "o'neil@example.com": true,
		"": false, "ann": false, "@example.com": false, "ann@": false, "ann@localhost": false, "ann@192.0.2.1": false, "a b@example.com": false,
		`"a"b"@example.com`: false, `"a@example.com`: false, `"a\"@example.com`: false, "ann@example.com>": false, "a@b@example.com": false,
		"ann\r\n@example.com": false, "änn@example.com": false, strings.Repeat("a", 65) + "@example.com": false, "<ann@example.com>": false,
	} {
		if _, _, ok := splitAddress(s); ok != good {
			t.Errorf("%q: %v", s, ok)
		}
	}
}

func TestDurationsAndSizes(t *testing.T) {
	for s, want := range map[string]time.Duration{
		"5d": 5 * day, "1d12h": 36 * time.Hour, "0.5d": 12 * time.Hour, "90s": 90 * time.Second, "0s": 0, "0d": 0, "1h30m": 90 * time.Minute,
		"": -1, "5": -1, "d": -1, "5d5": -1, "5 d": -1, "-1d": -1, "1d-1h": -1, "-5s": -1, "infd": -1, "0x1p4d": -1, "1e9d": -1, "999999999d": -1, "5days": -1, "1w": -1, "1.2.3d": -1,
	} {
		got, ok := parseDuration(s)
		if ok != (want >= 0) || ok && got != want {
			t.Errorf("%q is %v, %v", s, got, ok)
		}
		if ok {
			if again, ok := parseDuration(spell(got)); !ok || again != got {
				t.Errorf("%v is spelled %q, which is %v", got, spell(got), again)
			}
		}
	}
	for s, want := range map[string]int64{
		"50MB": 50_000_000, "50MiB": 50 << 20, "64 KiB": 64 << 10, "1.5GB": 1_500_000_000, "10b": 10, "1kb": 1000, "1gib": 1 << 30,
		"": -1, "50": -1, "MB": -1, "-1MB": -1, "1.2.3MB": -1, "1e3MB": -1, "50 mega": -1, "99999999999999999999GB": -1, "5TB": -1,
	} {
		got, ok := parseSize(s)
		if ok != (want >= 0) || ok && got != want {
			t.Errorf("%q is %v, %v", s, got, ok)
		}
	}
}

func TestSuggestions(t *testing.T) {
	for name, want := range map[string]string{
		"hostnmae": "did you mean hostname?", "max_message": "did you mean queue.max_message?", "Hostname": "did you mean hostname?",
		"urls": "did you mean upstream.urls?", strings.Repeat("x", 1<<20): "the nearest is ",
	} {
		c := Default()
		if got := suggest(name, "", (&decoder{config: &c}).schema()); !strings.HasPrefix(got, want) {
			t.Errorf("for %.20q: %s", name, got)
		}
	}
	for _, c := range []struct {
		a, b string
		want int
	}{{"", "", 0}, {"a", "", 1}, {"ab", "ba", 1}, {"expire", "expires", 1}, {"kitten", "sitting", 3}} {
		if got := distance(c.a, c.b); got != c.want {
			t.Errorf("from %q to %q it is %d, want %d", c.a, c.b, got, c.want)
		}
	}
}

// Whatever is written, Parse does not panic, complains in printable words, and
// says yes only to what TOML itself accepts.
func FuzzConfig(f *testing.F) {
	text, err := os.ReadFile(example)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(text)
	files, _ := filepath.Glob("testdata/config-bad/*.toml")
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		c, err := Parse("/nonexistent/config.toml", text)
		if err == nil {
			var v map[string]any
			if terr := toml.Unmarshal([]byte(strings.TrimPrefix(string(text), "\ufeff")), &v); terr != nil {
				t.Errorf("accepted, but TOML says %v", terr)
			}
			if len(c.Upstreams) == 0 || len(c.Listen) == 0 || !filepath.IsAbs(c.DataDir) {
				t.Errorf("accepted, but not whole: %+v", c)
			}
			return
		}
		var problems Problems
		if !errors.As(err, &problems) || len(problems) == 0 {
			t.Fatalf("not Problems: %v", err)
		}
		lines := strings.Count(string(text), "\n") + 1
		for i, p := range problems {
			if p.Line < 0 || p.Line > lines || p.What == "" || i > 0 && p.Line < problems[i-1].Line {
				t.Errorf("problem %d: %+v", i, p)
			}
			if strings.ContainsFunc(p.Key+p.What, func(r rune) bool { return r < ' ' || r == 0x7f }) {
				t.Errorf("unprintable: %q", p)
			}
		}
	})
}
