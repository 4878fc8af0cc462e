//go:build linux

package lab

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"mailroam/gateway/e2e/peers"
)

var (
	rounds = flag.Int("lab.rounds", 1, "how often each scenario is played")
	soak   = flag.Duration("lab.soak", time.Minute, "how long the soak lasts")
)

// apart are the namespaces that the laboratory has of its own.
const apart = syscall.CLONE_NEWNS | syscall.CLONE_NEWPID | syscall.CLONE_NEWNET | syscall.CLONE_NEWIPC

// inside names the folder of the run to the process that plays it.
const inside = "MAILROAM_LAB_DIR"

// world is built by TestMain; skip says why it was not.
var (
	world *lab
	skip  string
)

func TestMain(m *testing.M) {
	flag.Parse()
	if dir := os.Getenv(inside); dir != "" {
		os.Exit(play(m, dir))
	}
	if skip = missing(); skip == "" {
		// Not os.Exit, which package testing takes for a test's.
		syscall.Exit(isolate())
	}
	if os.Getenv("MAILROAM_LAB") != "" && os.Getenv("CI") != "" {
		// There a skipped test would pass for a proof.
		fmt.Fprintln(os.Stderr, "lab cannot run:", skip)
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// missing says what keeps the laboratory from running, or "".
func missing() string {
	if os.Getenv("MAILROAM_LAB") == "" {
		return "the laboratory is only built by `make lab` (MAILROAM_LAB=1)"
	}
	if err := peers.HavePostfix(); err != nil {
		return err.Error()
	}
	var absent []string
	for _, tool := range []string{"ip", "nft", "conntrack", "saslpasswd2"} {
		if _, err := exec.LookPath(tool); err != nil {
			absent = append(absent, tool)
		}
	}
	if len(absent) > 0 {
		return "not installed: " + strings.Join(absent, ", ")
	}
	try := exec.Command("/proc/self/exe", "-test.list", "^$")
	try.SysProcAttr = &syscall.SysProcAttr{Cloneflags: apart}
	try.Env = []string{"MAILROAM_LAB="}
	if err := try.Run(); err != nil {
		return fmt.Sprintf("this machine gives even root no namespaces: %v", err)
	}
	return ""
}

// isolate plays the tests in a process of its own, the first of new namespaces:
// the kernel ends all others with it and takes the networks down.
func isolate() int {
	// The kernel kills the child when the thread ends that started it.
	runtime.LockOSThread()
	dir, err := os.MkdirTemp("", "mailroam-lab-")
	if err == nil {
		err = os.Chmod(dir, 0o755) // Postfix walks through it as a user of its own
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	bin, err := peers.BuildMailroam(context.Background(), dir)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	cmd := exec.CommandContext(ctx, "/proc/self/exe", os.Args[1:]...)
	cmd.Env = append(os.Environ(), inside+"="+dir, "MAILROAM_BIN="+bin)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: apart,
		Pdeathsig:  syscall.SIGKILL,
	}
	err = cmd.Run()
	if err == nil || ctx.Err() != nil {
		_ = os.RemoveAll(dir)
	} else {
		fmt.Fprintln(os.Stderr, "lab: logs are in", dir)
	}
	if exit, ok := errors.AsType[*exec.ExitError](err); ok && exit.ExitCode() > 0 {
		return exit.ExitCode()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "lab:", err)
		return 1
	}
	return 0
}

// play is the first process of the namespaces.
func play(m *testing.M, dir string) int {
	if err := settle(dir); err != nil {
		fmt.Fprintln(os.Stderr, "lab: settling in:", err)
		return 1
	}
	var err error
	if world, err = build(dir); err != nil {
		fmt.Fprintln(os.Stderr, "lab:", err)
		return 1
	}
	code := m.Run()
	fmt.Print(world.table())
	if n := world.late(); n > 0 {
		fmt.Fprintf(os.Stderr, "lab: %d second copies arrived after their scenario\n", n)
		code = 1
	}
	if err := world.close(); err != nil {
		fmt.Fprintln(os.Stderr, "lab: closing:", err)
		code = 1
	}
	return code
}

// settle gives this process and its children a /proc, /run and resolver file of
// their own. An empty /run also keeps them from the machine's D-Bus, and so
// from what its NetworkManager thinks.
func settle(dir string) error {
	resolver := filepath.Join(dir, "resolv.conf")
	err := errors.Join(
		unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""),
		unix.Mount("proc", "/proc", "proc", 0, ""),
		unix.Mount("run", "/run", "tmpfs", 0, "mode=755"),
		os.WriteFile(resolver, nil, 0o644),
	)
	if err != nil {
		return err
	}
	// Postfix checks its configuration from here, and wants to see an address.
	if out, err := exec.Command("ip", "link", "set", "lo", "up").CombinedOutput(); err != nil {
		return fmt.Errorf("ip link set lo up: %w: %s", err, out)
	}
	target, err := filepath.EvalSymlinks("/etc/resolv.conf")
	if errors.Is(err, os.ErrNotExist) { // it led into /run
		if target, err = os.Readlink("/etc/resolv.conf"); err != nil {
			return err
		}
		if !filepath.IsAbs(target) {
			target = filepath.Join("/etc", target)
		}
		err = errors.Join(os.MkdirAll(filepath.Dir(target), 0o755), os.WriteFile(target, nil, 0o644))
	}
	if err != nil {
		return err
	}
	return unix.Mount(resolver, target, "", unix.MS_BIND, "")
}

// need gives the laboratory to a test.
func need(t *testing.T) *lab {
	t.Helper()
	if skip != "" {
		t.Skip(skip)
	}
	return world
}
