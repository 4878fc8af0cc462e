//go:build linux

package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// fact is one thing to know about the machine before reading the table.
type fact struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

func machine(ctx context.Context, binary, dir string) []fact {
	output := func(name string, args ...string) string {
		out, err := exec.CommandContext(ctx, name, args...).Output()
		if err != nil {
			return "unknown: " + err.Error()
		}
		return strings.TrimSpace(string(out))
	}
	load, _ := os.ReadFile("/proc/loadavg")
	return []fact{
		{"processors", fmt.Sprintf("%d x %s", runtime.NumCPU(), field("/proc/cpuinfo", "model name"))},
		{"memory", field("/proc/meminfo", "MemTotal")},
		{"kernel", output("uname", "-sr")},
		{"disk", output("findmnt", "-no", "FSTYPE,SOURCE", "--target", dir)},
		{"sync", syncTime(dir)},
		{"load before", strings.Join(strings.Fields(string(load))[:3], " ")},
		{ours, output(binary, "version")},
		{theirs, output("postconf", "-dh", "mail_version")},
	}
}

// field is the value of the first "name: value" line of a file of /proc.
func field(file, name string) string {
	b, _ := os.ReadFile(file)
	for l := range strings.Lines(string(b)) {
		if k, v, ok := strings.Cut(l, ":"); ok && strings.TrimSpace(k) == name {
			return strings.TrimSpace(v)
		}
	}
	return "unknown"
}

// syncTime is what one append of 4 KiB and its fdatasync take here.
func syncTime(dir string) string {
	f, err := os.Create(filepath.Join(dir, "sync"))
	if err != nil {
		return err.Error()
	}
	defer f.Close()
	var took []float64
	block := make([]byte, 4<<10)
	for range 300 {
		began := time.Now()
		if _, err := f.Write(block); err != nil {
			return err.Error()
		}
		if err := unix.Fdatasync(int(f.Fd())); err != nil {
			return err.Error()
		}
		took = append(took, time.Since(began).Seconds()*1000)
	}
	return fmt.Sprintf("append 4 KiB + fdatasync: p50 %.2f ms, p99 %.2f ms", percentile(took, 50), percentile(took, 99))
}
