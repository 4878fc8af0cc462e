package netmon

import (
	"bufio"
	"context"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/godbus/dbus/v5"
	"github.com/godbus/dbus/v5/prop"
)

// bus starts a private bus and makes it the system's for this test. It would
// start NetworkManager for whoever asks for it; started says that it did.
func bus(t *testing.T) (started func() bool) {
	t.Helper()
	return busWith(t, `<allow send_destination="*" eavesdrop="true"/><allow eavesdrop="true"/><allow own="*"/>`)
}

func busWith(t *testing.T, policy string) (started func() bool) {
	t.Helper()
	daemon, err := exec.LookPath("dbus-daemon")
	if err != nil {
		t.Skip("there is no dbus-daemon here")
	}
	dir := t.TempDir()
	address := "unix:path=" + filepath.Join(dir, "bus")
	config, mark := filepath.Join(dir, "bus.conf"), filepath.Join(dir, "started")
	must(t, os.WriteFile(config, []byte(`<busconfig>
		<type>session</type>
		<listen>`+address+`</listen>
		<servicedir>`+dir+`</servicedir>
		<policy context="default">`+policy+`</policy>
	</busconfig>`), 0o600))
	must(t, os.WriteFile(filepath.Join(dir, "nm.service"), []byte("[D-BUS Service]\nName=org.freedesktop.NetworkManager\nExec=/bin/sh -c 'touch "+mark+"; exit 1'\n"), 0o600))
	cmd := exec.CommandContext(t.Context(), daemon, "--nofork", "--print-address", "--config-file="+config)
	out, err := cmd.StdoutPipe()
	must(t, err)
	must(t, cmd.Start())
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	if line, err := bufio.NewReader(out).ReadString('\n'); err != nil || !strings.HasPrefix(line, "unix:") {
		t.Fatalf("dbus-daemon says %q: %v", line, err)
	}
	t.Setenv("DBUS_SYSTEM_BUS_ADDRESS", address)
	return func() bool {
		_, err := os.Stat(mark)
		return err == nil
	}
}

// manager is NetworkManager, as far as anybody asks.
func manager(t *testing.T, connectivity any) *prop.Properties {
	t.Helper()
	c, err := dbus.ConnectSystemBus()
	must(t, err)
	t.Cleanup(func() { _ = c.Close() })
	const name = "org.freedesktop.NetworkManager"
	p, err := prop.Export(c, "/org/freedesktop/NetworkManager", prop.Map{name: {"Connectivity": {Value: connectivity, Writable: true, Emit: prop.EmitFalse}}})
	must(t, err)
	if reply, err := c.RequestName(name, dbus.NameFlagDoNotQueue); err != nil || reply != dbus.RequestNameReplyPrimaryOwner {
		t.Fatalf("RequestName: %v, %v", reply, err)
	}
	return p
}

func ask(t *testing.T) Connectivity {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	return AskNetworkManager(ctx)
}

func TestAskNetworkManager(t *testing.T) {
	bus(t)
	p := manager(t, uint32(0))
	for state, want := range map[uint32]Connectivity{0: ConnUnknown, 1: ConnNone, 2: ConnPortal, 3: ConnLimited, 4: ConnFull, 5: ConnUnknown} {
		p.SetMust("org.freedesktop.NetworkManager", "Connectivity", state)
		if got := ask(t); got != want {
			t.Errorf("state %d: %q, should be %q", state, got, want)
		}
	}
}

// The control: whoever asks without care has it started.
func TestAskNetworkManagerStartsNothing(t *testing.T) {
	started := bus(t)
	if got := ask(t); got != ConnUnknown || started() {
		t.Errorf("without NetworkManager: %q, started is %v", got, started())
	}
	c, err := dbus.ConnectSystemBus()
	must(t, err)
	defer func() { _ = c.Close() }()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	const name = "org.freedesktop.NetworkManager"
	err = c.Object(name, "/").CallWithContext(ctx, "org.freedesktop.DBus.Peer.Ping", 0).Err
	if err == nil || !started() {
		t.Errorf("the bus starts nothing, so this test shows nothing: %v", err)
	}
}

func TestAskNetworkManagerOddly(t *testing.T) {
	bus(t)
	manager(t, "full")
	if got := ask(t); got != ConnUnknown {
		t.Errorf("a string is %q", got)
	}
}

func TestAskNetworkManagerWithoutBus(t *testing.T) {
	t.Setenv("DBUS_SYSTEM_BUS_ADDRESS", "unix:path="+filepath.Join(t.TempDir(), "none"))
	if got := ask(t); got != ConnUnknown {
		t.Errorf("without a bus: %q", got)
	}
}

// A bus that never answers is left when ctx ends, at whatever it is silent.
func TestAskNetworkManagerIsBounded(t *testing.T) {
	for name, silent := range map[string]func(t *testing.T){
		"to the login": func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "bus")
			l, err := net.Listen("unix", path)
			must(t, err)
			t.Cleanup(func() { _ = l.Close() })
			t.Setenv("DBUS_SYSTEM_BUS_ADDRESS", "unix:path="+path)
		},
		"after the login": func(t *testing.T) { busWith(t, `<allow send_destination="*"/>`) },
	} {
		t.Run(name, func(t *testing.T) {
			silent(t)
			start := time.Now()
			ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
			defer cancel()
			if got := AskNetworkManager(ctx); got != ConnUnknown {
				t.Errorf("%q", got)
			}
			if took := time.Since(start); took < 100*time.Millisecond || took > 20*time.Second {
				t.Errorf("took %v", took)
			}
		})
	}
}
