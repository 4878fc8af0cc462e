package bolt_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"mailroam/queue"
	"mailroam/queue/bolt"
)

// In a process of its own 16 workers accept mail and send it to upstreams that
// are only lines on a pipe; kill -9 ends it at a random moment. The lines are
// the ledger: what the client was told, what each upstream has, and what was
// told to have been settled. The next process must know as much.

const (
	crashDir  = "MAILROAM_CRASH_DIR"
	crashSeed = "MAILROAM_CRASH_SEED"
	// crashMails, when set, is how many rounds one worker goes before it ends
	// in order.
	crashMails = "MAILROAM_CRASH_MAILS"
)

// How a child ends that could not go on.
const (
	exitPoisoned = 74
	exitFull     = 75
)

func TestCrash(t *testing.T) {
	if dir := os.Getenv(crashDir); dir != "" {
		crashChild(dir)
		return
	}
	kills := 20
	if os.Getenv("MAILROAM_TORTURE") != "" {
		kills = 200
	}
	dir := t.TempDir()
	l := &ledger{T: t, mail: map[queue.ID]*story{}}
	seed := rand.Uint64()
	t.Log("seed", seed)
	rnd := rand.New(rand.NewPCG(seed, 0))
	for round := range kills {
		l.kill(dir, seed+uint64(round), 1+rnd.IntN(300), time.Duration(rnd.IntN(10))*time.Millisecond)
		l.check(dir)
		if t.Failed() {
			t.Fatalf("after kill %d, seed %d", round+1, seed)
		}
	}
	t.Logf("%d kills: %d messages acknowledged, %d passes were open, %d recipients got a second copy, all of them in doubt", kills, l.acked, l.open, l.twice)
	if l.open < kills/2 || l.acked < 10*kills {
		t.Errorf("%d open passes and %d messages in %d kills are too few to show anything", l.open, l.acked, kills)
	}
}

// story is what the lines have told of one message.
type story struct {
	acked   bool
	dot     bool  // a pass past its MarkDot, not settled
	to      []int // the recipients of that dot
	settled [2]bool
	has     [2]int // copies that upstreams have
}

type ledger struct {
	*testing.T
	mail               map[queue.ID]*story
	acked, open, twice int
}

// child prepares a child that works in dir, under another command if need be.
func child(dir string, seed uint64, under ...string) *exec.Cmd {
	args := append(under, os.Args[0], "-test.run=^TestCrash$")
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Env = append(os.Environ(), crashDir+"="+dir, fmt.Sprint(crashSeed, "=", seed))
	cmd.Stderr = os.Stderr
	return cmd
}

// kill ends a child some lines into its life, and a moment later. A life counted
// in time would be an empty one on a busy machine.
func (l *ledger) kill(dir string, seed uint64, lines int, later time.Duration) {
	l.Helper()
	cmd := child(dir, seed)
	timer := time.AfterFunc(5*time.Minute, func() { _ = cmd.Process.Kill() })
	err := l.live(cmd, func() {
		if lines--; lines == 0 {
			timer.Reset(later)
		}
	})
	if err == nil || !strings.Contains(err.Error(), "killed") {
		l.Errorf("the child ended by itself: %v", err)
	}
}

// live runs a child to its end and takes in its lines, each of which heard is
// told of.
func (l *ledger) live(cmd *exec.Cmd, heard func()) error {
	l.Helper()
	out, err := cmd.StdoutPipe()
	if err != nil {
		l.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		l.Fatal(err)
	}
	for lines := bufio.NewScanner(out); lines.Scan(); {
		heard()
		switch lines.Text() {
		case "ready", "PASS":
		default:
			l.line(lines.Text())
		}
	}
	return cmd.Wait()
}

func (l *ledger) line(s string) {
	f := strings.Fields(s)
	id, err := queue.ParseID(f[len(f)-1])
	if err != nil {
		l.Fatalf("line %q", s)
	}
	m := l.mail[id]
	if m == nil {
		m = &story{}
		l.mail[id] = m
	}
	var rcpts []int
	for _, c := range strings.Trim(f[1], "-") {
		rcpts = append(rcpts, int(c-'0'))
	}
	switch f[0] {
	case "ack":
		m.acked = true
		l.acked++
	case "dot":
		m.dot, m.to = true, rcpts
	case "has":
		for _, i := range rcpts {
			if m.settled[i] {
				l.Errorf("%s: recipient %d was settled and got another copy", id, i)
			}
			if m.has[i]++; m.has[i] > 1 {
				l.twice++
			}
		}
	case "settled": // delivered to these; the pass may go on
		for _, i := range rcpts {
			m.settled[i] = true
		}
	case "end":
		m.dot = false
	}
}

// check opens what the kill has left and holds it against the ledger.
func (l *ledger) check(dir string) {
	l.Helper()
	s := open(l.T, dir)
	defer s.Close()
	ses, err := s.Join(context.Background())
	if err != nil {
		l.Fatal(err)
	}
	for id, st := range l.mail {
		m, err := s.Get(context.Background(), id)
		if err != nil {
			if st.acked || !errors.Is(err, queue.ErrNotFound) {
				l.Errorf("%s was acknowledged: %v, and now: %v", id, st.acked, err)
			}
			continue
		}
		for i, r := range m.Recipients {
			if st.settled[i] && r.State != queue.Delivered {
				l.Errorf("%s: recipient %d was settled and is %s", id, i, r.State)
			}
			if r.State == queue.Delivered && st.has[i] == 0 {
				l.Errorf("%s: recipient %d is delivered, and nobody has it", id, i)
			}
		}
		if st.dot {
			l.open++
			for _, i := range st.to {
				if r := m.Recipients[i]; r.State == queue.Pending && r.Doubt == nil {
					l.Errorf("%s: the dot for recipient %d may have been sent, and it is in no doubt", id, i)
				}
			}
			st.dot = false
		}
		if m.State == queue.Done {
			continue
		}
		body, err := s.OpenBody(context.Background(), id)
		if err != nil {
			l.Errorf("%s has no body: %v", id, err)
			continue
		}
		if b, err := io.ReadAll(body); err != nil || string(b) != crashBody(id, len(b)) {
			l.Errorf("%s has a wrong body of %d octets: %v", id, len(b), err)
		}
	}
	if err := ses.Leave(context.Background()); err != nil {
		l.Error(err)
	}
}

func crashBody(id queue.ID, n int) string {
	return strings.Repeat(id.String(), n/26+1)[:n]
}

// crashChild lives until it is killed.
func crashChild(dir string) {
	die := func(err error) {
		switch {
		case errors.Is(err, queue.ErrPoisoned):
			os.Exit(exitPoisoned)
		case errors.Is(err, queue.ErrFull):
			os.Exit(exitFull)
		case err != nil:
			fmt.Fprintln(os.Stderr, "child:", err)
			os.Exit(1)
		}
	}
	seed, err := strconv.ParseUint(os.Getenv(crashSeed), 10, 64)
	die(err)
	s, err := bolt.Open(bolt.Options{Dir: dir, Ballast: 1 << 20})
	die(err)
	ses, err := s.Join(context.Background())
	die(err)
	_, err = io.WriteString(os.Stdout, "ready\n")
	die(err)
	if n, _ := strconv.Atoi(os.Getenv(crashMails)); n > 0 {
		w := &worker{ses: ses, rnd: rand.New(rand.NewPCG(seed, 0)), die: die}
		for range n {
			w.accept()
			w.claim()
		}
		die(ses.Leave(context.Background()))
		die(s.Close())
		return
	}
	var wg sync.WaitGroup
	for n := range 16 {
		wg.Go(func() {
			w := &worker{ses: ses, rnd: rand.New(rand.NewPCG(seed, uint64(n))), die: die}
			for {
				if w.rnd.IntN(2) == 0 {
					w.accept()
				} else {
					w.claim()
				}
			}
		})
	}
	wg.Wait()
}

type worker struct {
	ses queue.Session
	rnd *rand.Rand
	die func(error)
}

// say writes one line in one call: what the pipe has got, the parent gets.
func (w *worker) say(what, rcpts string, id queue.ID) {
	_, err := fmt.Fprintf(os.Stdout, "%s %s %s\n", what, rcpts, id)
	w.die(err)
}

func (w *worker) accept() {
	now := time.Now()
	n := queue.NewMessage{
		ID: queue.NewID(), Accepted: now, ReversePath: "a@example.com", Recipients: queue.To("b@example.org", "c@example.org"),
		Filing: queue.Filing{Lane: "A", Due: now, Age: now.Add(time.Hour)},
	}
	d, err := w.ses.NewDraft(context.Background(), n.ID)
	w.die(err)
	size := 1 + w.rnd.IntN(9000)
	if w.rnd.IntN(50) == 0 {
		size = 1<<20 + w.rnd.IntN(1<<20) // staged
	}
	defer d.Abort()
	_, err = io.WriteString(d, crashBody(n.ID, size))
	if errors.Is(err, queue.ErrFull) {
		return
	}
	w.die(err)
	if w.rnd.IntN(20) == 0 {
		return
	}
	first := []string{"", "A"}[w.rnd.IntN(2)]
	c, err := d.Commit(context.Background(), first, n)
	if errors.Is(err, queue.ErrFull) {
		return // as a client is told
	}
	w.die(err)
	w.say("ack", "-", n.ID)
	if first != "" {
		w.pass(c)
	}
}

func (w *worker) claim() {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Millisecond)
	defer cancel()
	cs, err := w.ses.Claim(ctx, queue.ClaimRequest{
		Lanes: []queue.LaneRequest{{Lane: "A", Upstream: "A"}}, Slots: map[string]int{"A": 1 + w.rnd.IntN(3)},
		Except: map[string]bool{"A": true}, Max: 1 + w.rnd.IntN(3),
	})
	w.die(err)
	for _, c := range cs {
		w.pass(c)
	}
}

// pass sends one message: to A, and what A does not take to B.
func (w *worker) pass(c queue.Claim) {
	ctx := context.Background()
	now := time.Now()
	o := queue.Outcome{At: now, Counted: true, Filing: queue.Filing{Lane: "A", Due: now, Age: now.Add(time.Hour)}}
	if c.Upstream == "" {
		w.settle(c, o)
		return
	}
	open := c.Pending()
	w.die(w.ses.MarkDot(ctx, c, open, "A", nil))
	w.say("dot", digits(open), c.ID)
	switch w.rnd.IntN(4) {
	case 0: // A takes nothing: whether that is still known after a kill does not matter
		w.say("end", "-", c.ID)
		o.Due = now.Add(time.Duration(w.rnd.IntN(20)) * time.Millisecond)
	case 1: // A takes the first, and B the others
		took := delivered("A", open[:1])
		w.say("has", digits(open[:1]), c.ID)
		if rest := open[1:]; len(rest) > 0 {
			w.die(w.ses.MarkDot(ctx, c, rest, "B", took))
			w.say("settled", digits(open[:1]), c.ID) // for good, though the pass goes on
			w.say("dot", digits(rest), c.ID)
			w.say("has", digits(rest), c.ID)
			took = append(took, delivered("B", rest)...)
		}
		o.Rcpts = took
	default:
		w.say("has", digits(open), c.ID)
		o.Rcpts = delivered("A", open)
	}
	w.settle(c, o)
	var got []int
	for _, r := range o.Rcpts {
		got = append(got, r.Index)
	}
	w.say("settled", digits(got), c.ID)
	w.say("end", "-", c.ID)
}

// settle keeps its slot and tries again while the disk is full.
func (w *worker) settle(c queue.Claim, o queue.Outcome) {
	err := w.ses.Settle(context.Background(), c, o)
	for range 100 {
		if !errors.Is(err, queue.ErrFull) {
			break
		}
		time.Sleep(10 * time.Millisecond)
		err = w.ses.Settle(context.Background(), c, o)
	}
	w.die(err)
}

func delivered(by string, rcpts []int) (rs []queue.RcptResult) {
	for _, i := range rcpts {
		rs = append(rs, queue.RcptResult{Index: i, State: queue.Delivered, Last: queue.Answer{Upstream: by, Code: 250}})
	}
	return rs
}

func digits(rcpts []int) string {
	if len(rcpts) == 0 {
		return "-"
	}
	var b strings.Builder
	for _, i := range rcpts {
		b.WriteByte(byte('0' + i))
	}
	return b.String()
}
