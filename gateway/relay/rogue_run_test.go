package relay

import (
	"bufio"
	"context"
	"net"
	"os"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// relayed has the sessions' mail delivered by an Upstream.
func relayed(ctx context.Context, s *session) (all []Result) {
	u := New(Options{
		Name: "rogue", Hello: "client.example", Username: s.username, Password: password("pw"), Dial: s.dial,
		Endpoints: []Endpoint{{Mode: s.mode, Host: "127.0.0.1", Port: "25"}},
	})
	defer u.CloseIdle()
	for _, d := range s.deliver {
		all = append(all, u.Deliver(ctx, d))
	}
	return all
}

// trusting is a client as one might write it on a Monday: each command, then
// one reply, whenever that came.
func trusting(ctx context.Context, s *session) (all []Result) {
	s.mode = Insecure
	for _, d := range s.deliver {
		nc, _ := s.dial(ctx, "", "")
		all = append(all, trust(nc, d))
		_ = nc.Close()
	}
	return all
}

func trust(nc net.Conn, d Delivery) (res Result) {
	r := bufio.NewReader(nc)
	res.Rcpts = make([]RcptResult, len(d.Recipients))
	for i := range res.Rcpts {
		res.Rcpts[i] = RcptResult{Stage: Mail, Err: errTest}
	}
	reply := func() (code string) {
		_ = nc.SetDeadline(time.Now().Add(time.Minute))
		for {
			line, err := r.ReadString('\n')
			if err != nil || len(line) > 3 && line[3] != '-' {
				return line
			}
		}
	}
	say := func(text string) string {
		_, _ = nc.Write([]byte(text + "\r\n"))
		return reply()
	}
	reply()
	for _, c := range []string{"EHLO x", "MAIL FROM:<ann@example.com>", "RCPT TO:<" + d.Recipients[0].Address + ">", "DATA"} {
		if answer := say(c); !strings.HasPrefix(answer, "2") && !strings.HasPrefix(answer, "354") {
			return res
		}
	}
	body, _ := d.Body(context.Background())
	buf := new(strings.Builder)
	_, _ = bufio.NewReader(body).WriteTo(buf)
	if strings.HasPrefix(say(strings.ReplaceAll(buf.String(), "\r\n.", "\r\n..")+"."), "2") {
		res.Rcpts[0] = RcptResult{Stage: Dot, Reply: Reply{Code: 250}}
	}
	return res
}

// try runs sessions and counts what went wrong.
func try(t *testing.T, from, to uint64, client func(context.Context, *session) []Result) map[string]int {
	wrong := map[string]int{}
	synctest.Test(t, func(t *testing.T) {
		for seed := from; seed < to; seed++ {
			s := newSession(seed)
			for _, w := range s.judge(client(t.Context(), s)) {
				if wrong[w.what]++; wrong[w.what] <= 3 {
					t.Logf("session %d: %s: %s", seed, w.what, w.more)
				}
			}
		}
	})
	return wrong
}

// TestRogues: whatever an upstream says, and whenever, nothing is delivered that
// it did not take, nothing is sent twice because it talks nonsense, and neither
// time nor memory is without bounds.
//
// Memory is measured in two ways: what a client read is all that it can
// remember, so the octets that each session took are counted; and all sessions
// together must leave nothing behind on the heap.
func TestRogues(t *testing.T) {
	sessions := uint64(20_000)
	switch {
	case os.Getenv("MAILROAM_TORTURE") == "1":
		sessions = 100_000
	case raced:
		sessions = 1_000
	}
	const lot = 1000
	var before, after runtime.MemStats
	began := time.Now()
	for seed := uint64(0); seed < sessions; seed += lot {
		if wrong := try(t, seed, seed+lot, relayed); len(wrong) > 0 {
			t.Errorf("in %d sessions from %d on: %v", lot, seed, wrong)
		}
		if seed == 0 {
			runtime.GC()
			runtime.ReadMemStats(&before)
		}
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	grown := (int64(after.HeapAlloc) - int64(before.HeapAlloc)) >> 10
	t.Logf("%d sessions in %v; the heap has grown by %d KiB", sessions, time.Since(began).Round(time.Millisecond), grown)
	if grown > 4<<10 {
		t.Errorf("the heap has grown by %d KiB", grown)
	}
}

// TestRoguesFoolSome: the oracle sees a client that is fooled, and the rogues
// take enough mail for that to mean something.
func TestRoguesFoolSome(t *testing.T) {
	if wrong := try(t, 0, 1000, trusting); wrong["a false delivery"] < 10 {
		t.Errorf("a trusting client was hardly fooled: %v", wrong)
	} else {
		t.Logf("a trusting client: %v", wrong)
	}
	delivered := 0
	synctest.Test(t, func(t *testing.T) {
		for seed := range uint64(1000) {
			for _, res := range relayed(t.Context(), newSession(seed)) {
				for _, r := range res.Rcpts {
					if r.Accepted() {
						delivered++
					}
				}
			}
		}
	})
	if delivered < 300 {
		t.Errorf("only %d deliveries: the rogues are too bad to show anything", delivered)
	}
	t.Logf("%d deliveries in 1000 sessions", delivered)
}
