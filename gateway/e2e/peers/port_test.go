package peers

import (
	"fmt"
	"net"
	"os/exec"
	"testing"
)

// TestFreePortWhileProcessesStart: what is given out can be listened on at once.
// A child is, until it runs its own program, a copy of this process with all its
// sockets: a listener closed meanwhile lives on in it.
func TestFreePortWhileProcessesStart(t *testing.T) {
	stop, done := make(chan struct{}), make(chan struct{})
	defer func() { close(stop); <-done }()
	go func() {
		defer close(done)
		for {
			select {
			case <-stop:
				return
			default:
				_ = exec.Command("/bin/true").Run()
			}
		}
	}()
	for range 300 {
		port, err := FreePort()
		if err != nil {
			t.Fatal(err)
		}
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err != nil {
			t.Fatal(err)
		}
		_ = l.Close()
	}
}
