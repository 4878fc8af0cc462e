//go:build linux

package lab

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/textproto"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"mailroam/gateway/e2e/peers"
)

const door = "127.0.0.1:2525" // of the gateway, on the laptop

// gateway is mailroam on the laptop.
type gateway struct {
	*peers.Mailroam
	t    *testing.T
	lab  *lab
	wrap []string // runs a command where the gateway is
	conf string

	ended bool

	mu  sync.Mutex
	ids map[string]string // of the queue, by token
}

// upstream writes a table [[upstream]]. Each URL trusts the lab's authority.
func (l *lab) upstream(name string, urls ...string) string {
	for i, u := range urls {
		urls[i] = fmt.Sprintf("%q", u+"?ca="+l.ca.File)
	}
	return fmt.Sprintf("[[upstream]]\nname = %q\nurls = [%s]\nusername = %q\npassword = %q\n", name, strings.Join(urls, ", "), username, password)
}

// first and second are the accounts at the providers' Postfix. The port that is
// blocked most often stands first.
func (l *lab) first() string {
	return l.upstream("a", "smtp://mail.provider-a.test:587", "smtps://mail.provider-a.test:465")
}

func (l *lab) second() string {
	return l.upstream("b", "smtp://mail.provider-b.test:587", "smtps://mail.provider-b.test:465")
}

// start runs mailroam with these tables until the test ends.
func (l *lab) start(t *testing.T, tables ...string) *gateway {
	t.Helper()
	return l.startBy(t, l.laptop.wrap(), tables...)
}

// startBy runs it by the command wrap.
func (l *lab) startBy(t *testing.T, wrap []string, tables ...string) *gateway {
	t.Helper()
	dir := filepath.Join(l.dir, fmt.Sprintf("gateway-%d", l.gateways.Add(1)))
	config := fmt.Sprintf("hostname = \"laptop.example.org\"\ndata_dir = %q\n[[listen]]\naddress = %q\n[log]\nlevel = \"debug\"\n", filepath.Join(dir, "data"), door) +
		strings.Join(tables, "")
	m, err := peers.StartMailroamWhere(l.ctx, l.laptop.dial, l.bin, dir, door, config, wrap...)
	if err != nil {
		t.Fatal(err)
	}
	g := &gateway{Mailroam: m, t: t, lab: l, wrap: wrap, conf: filepath.Join(dir, "config.toml"), ids: map[string]string{}}
	l.running = g
	t.Cleanup(func() {
		if err := g.end(); err != nil {
			t.Error(err)
		}
		if t.Failed() {
			t.Log("the gateway's log is " + filepath.Join(dir, "log"))
		}
	})
	return g
}

// end ends the gateway, once.
func (g *gateway) end() error {
	if g.ended {
		return nil
	}
	g.ended, g.lab.running = true, nil
	return g.Close()
}

// submit hands in n messages over so many connections side by side, each with
// size octets of text, and gives their tokens.
func (g *gateway) submit(n, side, size int) []string {
	g.t.Helper()
	var (
		mu   sync.Mutex
		all  []string
		errs []error
		work sync.WaitGroup
	)
	for i := range side {
		work.Go(func() {
			part, err := g.hand(n/side+min(1, max(0, n%side-i)), size)
			mu.Lock()
			defer mu.Unlock()
			all, errs = append(all, part...), append(errs, err)
		})
	}
	work.Wait()
	if err := errors.Join(errs...); err != nil {
		g.t.Fatalf("handing in mail: %v", err)
	}
	return all
}

// hand gives the tokens of those that were accepted.
func (g *gateway) hand(n, size int) (accepted []string, err error) {
	ctx, cancel := context.WithTimeout(g.lab.ctx, 10*time.Second)
	defer cancel()
	raw, err := g.lab.laptop.dial(ctx, "tcp", door)
	if err != nil {
		return nil, err
	}
	_ = raw.SetDeadline(time.Now().Add(time.Minute))
	c := textproto.NewConn(raw)
	defer c.Close()
	if _, _, err := c.ReadResponse(220); err != nil {
		return nil, err
	}
	ask := func(code int, line string) (text string) {
		if err == nil {
			if err = c.PrintfLine("%s", line); err == nil {
				_, text, err = c.ReadResponse(code)
			}
		}
		return text
	}
	ask(250, "EHLO client.test")
	filler := strings.Repeat("all work and no play makes a dull lab\r\n", size/39)
	for range n {
		token := fmt.Sprintf("t%06d", g.lab.tokens.Add(1))
		ask(250, "MAIL FROM:<"+sender+"@example.com>")
		ask(250, "RCPT TO:<bob@example.net>")
		ask(354, "DATA")
		reply := ask(250, "Message-ID: <"+token+"@lab.test>\r\nSubject: "+token+"\r\n\r\n"+secret+"\r\n"+filler+".")
		if err != nil {
			return accepted, err
		}
		accepted = append(accepted, token)
		g.mu.Lock()
		g.ids[token] = reply[strings.LastIndexByte(reply, ' ')+1:]
		g.mu.Unlock()
	}
	return accepted, nil
}

// status is what `mailroam status --json` says.
type status struct {
	Advice  []string `json:"advice"`
	Network struct {
		Online     bool    `json:"online"`
		OnlineFor  float64 `json:"online_for_s"`
		State      string  `json:"state"`
		Why        string  `json:"why"`
		Manager    string  `json:"manager"`
		Generation int     `json:"generation"`
	} `json:"network"`
	Upstreams []struct {
		Name      string `json:"name"`
		State     string `json:"state"`
		Why       string `json:"why"`
		Endpoint  string `json:"endpoint"`
		Preferred bool   `json:"preferred"`
	} `json:"upstreams"`
	Queue struct {
		Queued  int `json:"queued"`
		Leased  int `json:"leased"`
		Held    int `json:"held"`
		InDoubt int `json:"in_doubt"`
	} `json:"queue"`
}

func (g *gateway) status() (s status) {
	g.t.Helper()
	out, err := exec.Command(g.lab.bin, "status", "--json", "--config", g.conf).Output()
	if err == nil {
		err = json.Unmarshal(out, &s)
	}
	if err != nil {
		g.t.Fatalf("mailroam status: %v: %s", err, out)
	}
	return s
}

// retry asks for all mail at once, as a person would.
func (g *gateway) retry() {
	g.t.Helper()
	if out, err := exec.Command(g.lab.bin, "queue", "retry", "--all", "--config", g.conf).CombinedOutput(); err != nil {
		g.t.Errorf("mailroam queue retry: %v: %s", err, out)
	}
}

// until polls the status of the other process, and says after how long it was
// as wanted; ok is false when it never was.
func (g *gateway) until(within time.Duration, wanted func(status) bool) (took time.Duration, ok bool) {
	g.t.Helper()
	for began := time.Now(); ; time.Sleep(50 * time.Millisecond) {
		if wanted(g.status()) {
			return time.Since(began), true
		}
		if time.Since(began) > within {
			return within, false
		}
	}
}

// waitUp waits until the named upstreams get mail by their place: they are up,
// or only a delivery can show that they are.
func (g *gateway) waitUp(names ...string) {
	g.t.Helper()
	_, ok := g.until(30*time.Second, func(s status) bool {
		for _, u := range s.Upstreams {
			if slices.Contains(names, u.Name) && (u.State != "up" && u.State != "trial" || !u.Preferred) {
				return false
			}
		}
		return true
	})
	if !ok {
		g.t.Fatalf("not all of %v were up within 30 s: %+v", names, g.status())
	}
}

// keep sends a message, whose session is kept.
func (g *gateway) keep() {
	g.t.Helper()
	if g.lab.mail.wait(g.submit(1, 1, 1000), 20*time.Second) > 0 {
		g.t.Fatal("not even the first message arrived")
	}
	g.lab.settled(g.t)
}

// probe runs `mailroam probe` on the laptop.
func (g *gateway) probe() (out string, exit int) {
	g.t.Helper()
	args := slices.Concat(g.wrap[1:], []string{g.lab.bin, "probe", "--config", g.conf})
	ctx, cancel := context.WithTimeout(g.lab.ctx, time.Minute)
	defer cancel()
	b, err := exec.CommandContext(ctx, g.wrap[0], args...).CombinedOutput()
	if e, ok := errors.AsType[*exec.ExitError](err); ok {
		return string(b), e.ExitCode()
	}
	if err != nil {
		g.t.Fatal(err)
	}
	return string(b), 0
}
