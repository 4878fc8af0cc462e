package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/spf13/cobra"

	"mailroam/gateway"
	"mailroam/gateway/admin"
	"mailroam/gateway/sink"
	"mailroam/queue"
)

// commands lists c and all below it.
func commands(c *cobra.Command) []*cobra.Command {
	all := []*cobra.Command{c}
	for _, sub := range c.Commands() {
		all = append(all, commands(sub)...)
	}
	return all
}

// TestExamples runs every example that --help shows, as it stands there.
func TestExamples(t *testing.T) {
	a := &app{out: io.Discard, err: io.Discard, program: "mailroam"}
	root := a.root()
	root.InitDefaultHelpCmd()
	for _, c := range commands(root) {
		if c.Example == "" {
			t.Errorf("%s has no example", c.CommandPath())
		}
		for line := range strings.Lines(c.Example) {
			line = strings.TrimSpace(line)
			t.Run(line, func(t *testing.T) {
				if !strings.HasPrefix(line, c.CommandPath()) && c.HasParent() {
					t.Errorf("this is no example of %q", c.CommandPath())
				}
				t.Parallel()
				example(t, line)
			})
		}
	}
}

// example runs one command line in a home where a gateway runs with something
// in its queue. What would not end by itself is ended as a person would.
func example(t *testing.T, line string) {
	h := newHome(t)
	gw := h.start(t, "mailroam serve", "msg=start")
	h.fillQueue(t)
	switch {
	case strings.HasPrefix(line, "mailroam serve"):
		gw.interrupt(t)
		h.start(t, line, "msg=start").interrupt(t)
		return
	case strings.HasPrefix(line, "mailroam sink"):
		h.start(t, line, "listening on 127.0.0.1:").interrupt(t)
	case strings.Contains(line, "--watch"):
		h.start(t, line, "Mail can leave by work.").interrupt(t)
	default:
		c := h.command(line)
		var stdout, stderr bytes.Buffer
		c.Stdout, c.Stderr = &stdout, &stderr
		if err := c.Run(); err != nil || stderr.Len() > 0 || stdout.Len() == 0 {
			t.Errorf("%v\n%s%s", err, &stdout, &stderr)
		}
		done := strings.Contains(line, "--state done") // nothing is delivered here
		if strings.HasPrefix(line, "mailroam queue") && !done && strings.Contains(stdout.String(), "No message matches") {
			t.Errorf("shows nothing:\n%s", &stdout)
		}
	}
	gw.interrupt(t)
}

// home is a prepared environment.
type home struct {
	dir    string
	client *admin.Client
}

func newHome(t *testing.T) *home {
	t.Helper()
	// Not t.TempDir, which has the whole example in its name: a socket's path is
	// short.
	dir, err := os.MkdirTemp("", "example")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	h := &home{dir: dir}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var faults []sink.Fault
	for _, text := range []string{"rcpt:bob@example.net=451 4.2.0 later", "rcpt:carl@example.invalid=451 4.2.0 later"} {
		f, err := sink.ParseFault(text)
		if err != nil {
			t.Fatal(err)
		}
		faults = append(faults, f)
	}
	s := sink.New(sink.Options{Faults: faults})
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.Serve(ctx, l) }()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	config := fmt.Sprintf("data_dir = \"data\"\n[[listen]]\naddress = \"127.0.0.1:0\"\n[queue]\nretry = { initial = \"1h\", max = \"2h\" }\n[[upstream]]\nname = \"work\"\nurls = [\"smtp+insecure://%s\"]\n", l.Addr())
	if err := os.WriteFile(filepath.Join(h.dir, "config.toml"), []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	h.client = admin.NewClient(admin.SocketPath(filepath.Join(h.dir, "data")))
	return h
}

func (h *home) command(line string) *exec.Cmd {
	c := exec.Command("sh", "-c", "exec "+line)
	c.Dir = h.dir
	c.Env = append(os.Environ(), "MAILROAM_CONFIG="+filepath.Join(h.dir, "config.toml"), "GORACE="+raceExit)
	return c
}

// fillQueue queues messages that the examples speak of: delivered, waiting,
// waiting for long, held, and a held notice.
func (h *home) fillQueue(t *testing.T) {
	t.Helper()
	s, err := h.client.Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range []letter{
		{from: "dora@example.org", to: "ann@example.net"},
		{from: "dora@example.org", to: "bob@example.net"},
		{from: "dora@example.org", to: "carl@example.invalid"},
		{from: "", to: "bob@example.net"},
	} {
		id, err := submit(t.Context(), s.Gateway.Listen[0], l)
		if err != nil {
			t.Fatal(err)
		}
		if err := eventually(func() error {
			m, err := one(t.Context(), h.client, id)
			if err == nil && (len(m.Attempts) == 0 || m.State == queue.Leased) {
				err = fmt.Errorf("%s is %s", id, m.State)
			}
			return err
		}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := h.client.Apply(t.Context(), queue.OpHold, admin.Selection{From: "<>"}); err != nil {
		t.Fatal(err)
	}
}

// background is a command that runs until it is told to end.
type background struct {
	line  string
	cmd   *exec.Cmd
	stdin io.WriteCloser
	said  *said
}

// said gathers what a command prints.
type said struct {
	mu      sync.Mutex
	text    bytes.Buffer
	changed chan struct{} // closed and replaced at each write
}

func (s *said) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	close(s.changed)
	s.changed = make(chan struct{})
	return s.text.Write(b)
}

func (s *said) sofar() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.String()
}

// await waits until the command has said want after the first so many octets.
func (s *said) await(after int, want string) bool {
	late := time.After(time.Minute)
	for {
		s.mu.Lock()
		found, changed := strings.Contains(s.text.String()[after:], want), s.changed
		s.mu.Unlock()
		if found {
			return true
		}
		select {
		case <-changed:
		case <-late:
			return false
		}
	}
}

// start runs a command and waits until it says want.
func (h *home) start(t *testing.T, line, want string) *background {
	t.Helper()
	b := &background{line: line, cmd: h.command(line), said: &said{changed: make(chan struct{})}}
	b.cmd.Stdout, b.cmd.Stderr = b.said, b.said
	var err error
	if b.stdin, err = b.cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	if err := b.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = b.cmd.Process.Kill() })
	if !b.said.await(0, want) {
		_ = b.cmd.Process.Kill()
		_ = b.cmd.Wait()
		t.Fatalf("%s does not say %q:\n%s", line, want, b.said.sofar())
	}
	return b
}

// enter types a line and waits for what is said of it.
func (b *background) enter(t *testing.T, line, want string) {
	t.Helper()
	before := len(b.said.sofar())
	if _, err := io.WriteString(b.stdin, line+"\n"); err != nil {
		t.Fatalf("%v\n%s", err, b.said.sofar())
	}
	if !b.said.await(before, want) {
		t.Errorf("after %q %s does not say %q:\n%s", line, b.line, want, b.said.sofar())
	}
}

// interrupt ends it as Ctrl-C does; that is no failure.
func (b *background) interrupt(t *testing.T) {
	t.Helper()
	if err := b.cmd.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	if err := b.cmd.Wait(); err != nil {
		t.Errorf("%s: %v\n%s", b.line, err, b.said.sofar())
	}
}

// TestReadmeNamesAllCommands: the table in the README is the list of commands.
func TestReadmeNamesAllCommands(t *testing.T) {
	text, err := os.ReadFile(filepath.Join("..", "..", "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	a := &app{out: io.Discard, err: io.Discard, program: "mailroam"}
	for _, c := range a.root().Commands() {
		if !c.Hidden && !strings.Contains(string(text), "| `"+c.Name()) {
			t.Errorf("the README's table lacks %q", c.Name())
		}
	}
}

// TestReadmeConfigs: what the README tells people to write is right.
func TestReadmeConfigs(t *testing.T) {
	text, err := os.ReadFile(filepath.Join("..", "..", "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	t.Setenv("XDG_STATE_HOME", dir) // whoever runs this may have no home
	if err := os.WriteFile(filepath.Join(dir, "home.pw"), []byte("secret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	whole := ""
	for _, part := range strings.Split(string(text), "```toml\n")[1:] {
		block, _, _ := strings.Cut(part, "```")
		whole += block
	}
	if !strings.Contains(whole, "[[upstream]]") || !strings.Contains(whole, "[[listen]]") {
		t.Fatal("no examples found")
	}
	if _, err := gateway.Parse(filepath.Join(dir, "config.toml"), []byte(whole)); err != nil {
		t.Errorf("%v\n%s", err, whole)
	}
}
