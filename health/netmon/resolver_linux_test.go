package netmon

import (
	"context"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// answer listens at a loopback address and answers every question for A with
// ip, all others with nothing (RFC 1035 section 4).
func answer(t *testing.T, at string, ip netip.Addr) {
	t.Helper()
	c, err := net.ListenPacket("udp", at)
	must(t, err)
	t.Cleanup(func() { _ = c.Close() })
	go func() {
		b := make([]byte, 512)
		for {
			n, from, err := c.ReadFrom(b)
			if err != nil {
				return
			}
			end := 12 // of the header; the question follows
			for end < n && b[end] != 0 {
				end += int(b[end]) + 1
			}
			end += 5
			if end > n {
				continue
			}
			reply := append([]byte{b[0], b[1], 0x81, 0x80, 0, 1, 0, 0, 0, 0, 0, 0}, b[12:end]...)
			if b[end-3] == 1 { // QTYPE A
				reply[7] = 1
				reply = append(reply, 0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4)
				reply = append(reply, ip.AsSlice()...)
			}
			_, _ = c.WriteTo(reply, from)
		}
	}()
}

// The very next lookup goes to the new network's server. The control: Go's own
// resolver, of the same file, asks the old one for some seconds.
func TestResolverRereads(t *testing.T) {
	if !apart(t) {
		return
	}
	lo, err := netlink.LinkByName("lo")
	must(t, err)
	must(t, netlink.LinkSetUp(lo))
	oldIP, newIP := netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("10.0.0.2")
	answer(t, "127.0.0.1:53", oldIP)
	answer(t, "127.0.0.2:53", newIP)

	file := filepath.Join(t.TempDir(), "resolv.conf")
	must(t, os.WriteFile(file, []byte("nameserver 127.0.0.1\n"), 0o600))
	must(t, unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""))
	must(t, unix.Mount(file, "/etc/resolv.conf", "", unix.MS_BIND, ""))

	ours, plain := NewResolver(file), &net.Resolver{PreferGo: true}
	ours.PreferGo = true // whatever nsswitch.conf says here
	lookup := func(r *net.Resolver) netip.Addr {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		all, err := r.LookupNetIP(ctx, "ip4", "mail.example.org.")
		if err != nil || len(all) != 1 {
			t.Fatalf("%v, %v", all, err)
		}
		return all[0].Unmap()
	}
	start := time.Now()
	for name, r := range map[string]*net.Resolver{"ours": ours, "Go's": plain} {
		if got := lookup(r); got != oldIP {
			t.Errorf("%s: %s before the change", name, got)
		}
	}
	must(t, os.WriteFile(file, []byte("nameserver 127.0.0.2\n"), 0o600))
	if got := lookup(ours); got != newIP {
		t.Errorf("ours: %s after the change", got)
	}
	if got := lookup(plain); got == oldIP {
		return
	}
	if took := time.Since(start); took < 5*time.Second {
		t.Errorf("Go's asks the new one after %v, so this test shows nothing", took)
	} else {
		t.Logf("no control: after %v Go's looks at the file, too", took)
	}
}
