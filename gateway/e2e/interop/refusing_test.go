package interop

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"mailroam/gateway/e2e/peers"
)

// refusing is a Postfix each of whose listeners refuses in its own way.
type refusing struct {
	*peers.Postfix
	mail  mailbox
	ports map[string]int
}

// startRefusing runs one with a listener for each entry of options, by name.
// Mail for example.net is taken where nothing refuses it.
func (w *world) startRefusing(t *testing.T, main map[string]string, options map[string]map[string]string) *refusing {
	t.Helper()
	dir := w.open(t)
	folder := filepath.Join(dir, "mail")
	r := &refusing{mail: maildir(folder), ports: map[string]int{}}
	if err := os.Mkdir(folder, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Chown(folder, peers.Nobody, peers.Nobody); err != nil {
		t.Fatal(err)
	}
	cfg := peers.PostfixConfig{Dir: filepath.Join(dir, "postfix"), Main: map[string]string{
		"virtual_mailbox_domains":  "example.net",
		"virtual_mailbox_base":     folder,
		"virtual_mailbox_maps":     "texthash:" + filepath.Join(w.dir, "postfix-mailboxes"),
		"virtual_uid_maps":         fmt.Sprintf("static:%d", peers.Nobody),
		"virtual_gid_maps":         fmt.Sprintf("static:%d", peers.Nobody),
		"smtpd_relay_restrictions": "reject_unauth_destination",
	}}
	maps.Copy(cfg.Main, main)
	for name, o := range options {
		port, err := peers.FreePort()
		if err != nil {
			t.Fatal(err)
		}
		r.ports[name] = port
		cfg.Listen = append(cfg.Listen, peers.PostfixListener{Port: port, Options: o})
	}
	var err error
	if r.Postfix, err = peers.StartPostfix(t.Context(), cfg); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.Close(); err != nil {
			t.Error(err)
		}
		if t.Failed() {
			t.Logf("Postfix's log:\n%s", r.Log())
		}
	})
	return r
}

// open is a folder that the servers' users can walk through.
func (w *world) open(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp(w.dir, "test-")
	if err == nil {
		err = os.Chmod(dir, 0o755)
	}
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// policyServer speaks Postfix's policy delegation protocol and always says the
// same.
func policyServer(t *testing.T, action string) (address string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				for in := bufio.NewScanner(c); in.Scan(); {
					if in.Text() == "" { // ends a request
						fmt.Fprintf(c, "action=%s\n\n", action)
					}
				}
			}()
		}
	}()
	return l.Addr().String()
}

// failing is a gateway with upstreams on this machine, and what it says.
type failing struct {
	*gateway
	w      *world
	config string
}

// startFailing runs a gateway with these tables [[upstream]] and extra lines
// above them.
func (w *world) startFailing(t *testing.T, head string, upstreams ...string) *failing {
	t.Helper()
	port, err := peers.FreePort()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	addr := fmt.Sprintf("127.0.0.1:%d", port)
	config := fmt.Sprintf("hostname = %q\ndata_dir = %q\n%s\n[[listen]]\naddress = %q\n\n[health]\nhedge = \"off\"\n[queue]\nretry = { initial = \"1s\", max = \"5s\" }\n\n%s",
		hostname, filepath.Join(dir, "data"), head, addr, strings.Join(upstreams, "\n"))
	m, err := peers.StartMailroam(t.Context(), w.bin, dir, addr, config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := m.Close(); err != nil {
			t.Error(err)
		}
		if t.Failed() {
			t.Logf("the gateway's log:\n%s", m.Log())
		}
	})
	return &failing{&gateway{Mailroam: m, addr: addr}, w, filepath.Join(dir, "config.toml")}
}

// plain is a table [[upstream]] of a server on this machine, without TLS.
func plain(name string, port int) string {
	return fmt.Sprintf("[[upstream]]\nname = %q\nurls = [\"smtp+insecure://127.0.0.1:%d\"]\n", name, port)
}

// second is the one that takes everything.
func (w *world) second() string {
	return fmt.Sprintf("[[upstream]]\nname = \"second\"\nurls = [%q]\nauth = \"plain\"\nusername = %q\npassword = %q\n",
		w.url("smtp", w.ports.eximStartTLS), username, password)
}

// says runs a command of mailroam beside the running gateway.
func (f *failing) says(t *testing.T, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	out, err := exec.CommandContext(ctx, f.w.bin, append([]string{"--config", f.config}, args...)...).CombinedOutput()
	if err != nil {
		t.Fatalf("mailroam %v: %v: %s", args, err, out)
	}
	return string(out)
}

// record is what `queue show --json` tells of a message.
type record struct {
	ID         string
	State      string
	Recipients []struct {
		Address, State string
	} `json:"to"`
	Timeline []struct {
		Upstream, Stage, Verdict, Scope, Rule, Why, Text string
		Code                                             int
	}
}

// to finds the one message to an address, when it was tried and no pass has it:
// what a server has taken is settled a moment later.
func (f *failing) to(t *testing.T, address string) record {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		for _, state := range []string{"done", "queued", "held"} {
			var all []record
			out := f.says(t, "queue", "show", "--json", "--to", address, "--state", state)
			if err := json.Unmarshal([]byte(out), &all); err != nil {
				t.Fatalf("%v: %s", err, out)
			}
			if len(all) > 0 && len(all[0].Timeline) > 0 {
				return all[0]
			}
		}
	}
	t.Fatalf("nobody knows what became of mail to %s", address)
	return record{}
}
