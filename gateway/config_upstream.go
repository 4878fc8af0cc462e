package gateway

import (
	"fmt"
	"slices"
	"strings"
)

// upstreamEntry is an [[upstream]] as written, with what was made of it.
type upstreamEntry struct {
	node    *node
	u       UpstreamConfig
	profile string // as written
}

func (d *decoder) upstreamSchema(n *node) schema {
	e := &upstreamEntry{node: n, u: UpstreamConfig{Auth: "auto", Limits: LimitsConfig{Connections: 16}}}
	d.upstream = append(d.upstream, e)
	u := &e.u
	return schema{
		"name":             text(&u.Name, checkUpstreamName),
		"urls":             urls(&u.URLs),
		"auth":             choice(&u.Auth, "auto", "plain", "login", "none"),
		"username":         text(&u.Username, checkUsername),
		"password":         password(&u.Secret),
		"password_file":    passwordFile(&u.Secret),
		"password_env":     passwordEnv(&u.Secret),
		"password_command": passwordCommand(&u.Secret),
		"senders":          texts(&u.Senders, `["@example.com", "ann@example.org"]`, checkSender),
		"default_from":     text(&u.DefaultFrom, checkAddress),
		"recipients":       texts(&u.Recipients, `["example.com", "*.example.org"]`, checkRecipient),
		"rewrite":          rewriting(&u.Rewrite),
		"profile":          d.profileRule(&e.profile),
		"limits":           limits(&u.Limits),
	}
}

// checkUpstreamName keeps names fit for file names, log attributes and lane
// names, which join them with commas.
func checkUpstreamName(s string) fault {
	if len(s) >= 1 && len(s) <= 32 && strings.Trim(s, "abcdefghijklmnopqrstuvwxyz0123456789._-") == "" {
		return fault{}
	}
	return fault{"is not a name we can use", "use 1 to 32 of a-z, 0-9, dot, hyphen and underscore"}
}

func checkUsername(s string) fault {
	switch {
	case s == "":
		return fault{"is empty", "leave the key out where no login is needed"}
	case strings.IndexFunc(s, func(r rune) bool { return r < ' ' || r == 0x7f }) >= 0:
		return fault{"holds a control character", "write the name alone"}
	}
	return fault{}
}

func checkAddress(s string) fault {
	if _, _, ok := splitAddress(s); !ok {
		return fault{"is not a mail address", `write it whole, without a name: "ann@example.com"`}
	}
	return fault{}
}

// checkUpstreams looks at each upstream as a whole, and at all together.
func (d *decoder) checkUpstreams(root *node) {
	if len(d.upstream) == 0 {
		if _, tried := root.fields["upstream"]; !tried {
			d.problem(0, "upstream", "there is none, so mail has no way out",
				"write one:\n        [[upstream]]\n        name = \"work\"\n        urls = [\"smtps://mail.example.com\"]\n        username = \"ann@example.com\"\n        password_file = \"work.pw\"")
		}
		return
	}
	lines := map[string]int{}
	for _, e := range d.upstream {
		u, line := &e.u, e.node.lineOf("name")
		if _, written := e.node.fields["name"]; !written {
			d.problem(line, "upstream.name", "is missing", `write name = "work", or whatever you call it`)
		}
		if before, taken := lines[u.Name]; taken && u.Name != "" {
			d.problem(line, "upstream.name", fmt.Sprintf("%q is the name of the upstream on line %d too", u.Name, before), "choose another one")
		} else {
			lines[u.Name] = line
		}
		if _, written := e.node.fields["urls"]; !written {
			d.problem(e.node.line, "upstream.urls", "is missing", `write urls = ["smtps://mail.example.com"]`)
		}
		d.checkSchemes(e)
		d.checkAuth(e)
		d.checkRoute(e)
		d.checkLoop(e)
		d.settleProfile(e)
		d.settleLimits(e)
		d.config.Upstreams = append(d.config.Upstreams, *u)
	}
}

func lowerDomain(address string) string {
	at := strings.LastIndexByte(address, '@')
	return address[:at+1] + strings.ToLower(address[at+1:])
}

// checkSchemes: an upstream is as safe as its weakest endpoint, for whoever
// can block the others chooses which one is used.
func (d *decoder) checkSchemes(e *upstreamEntry) {
	insecure := slices.ContainsFunc(e.u.URLs, UpstreamURL.insecure)
	secure := slices.ContainsFunc(e.u.URLs, func(u UpstreamURL) bool { return !u.insecure() })
	if insecure && secure {
		d.problem(e.node.lineOf("urls"), "upstream.urls", "smtp+insecure shares an upstream with a scheme that uses TLS: whoever blocks the safe one gets your mail in clear",
			"make it an [[upstream]] of its own, or use smtp:// or smtps://")
	}
}

// checkAuth settles what "auto" means and whether all of a login is there.
func (d *decoder) checkAuth(e *upstreamEntry) {
	u, n := &e.u, e.node
	var secrets []string
	for _, name := range n.names {
		if strings.HasPrefix(name, "password") && slices.Contains(secretKeys(), name) {
			secrets = append(secrets, name)
		}
	}
	_, username := n.fields["username"]
	if len(secrets) > 1 {
		d.problem(n.lineOf(secrets[1]), "upstream."+secrets[1], "is a second password beside "+secrets[0], "keep one of "+strings.Join(secrets, ", "))
	}
	switch {
	case u.Auth == "none" && username:
		d.problem(n.lineOf("username"), "upstream.username", `is given, but auth = "none" never logs in`, "remove one of them")
	case u.Auth == "none" && len(secrets) > 0:
		d.problem(n.lineOf(secrets[0]), "upstream."+secrets[0], `is given, but auth = "none" never logs in`, "remove one of them")
	case !username && len(secrets) > 0:
		d.problem(n.lineOf(secrets[0]), "upstream."+secrets[0], "is given without a username", `add username = "…"`)
	case !username && u.Auth != "auto" && u.Auth != "none":
		d.problem(n.lineOf("auth"), "upstream.auth", fmt.Sprintf("%q needs a username and a password", u.Auth), `add username and password_file, or write auth = "none"`)
	case username && len(secrets) == 0:
		d.problem(n.lineOf("username"), "upstream.username", "is given without a password", "add one of "+strings.Join(secretKeys(), ", "))
	}
	if !username {
		u.Auth = "none"
	}
	if u.Auth == "none" {
		return
	}
	for _, url := range u.URLs {
		switch {
		case !url.insecure():
		case url.loopback():
			d.warn(n.lineOf("urls"), "upstream.urls", "the login goes in clear to "+url.Host+", which only this machine can see", "")
		default:
			d.problem(n.lineOf("urls"), "upstream.urls", "smtp+insecure would send the password in clear to "+url.Host,
				"use smtp:// or smtps://, or remove username and password")
		}
	}
}

func secretKeys() []string {
	return []string{"password", "password_file", "password_env", "password_command"}
}

// checkLoop: mail to ourselves would go round until its Received fields stop
// it.
func (d *decoder) checkLoop(e *upstreamEntry) {
	for _, l := range d.config.Listen {
		ip, port, _ := parseListenAddress(l.Address)
		if slices.ContainsFunc(e.u.URLs, func(u UpstreamURL) bool { return u.reaches(ip, port) }) {
			d.problem(e.node.lineOf("urls"), "upstream.urls", "leads to our own listener on "+l.Address+", so mail would go in a circle",
				"name the server that takes your mail")
		}
	}
}
