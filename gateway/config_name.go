package gateway

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"strings"
	"time"
)

// checkHostname: RFC 5321 4.1.1.1 wants a full domain name or, where there is
// none, an address literal. Servers refuse "localhost" and bare names.
func checkHostname(s string) fault {
	fix := `write a full domain name such as "gw.example.org", or leave the key out`
	name := strings.ToLower(s)
	switch {
	case isLocalhost(name):
		return fault{"other servers refuse the name localhost", fix}
	case strings.HasPrefix(s, "["):
		if !isAddressLiteral(s) {
			return fault{"is not an address literal", `write it like "[192.0.2.1]" or "[IPv6:2001:db8::1]"`}
		}
		return fault{}
	case isIP(s):
		return fault{"is an address, not a name", `in brackets it is an address literal: "[` + s + `]"`}
	case !isDomain(name):
		return fault{"is not a domain name", fix}
	case !isFullDomain(name):
		return fault{"is not a full domain name", fix}
	}
	return fault{}
}

func isLocalhost(name string) bool {
	switch name = strings.TrimSuffix(name, "."); name {
	case "localhost", "localhost.localdomain", "localhost6", "localhost6.localdomain6":
		return true
	}
	return strings.HasSuffix(name, ".localhost") // RFC 6761 6.3
}

func isIP(s string) bool {
	_, err := netip.ParseAddr(s)
	return err == nil
}

// isAddressLiteral follows RFC 5321 4.1.3.
func isAddressLiteral(s string) bool {
	s, ok := strings.CutPrefix(s, "[")
	s, closed := strings.CutSuffix(s, "]")
	v6, tagged := strings.CutPrefix(s, "IPv6:")
	addr, err := netip.ParseAddr(v6)
	return ok && closed && err == nil && addr.Zone() == "" && addr.Is6() == tagged
}

// isDomain follows RFC 1123 2.1: letters, digits and inner hyphens.
func isDomain(s string) bool {
	if s == "" || len(s) > 253 {
		return false
	}
	for label := range strings.SplitSeq(s, ".") {
		if label == "" || len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' {
			return false
		}
		for i := range len(label) {
			if !isAlphanumeric(label[i]) && label[i] != '-' {
				return false
			}
		}
	}
	return true
}

// isFullDomain: at least two labels, the last of which is no number, so that
// no address passes for a name.
func isFullDomain(s string) bool {
	dot := strings.LastIndexByte(s, '.')
	return isDomain(s) && dot > 0 && strings.Trim(s[dot+1:], "0123456789") != ""
}

func isAlphanumeric(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
}

// splitAddress takes local-part@domain apart, at the last "@" for a local part
// may be quoted. The domain comes back in lower case.
func splitAddress(s string) (local, domain string, ok bool) {
	at := strings.LastIndexByte(s, '@')
	if at < 0 {
		return "", "", false
	}
	local, domain = s[:at], strings.ToLower(s[at+1:])
	return local, domain, isLocalPart(local) && isFullDomain(domain)
}

// isLocalPart follows RFC 5321 4.1.2, and takes dots where they come.
func isLocalPart(s string) bool {
	if s == "" || len(s) > 64 {
		return false
	}
	special := `()<>[]:;@\," `
	if inner, ok := strings.CutPrefix(s, `"`); ok {
		if inner, ok = strings.CutSuffix(inner, `"`); !ok {
			return false
		}
		s, special = strings.NewReplacer(`\\`, "", `\"`, "").Replace(inner), `\"`
	}
	return strings.IndexFunc(s, func(r rune) bool { return r < ' ' || r >= 0x7f || strings.ContainsRune(special, r) }) < 0
}

// defaultHostname is the machine's full name where it has a usable one. The
// hosts file is asked, never the network: what we call ourselves must not
// hang on where we are, nor wait for a DNS server that does not answer.
func defaultHostname() string {
	name, err := os.Hostname()
	if err == nil && checkHostname(name) == (fault{}) {
		return name
	}
	hostsFile := &net.Resolver{PreferGo: true, Dial: func(context.Context, string, string) (net.Conn, error) {
		return nil, errors.New("no DNS here")
	}}
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	addrs, _ := hostsFile.LookupHost(ctx, name)
	for _, addr := range addrs {
		names, _ := hostsFile.LookupAddr(ctx, addr)
		for _, full := range names {
			full = strings.TrimSuffix(full, ".")
			if strings.HasPrefix(full, name+".") && checkHostname(full) == (fault{}) {
				return full
			}
		}
	}
	// The loopback address says nothing about the network we are in.
	return "[127.0.0.1]"
}
