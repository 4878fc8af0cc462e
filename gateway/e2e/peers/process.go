package peers

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"runtime"
	"syscall"
	"time"
)

// process is a server in the foreground, in a session of its own so that
// whatever it forked dies with it.
type process struct {
	cmd  *exec.Cmd
	done chan struct{}
	err  error // of Wait; read after done
}

func start(cmd *exec.Cmd) (*process, error) {
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	leadSession(cmd.SysProcAttr)
	dieWithParent(cmd.SysProcAttr)
	p := &process{cmd: cmd, done: make(chan struct{})}
	started := make(chan error)
	go func() {
		// The kernel sends the death signal when the thread ends that started the
		// child, so one thread stays with it for life.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		started <- err
		if err == nil {
			p.err = cmd.Wait()
			close(p.done)
		}
	}()
	if err := <-started; err != nil {
		return nil, fmt.Errorf("starting %s: %w", cmd.Path, err)
	}
	return p, nil
}

// PID is the process that was started.
func (p *process) PID() int { return p.cmd.Process.Pid }

// close asks the server to end, and kills it and its children if it has not
// within the grace. It reports a server that had already died by itself.
func (p *process) close(grace time.Duration) error {
	select {
	case <-p.done:
		return fmt.Errorf("%s had already ended: %v", p.cmd.Path, p.err)
	default:
	}
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("stopping %s: %w", p.cmd.Path, err)
	}
	timer := time.NewTimer(grace)
	defer timer.Stop()
	var late error
	select {
	case <-p.done:
	case <-timer.C:
		late = fmt.Errorf("%s did not end within %s of SIGTERM", p.cmd.Path, grace)
	}
	killSession(p.PID())
	<-p.done
	return late
}

// Dial opens a connection, as net.Dialer.DialContext does.
type Dial func(ctx context.Context, network, addr string) (net.Conn, error)

// ready waits until addr accepts a connection made by dial, the usual way when
// it is nil.
func (p *process) ready(ctx context.Context, dial Dial, addr string, within time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	if dial == nil {
		dial = (&net.Dialer{}).DialContext
	}
	for {
		conn, err := dial(ctx, "tcp", addr)
		if err == nil {
			return conn.Close()
		}
		select {
		case <-p.done:
			return fmt.Errorf("%s ended before it listened on %s: %v", p.cmd.Path, addr, p.err)
		case <-ctx.Done():
			return fmt.Errorf("waiting for %s on %s: %w", p.cmd.Path, addr, err)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// FreePort finds a TCP port on loopback that nobody listens on now. It is taken
// from below the range the kernel gives to outgoing connections, so that none of
// those sits on it before the server does. Its namesake of UDP, which no server
// here uses, stays with this process: that tells all tests which run beside this
// one that the port is taken, also while its server is not there.
//
// Whether somebody listens is asked by connecting. A listener of our own, closed
// again, would live on in any child that is between its fork and its exec.
func FreePort() (int, error) {
	for range 200 {
		port := 10000 + rand.IntN(20000)
		addr := fmt.Sprintf("127.0.0.1:%d", port)
		namesake, err := net.ListenPacket("udp", addr)
		if err != nil {
			continue
		}
		c, err := net.DialTimeout("tcp", addr, time.Second)
		if errors.Is(err, syscall.ECONNREFUSED) {
			go func() { _, _, _ = namesake.ReadFrom(nil) }() // else it would be collected
			return port, nil
		}
		if err == nil {
			_ = c.Close()
		}
		_ = namesake.Close()
	}
	return 0, errors.New("no free port on loopback between 10000 and 30000")
}

// Listen listens on a port of FreePort's, which stays this process's while the
// listener is closed and opened again.
func Listen() (net.Listener, error) {
	port, err := FreePort()
	if err != nil {
		return nil, err
	}
	return net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
}
