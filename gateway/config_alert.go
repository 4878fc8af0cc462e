package gateway

import (
	"net/netip"
	"net/url"
	"os/exec"
	"strings"
)

// alertCommand is the rule for the program that is told of alerts. That it is
// not found is only worth a look: it may well be where serve runs.
func alertCommand(to *[]string) rule {
	return rule{value: func(d *decoder, key string, n *node) {
		var command []string
		texts(&command, `["notify-send", "mailroam"]`).value(d, key, n)
		if len(command) == 0 {
			return
		}
		if strings.Contains(strings.Join(command, ""), "\x00") {
			d.problem(n.line, key, "has a NUL in it, which no program can be given", "leave it out")
			return
		}
		if command[0] == "" {
			d.problem(n.line, key, "names no program", `write command = ["notify-send", "mailroam"]`)
			return
		}
		if strings.ContainsRune(command[0], '/') {
			command[0] = d.resolve(command[0])
		}
		if _, err := exec.LookPath(command[0]); err != nil {
			d.warn(n.line, key, "the program "+printable(command[0])+" is not found here, or may not be run", "install it where serve runs, or write its whole path; it is run without a shell")
		}
		*to = command
	}}
}

// webhook is the rule for the URL that is told of alerts. Most such URLs hold a
// token, so no complaint quotes any of it.
func webhook(to *Secret) rule {
	return rule{value: func(d *decoder, key string, n *node) {
		var raw string
		text(&raw, notEmpty, checkWebhook).value(d, key, n)
		if raw == "" {
			return
		}
		if readableBy(d.mode, 0o077) {
			d.warn(n.line, key, "is in a file that others can read, and may hold a token", "run: chmod 600 "+shellQuote(d.path))
		}
		*to = Secret{source: fromConfig, value: raw}
	}}
}

func checkWebhook(raw string) fault {
	u, err := url.Parse(raw)
	switch {
	case err != nil || u.Opaque != "" || u.Hostname() == "" || strings.ContainsAny(raw, " \t\r\n"):
		return fault{"is not a URL we can read", `write it like "https://hooks.example.com/…"`}
	case u.Port() != "" && checkPort(u.Port()).what != "":
		return checkPort(u.Port())
	case u.Scheme == "https":
		return fault{}
	case u.Scheme != "http":
		return fault{"has an unknown scheme", "use https://"}
	}
	// In clear it may go to this machine alone.
	if ip, err := netip.ParseAddr(u.Hostname()); err == nil && ip.Unmap().IsLoopback() || isLocalhost(strings.ToLower(u.Hostname())) {
		return fault{}
	}
	return fault{"would send what the alerts say, and any token in the URL, in clear", "use https://; http:// is only for this machine (127.0.0.1, localhost)"}
}
