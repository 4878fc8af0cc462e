package interop

import (
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"mailroam/gateway/e2e/peers"
)

// upstream is a table [[upstream]] of the gateway's config.
type upstream struct {
	name     string
	url      string
	auth     string
	password string
}

// gateway is a running mailroam that Cleanup ends.
type gateway struct {
	*peers.Mailroam
	addr string
	// stop ends it, once, and says whether it ended as it should.
	stop func() error
}

// startGateway runs mailroam with these upstreams, in this order.
func (w *world) startGateway(t *testing.T, upstreams ...upstream) *gateway {
	t.Helper()
	port, err := peers.FreePort()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	addr := fmt.Sprintf("127.0.0.1:%d", port)
	var c strings.Builder
	// A server that takes its time to start a process is not silent.
	fmt.Fprintf(&c, "hostname = %q\ndata_dir = %q\n\n[[listen]]\naddress = %q\n\n[health]\nhedge = \"off\"\n", hostname, filepath.Join(dir, "data"), addr)
	for _, u := range upstreams {
		fmt.Fprintf(&c, "\n[[upstream]]\nname = %q\nurls = [%q]\nauth = %q\nusername = %q\npassword = %q\n",
			u.name, u.url, u.auth, username, u.password)
	}
	m, err := peers.StartMailroam(t.Context(), w.bin, dir, addr, c.String())
	if err != nil {
		t.Fatal(err)
	}
	stop := sync.OnceValue(m.Close)
	t.Cleanup(func() {
		if err := stop(); err != nil {
			t.Error(err)
		}
		if strings.Contains(m.Log(), password) {
			t.Error("the gateway's log holds the password")
		}
		if t.Failed() {
			t.Logf("the gateway's log:\n%s", m.Log())
		}
	})
	return &gateway{m, addr, stop}
}

// url is an endpoint proven by the test's CA.
func (w *world) url(scheme string, port int) string {
	return fmt.Sprintf("%s://localhost:%d?ca=%s", scheme, port, w.ca.File)
}
