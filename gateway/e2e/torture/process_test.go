package torture

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// binary is the mailroam under test, built once.
var binary string

func TestMain(m *testing.M) {
	os.Exit(func() int {
		dir, err := os.MkdirTemp("", "mailroam-torture")
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		defer os.RemoveAll(dir)
		binary = filepath.Join(dir, "mailroam")
		if out, err := exec.Command("go", "build", "-o", binary, "mailroam/cmd/mailroam").CombinedOutput(); err != nil {
			fmt.Fprintf(os.Stderr, "building mailroam: %v\n%s", err, out)
			return 1
		}
		return m.Run()
	}())
}

// process is one run of `mailroam serve`, with what its log says.
type process struct {
	cmd  *exec.Cmd
	addr string
	done chan struct{}

	mu        sync.Mutex
	delivered map[string]bool // queue IDs that were settled as delivered
	log       bytes.Buffer
}

// start runs the gateway and returns when its port answers.
func start(t *testing.T, config, addr string) *process {
	t.Helper()
	p := &process{cmd: exec.Command(binary, "serve", "--config", config), addr: addr, done: make(chan struct{}), delivered: map[string]bool{}}
	// The test's own death must not leave a gateway behind.
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	stderr, err := p.cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(p.done)
		for s := bufio.NewScanner(stderr); s.Scan(); {
			p.read(s.Bytes())
		}
		_ = p.cmd.Wait()
	}()
	for deadline := time.Now().Add(20 * time.Second); ; {
		c, err := net.Dial("tcp", addr)
		if err == nil {
			c.Close()
			return p
		}
		select {
		case <-p.done:
			t.Fatalf("mailroam ended at its start:\n%s", p.text())
		case <-time.After(5 * time.Millisecond): // polls another process
		}
		if time.Now().After(deadline) {
			t.Fatalf("mailroam does not listen after 20 s:\n%s", p.text())
		}
	}
}

func (p *process) read(line []byte) {
	var event struct{ Msg, ID string }
	p.mu.Lock()
	defer p.mu.Unlock()
	if json.Unmarshal(line, &event) == nil && event.Msg == "delivered" {
		p.delivered[event.ID] = true
	}
	if p.log.Len() < 1<<20 {
		p.log.Write(line)
		p.log.WriteByte('\n')
	}
}

func (p *process) text() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.log.String()
}

// kill ends it with SIGKILL and returns when the whole log was read.
func (p *process) kill() {
	_ = p.cmd.Process.Kill()
	<-p.done
}

// stop ends it with SIGTERM.
func (p *process) stop(t *testing.T) {
	t.Helper()
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-p.done:
	case <-time.After(70 * time.Second):
		p.kill()
		t.Errorf("mailroam did not end within 70 s of SIGTERM")
	}
	if code := p.cmd.ProcessState.ExitCode(); code != 0 {
		t.Errorf("mailroam ended with %d:\n%s", code, p.text())
	}
}

func writeConfig(t *testing.T, lines ...string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "config.toml")
	if err := os.WriteFile(path, []byte(strings.Join(lines, "\n")), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// freeAddr gives a loopback address that nobody listened on a moment ago.
func freeAddr(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}
