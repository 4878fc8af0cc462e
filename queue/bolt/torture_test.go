//go:build linux

package bolt_test

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"mailroam/queue"
	"mailroam/queue/bolt"
)

// The tests here let real system calls fail. They take minutes, a tracer or
// root, and so run in `make torture` only.

func torture(t *testing.T, tool string) {
	t.Helper()
	if os.Getenv("MAILROAM_TORTURE") == "" {
		t.Skip("MAILROAM_TORTURE is not set: run `make torture`")
	}
	if _, err := exec.LookPath(tool); err != nil {
		t.Skip(tool, "is not installed")
	}
}

// inject runs children in which a call fails, the n-th for every n, and checks
// the ledger after each. It ends when met has said five times in turn that a
// child did not get that far.
func inject(t *testing.T, how func(n int) string, step, most int, met func(dir string, n, exit int) bool) {
	t.Helper()
	torture(t, "strace")
	count, missed := 0, 0
	for n := 1; n < most && missed < 5; n += step {
		dir := t.TempDir()
		l := &ledger{T: t, mail: map[queue.ID]*story{}}
		fault := how(n)
		calls := fault[:strings.Index(fault, ":")]
		cmd := child(dir, uint64(n), "strace", "-f", "-qq", "-o", "/dev/null", "-e", "trace="+calls, "-e", "inject="+fault)
		cmd.Env = append(cmd.Env, crashMails+"=25")
		err := l.live(cmd, func() {})
		exit := 0
		if e := (*exec.ExitError)(nil); errors.As(err, &e) {
			exit = e.ExitCode() // -1: by a signal, which strace passes on
		} else if err != nil {
			t.Fatal(err)
		}
		if met(dir, n, exit) {
			count, missed = count+1, 0
		} else {
			missed++
		}
		l.check(dir)
		if missed > 0 && l.acked == 0 {
			t.Error("nothing was accepted")
		}
		if t.Failed() {
			t.Fatalf("with %s", fault)
		}
	}
	t.Logf("%d children met the fault", count)
	if count == 0 {
		t.Error("it never happened")
	}
}

// Each sync in turn fails once: the process ends by it, the next start finds
// all that was acknowledged.
func TestTortureSync(t *testing.T) {
	inject(t, func(n int) string { return fmt.Sprintf("fdatasync:error=EIO:when=%d", n) }, 1, 300, func(dir string, n, exit int) bool {
		if exit != exitPoisoned && exit != 0 && n > 1 { // the first is the file's birth
			t.Errorf("the child ended with %d", exit)
		}
		if p, err := bolt.Poisonings(dir); err != nil || exit == exitPoisoned && len(p) != 1 {
			t.Errorf("poisonings %v, %v", p, err)
		}
		return exit != 0
	})
}

// The same for syncs of whole files and folders.
func TestTortureFileSync(t *testing.T) {
	inject(t, func(n int) string { return fmt.Sprintf("fsync:error=EIO:when=%d", n) }, 1, 50, func(_ string, _, exit int) bool {
		return exit != 0
	})
}

// A kill at each write and each sync.
func TestTortureKill(t *testing.T) {
	inject(t, func(n int) string { return fmt.Sprintf("pwrite64,fdatasync:signal=SIGKILL:when=%d", n) }, 1, 400, func(_ string, _, exit int) bool {
		return exit != 0
	})
}

// A disk that is full for some writes: the process goes on or ends in order,
// nothing is lost, and nothing is poisoned.
func TestTortureFull(t *testing.T) {
	inject(t, func(n int) string { return fmt.Sprintf("pwrite64:error=ENOSPC:when=%d..%d", n, n+n%40) }, 4, 150, func(dir string, _, exit int) bool {
		if exit != 0 && exit != exitFull {
			t.Errorf("the child ended with %d", exit)
		}
		if p, err := bolt.Poisonings(dir); err != nil || len(p) != 0 {
			t.Errorf("poisonings %v, %v", p, err)
		}
		return true
	})
}

// A small disk is filled with mail, which then leaves.
func TestTortureSmallDisk(t *testing.T) {
	torture(t, "mount")
	if os.Getuid() != 0 {
		t.Skip("mounting a small disk needs root")
	}
	disk := t.TempDir()
	if err := unix.Mount("tmpfs", disk, "tmpfs", 0, "size=40m"); err != nil {
		t.Skip("mounting:", err)
	}
	t.Cleanup(func() { _ = unix.Unmount(disk, unix.MNT_DETACH) })
	dir := filepath.Join(disk, "queue")
	s, err := bolt.Open(bolt.Options{Dir: dir, Ballast: 4 << 20})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	ses, err := s.Join(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for round := range 3 {
		cs := fillUp(t, ses)
		if len(cs) < 50 {
			t.Fatalf("only %d messages found room", len(cs))
		}
		for _, c := range cs {
			if err := ses.Settle(t.Context(), c, queue.Outcome{Rcpts: delivered("up", []int{0})}); err != nil {
				t.Fatalf("round %d: %v", round, err)
			}
		}
		waitForRoom(t, ses)
	}
	select {
	case <-s.Poisoned():
		t.Error("a full disk has poisoned the store")
	default:
	}

	// A start on a disk without any room is no failure.
	id := fillUp(t, ses)[0].ID
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	filler, err := os.Create(filepath.Join(disk, "filler"))
	if err != nil {
		t.Fatal(err)
	}
	defer filler.Close()
	for {
		if _, err := filler.Write(make([]byte, 4096)); err != nil {
			break
		}
	}
	if s, err = bolt.Open(bolt.Options{Dir: dir, Ballast: 4 << 20}); err != nil {
		t.Fatal(err)
	}
	if _, err = s.Join(t.Context()); err != nil {
		t.Fatal(err)
	}
	if m, err := s.Get(t.Context(), id); err != nil || m.InDoubt() != "up" {
		t.Errorf("message %+v, %v", m, err)
	}
}

// fillUp stores mail, born leased, until there is no room.
func fillUp(t *testing.T, ses queue.Session) (cs []queue.Claim) {
	t.Helper()
	for {
		n := queue.NewMessage{ID: queue.NewID(), Recipients: queue.To("b@example.org")}
		d, err := ses.NewDraft(t.Context(), n.ID)
		if err != nil {
			t.Fatal(err)
		}
		_, err = io.WriteString(d, crashBody(n.ID, 100_000))
		var c queue.Claim
		if err == nil {
			c, err = d.Commit(t.Context(), "up", n)
		}
		d.Abort()
		if errors.Is(err, queue.ErrFull) {
			return cs
		}
		if err != nil {
			t.Fatal(err)
		}
		cs = append(cs, c)
	}
}

// waitForRoom tries until new mail is accepted again.
func waitForRoom(t *testing.T, ses queue.Session) {
	t.Helper()
	for range 100 {
		n := queue.NewMessage{ID: queue.NewID(), Recipients: queue.To("b@example.org")}
		d, err := ses.NewDraft(t.Context(), n.ID)
		if err != nil {
			t.Fatal(err)
		}
		c, err := d.Commit(t.Context(), "up", n)
		if err == nil {
			if err := ses.Settle(t.Context(), c, queue.Outcome{Rcpts: delivered("up", []int{0})}); err != nil {
				t.Fatal(err)
			}
			return
		}
		if !errors.Is(err, queue.ErrFull) {
			t.Fatal(err)
		}
		time.Sleep(100 * time.Millisecond)
	}
	t.Fatal("there is room, and new mail is still refused")
}
