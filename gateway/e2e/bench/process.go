//go:build linux

package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// tree is the process pid and all that descend from it.
func tree(pid int) []int {
	children := make(map[int][]int)
	stats, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, file := range stats {
		if p, fields, err := readStat(file); err == nil {
			parent, _ := strconv.Atoi(fields[1])
			children[parent] = append(children[parent], p)
		}
	}
	all := []int{pid}
	for i := 0; i < len(all); i++ {
		all = append(all, children[all[i]]...)
	}
	return all
}

// readStat gives the fields of /proc/PID/stat behind the name, which may itself
// hold blanks: state is the first, the parent the second (proc(5)).
func readStat(file string) (pid int, fields []string, err error) {
	b, err := os.ReadFile(file)
	if err != nil {
		return 0, nil, err
	}
	end := bytes.LastIndexByte(b, ')')
	if end < 0 {
		return 0, nil, fmt.Errorf("%s: no name", file)
	}
	fields = strings.Fields(string(b[end+1:]))
	if len(fields) < 15 {
		return 0, nil, fmt.Errorf("%s: too few fields", file)
	}
	pid, err = strconv.Atoi(filepath.Base(filepath.Dir(file)))
	return pid, fields, err
}

// cpu is the processor time, user and system, of pid and all that descend from
// it: of the living by their own clocks, to the nanosecond, and of those that
// have ended by what the kernel added to their parents, in ticks of 10 ms.
func cpu(pid int) time.Duration {
	const tick = 10 * time.Millisecond // USER_HZ is 100 wherever Go runs on Linux
	var sum time.Duration
	for _, p := range tree(pid) {
		_, fields, err := readStat(fmt.Sprintf("/proc/%d/stat", p))
		if err != nil {
			continue // ended meanwhile: its parent has it now, or it is lost
		}
		var now unix.Timespec
		// The clock of another process: CPUCLOCK_SCHED of its pid.
		if err := unix.ClockGettime(int32(^p)<<3|2, &now); err == nil {
			sum += time.Duration(now.Nano())
		}
		for _, f := range fields[13:15] { // cutime, cstime
			n, _ := strconv.ParseInt(f, 10, 64)
			sum += time.Duration(n) * tick
		}
	}
	return sum
}

// usage is memory, in MiB, of a process and all that descend from it.
type usage struct {
	rss  float64 // counts a shared page once in each process
	pss  float64 // divides it among them
	anon float64 // pss without the pages of files, which the kernel can drop
}

func memory(pid int) usage {
	kib := make(map[string]float64)
	for _, p := range tree(pid) {
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", p))
		if err != nil {
			continue // ended meanwhile
		}
		for line := range strings.Lines(string(b)) {
			name, value, _ := strings.Cut(line, ":")
			if fields := strings.Fields(value); len(fields) == 2 && fields[1] == "kB" {
				n, _ := strconv.ParseFloat(fields[0], 64)
				kib[name] += n
			}
		}
	}
	return usage{rss: kib["Rss"] / 1024, pss: kib["Pss"] / 1024, anon: kib["Pss_Anon"] / 1024}
}
