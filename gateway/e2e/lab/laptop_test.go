//go:build linux

package lab

import (
	"fmt"
	"os"
	"path/filepath"
	"time"
)

// laptop is where mailroam runs. Its one cable, wlan0, has its other end in the
// network it is in.
type laptop struct {
	netns
	resolver string // the file behind its /etc/resolv.conf
	other    netns  // where the other end of the cable is
	at       *network
}

func newLaptop(dir string) (*laptop, error) {
	n, err := newNetns("laptop")
	if err != nil {
		return nil, err
	}
	l := &laptop{netns: n, resolver: filepath.Join(dir, "resolv.conf"), other: inet}
	if err := n.sysctl("ipv6/conf/default/accept_ra", "0"); err != nil {
		return nil, err
	}
	return l, n.ip("link add wlan0 type veth peer name air netns inet\nlink set wlan0 up")
}

// join walks into a network as a DHCP client does: the carrier comes, then the
// lease, the addresses, the routes, and last the resolver. The time is that of
// the first moment at which all is there.
func (l *laptop) join(w *network) (up time.Time, err error) {
	if err := l.leave(); err != nil {
		return up, err
	}
	if err := l.plugInto(w); err != nil {
		return up, err
	}
	time.Sleep(200 * time.Millisecond) // of discover, offer, request and acknowledgement
	if err := l.ip(fmt.Sprintf("addr add %s brd + dev wlan0", w.host4)); err != nil {
		return up, err
	}
	if w.leads {
		if err := l.ip(fmt.Sprintf("route add default via %s dev wlan0", w.lan4.Addr())); err != nil {
			return up, err
		}
	}
	if w.host6.IsValid() {
		err := l.ip(fmt.Sprintf("addr add %s dev wlan0 nodad\nroute add default via %s dev wlan0", w.host6, w.lan6.Addr()))
		if err != nil {
			return up, err
		}
	}
	err = l.resolve(w.lan4.Addr().String())
	return time.Now(), err
}

// plugInto puts the cable into a network, and nothing else.
func (l *laptop) plugInto(w *network) error {
	if err := l.other.ip("link set air netns " + string(w.netns)); err != nil {
		return err
	}
	l.other, l.at = w.netns, w
	return w.ip("link set air master lan\nlink set air up")
}

// unplug pulls the cable.
func (l *laptop) unplug() error { return l.other.ip("link set air down\nlink set air nomaster") }

// leave loses the carrier, and what the lease gave.
func (l *laptop) leave() error {
	if l.at == nil {
		return nil
	}
	l.at = nil
	if err := l.unplug(); err != nil {
		return err
	}
	// With its last address an interface loses its routes of IPv4; those of IPv6
	// go one by one.
	if err := l.run("", "ip", "-6", "route", "flush", "dev", "wlan0", "default"); err != nil {
		return err
	}
	if err := l.ip("addr flush dev wlan0 scope global"); err != nil {
		return err
	}
	return l.resolve("")
}

// resolve writes the resolver file in place: what is mounted is the file, not
// its name.
func (l *laptop) resolve(server string) error {
	text := "# no network\n"
	if server != "" {
		text = "nameserver " + server + "\n"
	}
	f, err := os.OpenFile(l.resolver, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	if _, err := f.WriteAt([]byte(text), 0); err != nil {
		_ = f.Close()
		return err
	}
	if err := f.Truncate(int64(len(text))); err != nil {
		_ = f.Close()
		return err
	}
	return f.Close()
}
