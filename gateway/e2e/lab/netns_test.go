//go:build linux

package lab

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"

	"golang.org/x/sys/unix"
)

// netns is a network namespace, by its name.
type netns string

func newNetns(name string) (netns, error) {
	if out, err := exec.Command("ip", "netns", "add", name).CombinedOutput(); err != nil {
		return "", fmt.Errorf("ip netns add %s: %w: %s", name, err, out)
	}
	n := netns(name)
	// Else an address of IPv6 would be of no use for its first second or two.
	if err := n.sysctl("ipv6/conf/default/accept_dad", "0"); err != nil {
		return "", err
	}
	return n, n.ip("link set lo up")
}

// wrap is the command that runs another one inside, with a /sys that fits.
func (n netns) wrap() []string { return []string{"ip", "netns", "exec", string(n)} }

// do runs f on a thread inside. Sockets that f opens stay there.
func (n netns) do(f func() error) error {
	done := make(chan error)
	go func() {
		// Never unlocked: the thread ends with the goroutine, so that nothing
		// else ever finds itself inside.
		runtime.LockOSThread()
		done <- n.enter(f)
	}()
	return <-done
}

func (n netns) enter(f func() error) error {
	door, err := os.Open(filepath.Join("/run/netns", string(n)))
	if err != nil {
		return err
	}
	defer door.Close()
	if err := unix.Setns(int(door.Fd()), unix.CLONE_NEWNET); err != nil {
		return fmt.Errorf("entering %s: %w", n, err)
	}
	return f()
}

func (n netns) listen(addr string) (l net.Listener, err error) {
	err = n.do(func() error {
		l, err = net.Listen("tcp", addr)
		return err
	})
	return l, err
}

// dial takes IP addresses only: names would be looked up on another thread.
func (n netns) dial(ctx context.Context, network, addr string) (c net.Conn, err error) {
	err = n.do(func() error {
		c, err = (&net.Dialer{}).DialContext(ctx, network, addr)
		return err
	})
	return c, err
}

// run runs a tool inside.
func (n netns) run(stdin, name string, args ...string) error {
	return n.do(func() error {
		cmd := exec.Command(name, args...)
		cmd.Stdin = strings.NewReader(stdin)
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("%s: %s %s: %w: %s", n, name, strings.Join(args, " "), err, out)
		}
		return nil
	})
}

// ip runs ip(8) commands, one a line.
func (n netns) ip(commands string) error { return n.run(commands, "ip", "-batch", "-") }

// nft loads a ruleset.
func (n netns) nft(rules string) error { return n.run(rules, "nft", "-f", "-") }

// sysctl sets what is below /proc/sys/net.
func (n netns) sysctl(key, value string) error {
	return n.do(func() error {
		return os.WriteFile(filepath.Join("/proc/sys/net", key), []byte(value), 0)
	})
}
