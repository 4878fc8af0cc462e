//go:build linux

package lab

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// manager is a real NetworkManager on the laptop, with a system bus of its own.
type manager struct {
	t   *testing.T
	lab *lab
	dir string
	log string
	cmd *exec.Cmd
}

// managed gives the laptop to NetworkManager until the test ends. It sees the
// laptop's namespace alone, and writes to an /etc and a /var/lib that are gone
// with the test.
func managed(t *testing.T, l *lab) *manager {
	t.Helper()
	for _, tool := range []string{"NetworkManager", "nmcli", "dbus-daemon"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("not installed: %s (Debian has it in network-manager and dbus-daemon)", tool)
		}
	}
	dir, err := os.MkdirTemp(l.dir, "manager-")
	must(t, err)
	m := &manager{t: t, lab: l, dir: dir, log: dir + ".log"}
	must(t, unix.Mount("manager", m.dir, "tmpfs", 0, "mode=755"))
	t.Cleanup(func() { must(t, unix.Unmount(m.dir, unix.MNT_DETACH)) })
	for _, name := range []string{"etc", "work", "lib", "profiles", "none"} {
		must(t, os.Mkdir(m.path(name), 0o700))
	}
	must(t, os.Chmod(m.path("etc"), 0o755)) // which /etc takes over
	m.mount("overlay", "/etc", "overlay", 0, fmt.Sprintf("lowerdir=/etc,upperdir=%s,workdir=%s", m.path("etc"), m.path("work")))
	m.mount(m.path("lib"), "/var/lib/NetworkManager", "", unix.MS_BIND, "")
	// It replaces the resolver file by a new one, which a mounted file would not let it.
	must(t, os.Remove("/etc/resolv.conf"))
	must(t, os.WriteFile("/etc/resolv.conf", nil, 0o644))

	m.write("bus.conf", `<busconfig>
	<type>system</type>
	<listen>`+m.bus()+`</listen>
	<auth>EXTERNAL</auth>
	<policy context="default">
		<allow user="*"/><allow own="*"/><allow send_destination="*" eavesdrop="true"/><allow eavesdrop="true"/>
	</policy>
</busconfig>`)
	m.write("main.conf", fmt.Sprintf(`[main]
plugins=keyfile
auth-polkit=false
rc-manager=file
dns=default
no-auto-default=*
[keyfile]
path=%s
[connectivity]
uri=http://%s.10/
interval=3600
`, m.path("profiles"), providerHosts["a"][0]))
	bus := exec.Command("dbus-daemon", "--nofork", "--nopidfile", "--config-file="+m.path("bus.conf"))
	must(t, bus.Start())
	t.Cleanup(func() { _ = bus.Process.Kill(); _ = bus.Wait() })

	web, err := l.a.listen(providerHosts["a"][0] + ".10:80")
	must(t, err)
	t.Cleanup(func() { _ = web.Close() })
	go func() {
		_ = http.Serve(web, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			fmt.Fprintln(w, "NetworkManager is online") // what it takes for a proof
		}))
	}()

	l.out(t)
	t.Cleanup(func() { l.out(t) })
	m.start()
	t.Cleanup(m.stop)
	for _, w := range []*network{l.home, l.cafe, l.hotel, l.office} {
		profile := []string{
			"con", "add", "type", "ethernet", "con-name", string(w.netns), "ifname", "wlan0", "autoconnect", "no",
			"ipv6.method", "ignore", "ipv4.method", "manual", "ipv4.addresses", w.host4.String(), "ipv4.dns", w.lan4.Addr().String(),
		}
		if w.leads {
			profile = append(profile, "ipv4.gateway", w.lan4.Addr().String())
		}
		m.cli(profile...)
	}
	return m
}

func (m *manager) path(name string) string { return filepath.Join(m.dir, name) }

func (m *manager) write(name, text string) {
	m.t.Helper()
	must(m.t, os.WriteFile(m.path(name), []byte(text), 0o600))
}

func (m *manager) mount(source, target, kind string, flags uintptr, data string) {
	m.t.Helper()
	if err := unix.Mount(source, target, kind, flags, data); err != nil {
		m.t.Skipf("NetworkManager cannot be given a %s of its own: %v", target, err)
	}
	m.t.Cleanup(func() { must(m.t, unix.Unmount(target, unix.MNT_DETACH)) })
}

func (m *manager) bus() string { return "unix:path=" + m.path("bus") }

// wrap runs a command on the laptop, which then finds the bus.
func (m *manager) wrap() []string {
	return append(m.lab.laptop.wrap(), "env", "LC_ALL=C", "DBUS_SYSTEM_BUS_ADDRESS="+m.bus())
}

func (m *manager) command(args ...string) *exec.Cmd {
	all := append(m.wrap(), args...)
	return exec.Command(all[0], all[1:]...)
}

// start runs NetworkManager until stop. There is no udev to tell it of devices;
// with a /sys that cannot be written to it does not wait for one.
func (m *manager) start() {
	m.t.Helper()
	log, err := os.OpenFile(m.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	must(m.t, err)
	defer log.Close()
	m.cmd = m.command(
		"sh", "-c", `mount -o remount,ro /sys && exec "$@"`, "sh", "NetworkManager", "--debug", "--log-level=INFO", "--config="+m.path("main.conf"),
		"--config-dir="+m.path("none"), "--system-config-dir="+m.path("none"), "--intern-config="+m.path("intern.conf"),
	)
	m.cmd.Stdout, m.cmd.Stderr = log, log
	must(m.t, m.cmd.Start())
	m.until("is running", func() bool {
		out, err := m.command("nmcli", "-t", "-f", "RUNNING", "general").CombinedOutput()
		return err == nil && strings.TrimSpace(string(out)) == "running"
	})
}

func (m *manager) stop() {
	_ = m.cmd.Process.Signal(unix.SIGTERM)
	_ = m.cmd.Wait()
}

// until polls the other process.
func (m *manager) until(what string, is func() bool) {
	m.t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !is(); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(deadline) {
			log, _ := os.ReadFile(m.log)
			m.t.Fatalf("not within 30 s: NetworkManager %s:\n%s", what, log)
		}
	}
}

// cli runs nmcli, which waits until what it asks for is done.
func (m *manager) cli(args ...string) string {
	m.t.Helper()
	out, err := m.command(append([]string{"nmcli"}, args...)...).CombinedOutput()
	if err != nil {
		log, _ := os.ReadFile(m.log)
		m.t.Fatalf("nmcli %s: %v: %s\n%s", strings.Join(args, " "), err, out, log)
	}
	return strings.TrimSpace(string(out))
}

// join has NetworkManager walk into a network.
func (m *manager) join(w *network) time.Time {
	m.t.Helper()
	must(m.t, errors.Join(m.lab.laptop.unplug(), m.lab.laptop.plugInto(w)))
	m.cli("con", "up", string(w.netns))
	return time.Now()
}

// thinks waits until NetworkManager thinks so of the network.
func (m *manager) thinks(what string) {
	m.t.Helper()
	m.until("thinks "+what, func() bool { return m.cli("networking", "connectivity", "check") == what })
}

// metric is that of the default route.
func (m *manager) metric() string {
	m.t.Helper()
	out, err := m.command("ip", "-4", "route", "show", "default").CombinedOutput()
	must(m.t, err)
	words := strings.Fields(string(out))
	if i := slices.Index(words, "metric"); i >= 0 && i+1 < len(words) {
		return words[i+1]
	}
	return ""
}

// TestNetworkManager: a real one moves the laptop, writes its resolver file, and
// says what it thinks of the network. It judges by the web alone.
func TestNetworkManager(t *testing.T) {
	l := need(t)
	m := managed(t, l)
	t.Cleanup(func() { must(t, errors.Join(l.home.calm(), l.hotel.calm())) })
	m.join(l.home)
	g := l.startBy(t, m.wrap(), l.first())
	g.waitUp("a")
	wait := func(what string, is func(status) bool) {
		t.Helper()
		if _, ok := g.until(20*time.Second, is); !ok {
			t.Errorf("%s: the status never said so, but %+v", what, g.status())
		}
	}
	says := func(state, manager, advice string) {
		t.Helper()
		wait(state+", "+manager, func(s status) bool {
			return s.Network.State == state && s.Network.Manager == manager &&
				(advice == "") == !slices.ContainsFunc(s.Advice, func(s string) bool { return strings.Contains(s, "captive portal") })
		})
	}
	probed := func(words string) {
		t.Helper()
		if out, _ := g.probe(); !strings.Contains(verdict(out), words) {
			t.Errorf("probe does not say %q:\n%s", words, out)
		}
	}

	for _, w := range []*network{l.cafe, l.home} {
		l.play(t, scenario{name: "NetworkManager finds the " + string(w.netns) + ", 5 wait", first: 3 * time.Second, last: 5 * time.Second, round: func() outcome {
			m.cli("dev", "disconnect", "wlan0")
			says("offline", "none", "")
			return outcome{tokens: g.submit(5, 1, 1000), since: m.join(w)}
		}})
	}

	// What it thinks it puts into the metric of the route, which is the same
	// way as before. Nor does it take the way along when it ends.
	before, metric := g.status().Network.Generation, m.metric()
	must(t, l.home.trouble(noWeb))
	m.thinks("limited")
	m.until("gives the route another metric", func() bool { return m.metric() != metric })
	must(t, l.home.calm())
	m.thinks("full")
	m.until("gives the route its metric back", func() bool { return m.metric() == metric })
	m.stop()
	m.start()
	if after := g.status().Network.Generation; after != before {
		t.Errorf("the network was taken for another one: generation %d, then %d:\n%s", before, after, g.Log())
	}

	// A portal that only the web sees; mail is met with silence. One upstream
	// that is silent might be the upstream's own fault.
	const pause, patience = time.Second, 5 * time.Second // of the probes
	l.play(t, scenario{name: "a portal that NetworkManager knows of", first: pause + patience, rounds: 1, round: func() outcome {
		must(t, l.hotel.trouble(portal(0, 0)))
		m.join(l.hotel)
		m.thinks("portal")
		tokens := g.submit(1, 1, 1000)
		says("online", "portal", "captive portal")
		wait("silence", func(s status) bool { return strings.Contains(s.Upstreams[0].Why, "does not answer") })
		probed("says NetworkManager")
		must(t, l.hotel.calm())
		since := time.Now()
		wait("up again", func(s status) bool { return s.Upstreams[0].State == "up" })
		return outcome{tokens: tokens, since: since}
	}})

	m.join(l.office)
	m.thinks("limited")
	says("offline", "limited", "")
	probed("no route")
	m.stop()
	says("offline", "", "")
	m.start()
}
