//go:build linux

package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// wrapped is wrap with the placeholder for the file it writes filled in.
func wrapped(wrap []string, dir, name string) []string {
	var all []string
	for _, w := range wrap {
		all = append(all, strings.ReplaceAll(w, "{}", filepath.Join(dir, name+".strace")))
	}
	return all
}

// syncs counts what each accepted message costs in sync calls, in a run of its
// own under strace. The seccomp filter stops a process at these calls only, so
// that messages still arrive together as they do without it.
func (b *bench) syncs(ctx context.Context) (err error) {
	if _, err := exec.LookPath("strace"); err != nil {
		b.say("no strace: syncs are not counted")
		return nil
	}
	b.say("counting syncs")
	dir := filepath.Join(b.dir, "syncs")
	relays, err := b.start(ctx, dir, "strace", "-D", "-f", "--seccomp-bpf", "-ttt", "-o", "{}",
		"-e", "trace=fsync,fdatasync,sync_file_range,msync,syncfs,sync", "-e", "signal=none")
	if err != nil {
		return err
	}
	type window struct {
		relay    *relay
		sessions int
		messages int
		from, to time.Time
	}
	var windows []window
	for _, r := range relays {
		if _, err = b.pass(ctx, r, load{messages: 100, sessions: 16, size: 4 << 10, deadline: 60 * time.Second}); err != nil {
			break
		}
		for _, sessions := range []int{1, 16, 64} {
			w := window{relay: r, sessions: sessions, messages: 500, from: time.Now()}
			l := load{messages: w.messages, sessions: sessions, size: 4 << 10, deadline: 60 * time.Second}
			if _, err = b.pass(ctx, r, l); err != nil {
				break
			}
			w.to = time.Now()
			windows = append(windows, w)
		}
	}
	if err = errors.Join(err, closeAll(relays)); err != nil {
		return fmt.Errorf("counting syncs: %w", err)
	}
	for _, w := range windows {
		n, err := countCalls(filepath.Join(dir, strings.ToLower(w.relay.name)+".strace"), w.from, w.to)
		if err != nil {
			return err
		}
		b.table.add(fmt.Sprintf("syncs, %s, connection each", plural(w.sessions)), "1/message", w.relay.name, float64(n)/float64(w.messages))
	}
	return nil
}

// countCalls counts the calls begun in a time, in strace's "PID SECONDS call(".
func countCalls(file string, from, to time.Time) (n int, err error) {
	f, err := os.Open(file)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		fields := strings.Fields(lines.Text())
		if len(fields) < 3 || !strings.Contains(fields[2], "(") { // "<... fsync resumed>", "+++ exited"
			continue
		}
		at, err := strconv.ParseFloat(fields[1], 64)
		if err != nil {
			continue
		}
		if t := time.UnixMicro(int64(at * 1e6)); !t.Before(from) && t.Before(to) {
			n++
		}
	}
	return n, lines.Err()
}
