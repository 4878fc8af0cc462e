package main

import (
	"cmp"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	crand "crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"mailroam/gateway"
	"mailroam/gateway/admin"
	"mailroam/gateway/e2e/peers"
	"mailroam/gateway/sink"
	"mailroam/queue"
)

// TestMain makes the real main a command: the scripts and the examples run it
// as people do.
func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"mailroam": main})
}

func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 filepath.Join("testdata", "script"),
		RequireExplicitExec: true,
		UpdateScripts:       os.Getenv("UPDATE_SCRIPTS") != "", // for cmp; cmpenv is written by hand
		Setup: func(e *testscript.Env) error {
			e.Setenv("HOME", filepath.Join(e.WorkDir, "home"))
			e.Setenv("MAILROAM_CONFIG", filepath.Join(e.WorkDir, "config.toml"))
			e.Setenv("XDG_CONFIG_HOME", "")
			e.Setenv("XDG_STATE_HOME", "")
			e.Setenv("TZ", "UTC")
			e.Setenv("GORACE", raceExit)
			e.Values[sinksKey{}] = map[string]*sink.Server{}
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"exits": exits, "upstream": upstreamCmd, "fill": fill, "ready": ready, "mail": mailCmd,
			"await": await, "until": until, "signal": signalCmd, "cut": cut, "taken": taken,
			"cert": cert, "free": free, "tmpdir": tmpdir,
		},
	})
}

// raceExit: each command is a process, and under the race detector each would
// linger for a second at its end.
const raceExit = "atexit_sleep_ms=0"

type sinksKey struct{}

func sinks(ts *testscript.TestScript) map[string]*sink.Server {
	return ts.Value(sinksKey{}).(map[string]*sink.Server)
}

// exits CODE PROGRAM ARG… runs a command that must fail with this exit code,
// and with a last line that goes on, after the cause, with what to do.
func exits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits CODE PROGRAM ARG…")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	err = ts.Exec(args[1], args[2:]...)
	code := 0
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		code = exit.ExitCode()
	} else {
		ts.Check(err)
	}
	said := ts.ReadFile("stderr")
	if code != want {
		ts.Fatalf("exit code %d, want %d\n%s%s", code, want, ts.ReadFile("stdout"), said)
	}
	if want == 0 {
		return
	}
	lines := strings.Split(strings.TrimSuffix(said, "\n"), "\n")
	if last := lines[len(lines)-1]; !strings.HasPrefix(last, "mailroam: ") || !strings.Contains(last, "; ") {
		ts.Fatalf("the last line does not say what is wrong and what to do:\n%s", said)
	}
}

// upstream NAME [tls:CERT] [user:NAME:PASSWORD] [FAULT…] starts a practice
// upstream, with TLS from the first octet if there is a certificate, and puts
// its address into the variable NAME. With the one word "dead" nobody listens
// there.
func upstreamCmd(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 1 {
		ts.Fatalf("usage: upstream NAME [tls:CERT] [user:NAME:PASSWORD] [FAULT…]")
	}
	if len(args) == 2 && args[1] == "dead" {
		ts.Setenv(args[0], "127.0.0.1:1")
		return
	}
	l, err := peers.Listen()
	ts.Check(err)
	ts.Setenv(args[0], l.Addr().String())
	var o sink.Options
	for _, text := range args[1:] {
		if name, ok := strings.CutPrefix(text, "tls:"); ok {
			pair, err := tls.LoadX509KeyPair(ts.MkAbs(name+".pem"), ts.MkAbs(name+".key"))
			ts.Check(err)
			o.TLS, o.Implicit = &tls.Config{Certificates: []tls.Certificate{pair}}, true
			continue
		}
		if user, ok := strings.CutPrefix(text, "user:"); ok {
			name, password, _ := strings.Cut(user, ":")
			o.Users = map[string]string{name: password}
			continue
		}
		f, err := sink.ParseFault(text)
		ts.Check(err)
		o.Faults = append(o.Faults, f)
	}
	s := sink.New(o)
	sinks(ts)[args[0]] = s
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.Serve(ctx, l) }()
	ts.Defer(func() {
		stop()
		<-ended
	})
}

// cut NAME takes a practice upstream away, and waits until connections are
// refused: a listener of this process lives on, closed, in every child that is
// between its fork and its exec, and takes them there.
func cut(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: cut NAME")
	}
	sinks(ts)[args[0]].Cut()
	ts.Check(eventually(func() error {
		c, err := net.Dial("tcp", ts.Getenv(args[0]))
		if errors.Is(err, syscall.ECONNREFUSED) {
			return nil
		}
		if err == nil {
			err = c.Close()
		}
		return cmp.Or(err, fmt.Errorf("%s still answers", args[0]))
	}))
}

// taken NAME N says how many messages a practice upstream must have taken.
func taken(ts *testscript.TestScript, neg bool, args []string) {
	want, err := strconv.Atoi(args[1])
	ts.Check(err)
	if got := sinks(ts)[args[0]].Count(); neg || got != want {
		ts.Fatalf("%s took %d messages, want %d", args[0], got, want)
	}
}

// free VAR puts an address into a variable on which nobody listens.
func free(ts *testscript.TestScript, _ bool, args []string) {
	port, err := peers.FreePort()
	ts.Check(err)
	ts.Setenv(args[0], fmt.Sprintf("127.0.0.1:%d", port))
}

// tmpdir makes a folder with a short path for temporary files, since a socket's
// path is short: the script's own folder is deep already.
func tmpdir(ts *testscript.TestScript, _ bool, _ []string) {
	dir, err := os.MkdirTemp("", "s")
	ts.Check(err)
	ts.Defer(func() { _ = os.RemoveAll(dir) })
	ts.Setenv("TMPDIR", dir)
}

// cert NAME makes NAME.pem and NAME.key, which prove 127.0.0.1.
func cert(ts *testscript.TestScript, _ bool, args []string) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), crand.Reader)
	ts.Check(err)
	c := x509.Certificate{
		SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(crand.Reader, &c, &c, key.Public(), key)
	ts.Check(err)
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	ts.Check(err)
	ts.Check(os.WriteFile(ts.MkAbs(args[0]+".pem"), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600))
	ts.Check(os.WriteFile(ts.MkAbs(args[0]+".key"), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER}), 0o600))
}

// fill FILE… puts the values of variables into files, and makes them private.
func fill(ts *testscript.TestScript, neg bool, args []string) {
	for _, name := range args {
		path := ts.MkAbs(name)
		text := os.Expand(ts.ReadFile(name), ts.Getenv)
		ts.Check(os.WriteFile(path, []byte(text), 0o600))
		ts.Check(os.Chmod(path, 0o600))
	}
	if neg || len(args) == 0 {
		ts.Fatalf("usage: fill FILE…")
	}
}

func scriptClient(ts *testscript.TestScript) *admin.Client {
	cfg, err := gateway.Load(ts.Getenv("MAILROAM_CONFIG"))
	ts.Check(err)
	return admin.NewClient(admin.SocketPath(cfg.DataDir))
}

// eventually calls try until it is content.
func eventually(try func() error) error {
	deadline := time.Now().Add(time.Minute)
	for {
		err := try()
		if err == nil || time.Now().After(deadline) {
			return err
		}
		time.Sleep(10 * time.Millisecond) // polls another process
	}
}

func listening(c *admin.Client) error {
	s, err := c.Status(context.Background())
	if err == nil && len(s.Gateway.Listen) == 0 {
		err = errors.New("not listening yet")
	}
	return err
}

// ready waits until the gateway takes mail.
func ready(ts *testscript.TestScript, neg bool, _ []string) {
	c := scriptClient(ts)
	ts.Check(eventually(func() error { return listening(c) }))
}

// mail VAR FROM TO submits a message and puts its ID into a variable.
func mailCmd(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 3 {
		ts.Fatalf("usage: mail VAR FROM TO")
	}
	s, err := scriptClient(ts).Status(context.Background())
	ts.Check(err)
	id, err := submit(context.Background(), s.Gateway.Listen[0], letter{from: args[1], to: args[2], subject: "script", lines: []string{"hello"}})
	ts.Check(err)
	ts.Setenv(args[0], id.String())
}

// await ID STATE [N] waits until a message is in a state and was tried N times,
// once if that is left out: queued means that no pass has it.
func await(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 || len(args) > 3 {
		ts.Fatalf("usage: await ID STATE [N]")
	}
	c := scriptClient(ts)
	id, err := queue.ParseID(args[0])
	ts.Check(err)
	tries := 1
	if len(args) > 2 {
		tries, err = strconv.Atoi(args[2])
		ts.Check(err)
	}
	ts.Check(eventually(func() error {
		m, err := one(context.Background(), c, id)
		if err == nil && (string(m.State) != args[1] || len(m.Attempts) < tries) {
			err = fmt.Errorf("%s is %s after %d attempts", id, m.State, len(m.Attempts))
		}
		return err
	}))
}

// until REGEXP PROGRAM ARG… runs a command again and again until its output
// matches, for what a gateway comes to know by itself.
func until(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: until REGEXP PROGRAM ARG…")
	}
	want, err := regexp.Compile("(?m)" + args[0])
	ts.Check(err)
	ts.Check(eventually(func() error {
		err := ts.Exec(args[1], args[2:]...)
		if err == nil && !want.MatchString(ts.ReadFile("stdout")) {
			err = fmt.Errorf("no match for %q", args[0])
		}
		return err
	}))
}

// signal NAME sends a signal to the running gateway.
func signalCmd(ts *testscript.TestScript, neg bool, args []string) {
	s, err := scriptClient(ts).Status(context.Background())
	ts.Check(err)
	sig, ok := map[string]syscall.Signal{"HUP": syscall.SIGHUP, "TERM": syscall.SIGTERM, "INT": syscall.SIGINT}[args[0]]
	if neg || !ok {
		ts.Fatalf("usage: signal HUP|TERM|INT")
	}
	ts.Check(syscall.Kill(s.Gateway.PID, sig))
}
