package judgement

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/smtp"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"mailroam/gateway/e2e/peers"
	"mailroam/gateway/sink"
)

// binary is the mailroam under test, built once.
var binary string

func TestMain(m *testing.M) { os.Exit(peers.WithMailroam(m, &binary)) }

const (
	ann = "ann@example.com"
	bob = "bob@example.net"
)

// upstream is a practice upstream and what the config says of it.
type upstream struct {
	faults []string
	users  map[string]string
	config string // further lines of its table
	*sink.Server
	addr string
}

// scene is a gateway with upstreams named first, second and so on.
type scene struct {
	t         *testing.T
	dir, addr string
	config    string
	*peers.Mailroam
	upstreams []*upstream
}

var ordinals = []string{"first", "second", "third"}

// stage starts the upstreams and a gateway with these lines for its queue.
func stage(t *testing.T, queue string, upstreams ...*upstream) *scene {
	t.Helper()
	t.Parallel() // these tests wait more than they work
	port, err := peers.FreePort()
	if err != nil {
		t.Fatal(err)
	}
	s := &scene{t: t, dir: t.TempDir(), addr: fmt.Sprintf("127.0.0.1:%d", port), upstreams: upstreams}
	var c strings.Builder
	// A machine that stands still for a moment is no silent upstream.
	fmt.Fprintf(&c, "hostname = \"gw.example.org\"\ndata_dir = %q\n[[listen]]\naddress = %q\n[health]\nhedge = \"off\"\n[queue]\nretry = { initial = \"1s\", max = \"2s\" }\n%s\n", filepath.Join(s.dir, "data"), s.addr, queue)
	for i, u := range upstreams {
		u.serve(t)
		fmt.Fprintf(&c, "[[upstream]]\nname = %q\nurls = [\"smtp+insecure://%s\"]\n%s\n", ordinals[i], u.addr, u.config)
	}
	s.config = c.String()
	s.start()
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		if t.Failed() {
			t.Logf("config:\n%s\nlog:\n%s", s.config, s.Log())
		}
	})
	return s
}

func (u *upstream) serve(t *testing.T) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	u.addr = l.Addr().String()
	u.Server = sink.New(sink.Options{Keep: true, Users: u.users})
	u.fail(t, u.faults...)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- u.Serve(ctx, l) }()
	t.Cleanup(func() { cancel(); <-done })
}

// fail replaces the faults.
func (u *upstream) fail(t *testing.T, faults ...string) {
	t.Helper()
	var all []sink.Fault
	for _, text := range faults {
		f, err := sink.ParseFault(text)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, f)
	}
	u.SetFaults(all...)
}

// got counts the messages for an address that the upstream took.
func (u *upstream) got(to string) (n int) {
	for _, m := range u.Messages() {
		if slices.Contains(m.To, to) {
			n++
		}
	}
	return n
}

func (s *scene) start() {
	s.t.Helper()
	var err error
	if s.Mailroam, err = peers.StartMailroam(s.t.Context(), binary, s.dir, s.addr, s.config); err != nil {
		s.t.Fatal(err)
	}
}

// restart ends the gateway as a person does, and starts it again.
func (s *scene) restart() {
	s.t.Helper()
	if err := s.Close(); err != nil {
		s.t.Fatal(err)
	}
	s.start()
}

// submit sends a message from ann.
func (s *scene) submit(to ...string) {
	s.t.Helper()
	body := fmt.Sprintf("From: %s\r\nSubject: hello\r\n\r\nhello\r\n", ann)
	if err := smtp.SendMail(s.addr, nil, ann, to, []byte(body)); err != nil {
		s.t.Fatal(err)
	}
}

// says runs a command of mailroam beside the running gateway.
func (s *scene) says(args ...string) string {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), time.Minute)
	defer cancel()
	out, err := exec.CommandContext(ctx, binary, append([]string{"--config", filepath.Join(s.dir, "config.toml")}, args...)...).CombinedOutput()
	if err != nil {
		s.t.Fatalf("mailroam %v: %v: %s", args, err, out)
	}
	return string(out)
}

// want waits until something is so.
func (s *scene) want(what string, is func() bool) {
	s.t.Helper()
	for deadline := time.Now().Add(time.Minute); !is(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			s.t.Fatalf("it never came to this: %s\n%s\n%s", what, s.says("status"), s.says("queue", "show", "--to", bob))
		}
	}
}

// record is what `queue show --json` tells of a message.
type record struct {
	State      string
	Recipients []struct {
		Address, State string
	} `json:"to"`
	Timeline []struct {
		Upstream, Stage, Verdict, Scope, Rule, Why string
		Code                                       int
	}
}

// message is the one to bob, when it was tried and no pass has it: what an
// upstream has taken is settled a moment later.
func (s *scene) message() (m record) {
	s.t.Helper()
	s.want("a message that was tried and rests", func() bool {
		for _, state := range []string{"done", "queued", "held"} {
			var all []record
			out := s.says("queue", "show", "--json", "--to", bob, "--state", state)
			if err := json.Unmarshal([]byte(out), &all); err != nil {
				s.t.Fatalf("%v: %s", err, out)
			}
			if len(all) > 0 && len(all[0].Timeline) > 0 {
				m = all[0]
				return true
			}
		}
		return false
	})
	return m
}

// wantSaid checks what a text for people holds.
func (s *scene) wantSaid(text string, parts ...string) {
	s.t.Helper()
	for _, p := range parts {
		if !strings.Contains(text, p) {
			s.t.Errorf("want %q in:\n%s", p, text)
		}
	}
}
