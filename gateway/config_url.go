package gateway

import (
	"crypto/x509"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"net/url"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// urls is the rule for the endpoints of an upstream. No complaint of it quotes
// more than a host, for a misspelt URL may hold a password anywhere.
func urls(to *[]UpstreamURL) rule {
	return rule{value: func(d *decoder, key string, n *node) {
		var raws []string
		texts(&raws, `["smtps://mail.example.com"]`).value(d, key, n)
		if len(raws) == 0 {
			return
		}
		for i, raw := range raws {
			if raw == "" && n.items[i].kind != aText {
				continue // already complained about
			}
			parsed, f := d.parseURL(raw)
			if f.what != "" {
				d.problem(n.items[i].line, key, which(n.items, i)+f.what, f.fix)
				continue
			}
			if slices.ContainsFunc(*to, func(o UpstreamURL) bool {
				return o.Scheme == parsed.Scheme && o.Host == parsed.Host && o.Port == parsed.Port
			}) {
				d.problem(n.items[i].line, key, "lists the same endpoint twice", "remove one of them")
				continue
			}
			*to = append(*to, parsed)
		}
	}}
}

// which says which of several URLs on a line is meant, for it is not quoted.
func which(items []*node, i int) string {
	for j, other := range items {
		if j != i && other.line == items[i].line {
			return fmt.Sprintf("number %d ", i+1)
		}
	}
	return ""
}

func defaultPort(scheme string) (string, bool) {
	switch scheme {
	case "smtps":
		return "465", true
	case "smtp":
		return "587", true
	case "smtp+insecure":
		return "25", true
	}
	return "", false
}

func (d *decoder) parseURL(raw string) (UpstreamURL, fault) {
	example := `write it like "smtps://mail.example.com" or "smtp://mail.example.com:587"`
	if strings.Contains(raw, "@") {
		return UpstreamURL{}, fault{"holds a user or password", "move them to the keys username and password_file"}
	}
	parsed, err := url.Parse(raw)
	if err != nil || parsed.Opaque != "" || parsed.Hostname() == "" {
		return UpstreamURL{}, fault{"is not a URL we can read", example}
	}
	u := UpstreamURL{Raw: raw, Scheme: parsed.Scheme, Host: strings.ToLower(parsed.Hostname()), Port: parsed.Port()}
	port, known := defaultPort(u.Scheme)
	if !known {
		return u, fault{"has an unknown scheme", "use smtps:// (TLS), smtp:// (STARTTLS) or smtp+insecure:// (no TLS)"}
	}
	if u.Port == "" {
		u.Port = port
	}
	if f := checkPort(u.Port); f.what != "" {
		return u, f
	}
	if !isIP(u.Host) && !isDomain(strings.ReplaceAll(strings.TrimSuffix(u.Host, "."), "_", "-")) {
		return u, fault{"has no valid host", "name the server as its provider writes it; other scripts in their xn-- form"}
	}
	if parsed.Path != "" && parsed.Path != "/" || parsed.Fragment != "" {
		return u, fault{"goes on after the host", example}
	}
	u.ServerName = strings.TrimSuffix(u.Host, ".")
	return u, d.parseQuery(&u, parsed.RawQuery)
}

func checkPort(port string) fault {
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
		return fault{"has no valid port", "use a number from 1 to 65535"}
	}
	return fault{}
}

func (d *decoder) parseQuery(u *UpstreamURL, raw string) fault {
	query, err := url.ParseQuery(raw)
	if err != nil {
		return fault{"has a part after the ? that cannot be read", "write it like ?ca=provider.pem&servername=mail.example.com"}
	}
	for _, name := range slices.Sorted(maps.Keys(query)) {
		value := query.Get(name)
		switch {
		case name != "ca" && name != "servername":
			return fault{"has an unknown parameter after the ?", "known are ca and servername"}
		case u.insecure():
			return fault{"asks for " + name + ", but smtp+insecure uses no TLS", "remove it, or use smtp:// or smtps://"}
		case len(query[name]) > 1:
			return fault{"gives " + name + " twice", "keep one"}
		case name == "servername" && !isDomain(value) && !isIP(value):
			return fault{"has a servername that is no host name", "write the name that is in the server's certificate"}
		case name == "servername":
			u.ServerName = strings.ToLower(value)
		default:
			if f := d.loadCA(u, value); f.what != "" {
				return f
			}
		}
	}
	return fault{}
}

func (d *decoder) loadCA(u *UpstreamURL, path string) fault {
	u.CAFile = d.resolve(path)
	pem, _, err := readSmall(u.CAFile, 1<<20)
	if err != nil {
		return fault{"names a ca file that cannot be read: " + reason(err), "check the path; a relative one begins at the folder of the config file"}
	}
	u.Roots = x509.NewCertPool()
	if !u.Roots.AppendCertsFromPEM(pem) {
		return fault{"names a ca file without a certificate in it: " + u.CAFile, "it must be PEM: lines that begin with -----BEGIN CERTIFICATE-----"}
	}
	return fault{}
}

// resolve makes paths absolute: relative ones begin at the config's folder,
// wherever the command was started.
func (d *decoder) resolve(path string) string {
	if filepath.IsAbs(path) {
		return filepath.Clean(path)
	}
	return filepath.Join(d.dir, path)
}

// Address is host:port.
func (u UpstreamURL) Address() string { return net.JoinHostPort(u.Host, u.Port) }

func (u UpstreamURL) insecure() bool { return u.Scheme == "smtp+insecure" }

// loopback says that what is sent there stays on this machine.
func (u UpstreamURL) loopback() bool {
	if ip, err := netip.ParseAddr(u.Host); err == nil {
		return ip.Unmap().IsLoopback()
	}
	return isLocalhost(u.Host)
}

// reaches says that a connection to u arrives at a listener on ip and port.
func (u UpstreamURL) reaches(ip netip.Addr, port uint16) bool {
	if u.Port != strconv.Itoa(int(port)) {
		return false
	}
	host, err := netip.ParseAddr(u.Host)
	switch {
	case err == nil && host.IsUnspecified(): // connects to loopback
		return ip.IsUnspecified() || ip.IsLoopback()
	case err == nil && host.Unmap() == ip:
		return true
	}
	return u.loopback() && (ip.IsUnspecified() || err != nil && ip.IsLoopback())
}
