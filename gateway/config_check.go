package gateway

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
)

// maxSocketPath is what every system takes for the name of a unix socket: 104
// octets with the NUL at its end on the BSDs and macOS, 108 on Linux.
const maxSocketPath = 103

// check looks at what can only be judged when all of the file is known.
func (d *decoder) check(root *node) {
	c := d.config
	if runtime.GOOS != "windows" && d.mode&0o002 != 0 {
		d.problem(0, "", "everybody can write this file, and it can name commands to run", "run: chmod o-w "+shellQuote(d.path))
	}
	if c.DataDir == "" {
		d.problem(0, "data_dir", "has no default for a user without a home", `write data_dir = "/var/lib/mailroam"`)
	} else if socket := filepath.Join(c.DataDir, "control.sock"); len(socket) > maxSocketPath {
		d.problem(root.lineOf("data_dir"), "data_dir", fmt.Sprintf("is too long: %s would be %d octets, and the system takes no socket path over %d", socket, len(socket), maxSocketPath),
			"choose a shorter folder")
	}
	judged := slices.ContainsFunc(d.problems, func(p Problem) bool { return strings.HasPrefix(p.Key, "queue.retry") })
	if c.Queue.RetryInitial > c.Queue.RetryMax && !judged {
		retry := root.descend("queue", 0).descend("retry", 0)
		d.problem(max(retry.lineOf("initial"), retry.lineOf("max")), "queue.retry",
			fmt.Sprintf("the first wait (%s) is longer than the longest (%s)", spell(c.Queue.RetryInitial), spell(c.Queue.RetryMax)), "make initial the smaller one")
	}
	d.checkListen()
	d.checkUpstreams(root)
	d.checkRules()
}

// folder is a rule for a path.
func folder(to *string) rule {
	return rule{value: func(d *decoder, key string, n *node) {
		var written string
		text(&written, notEmpty).value(d, key, n)
		if written != "" {
			*to = d.resolve(written)
		}
	}}
}

// readableBy says whether users of mask may read the file. Other systems than
// unix keep that elsewhere.
func readableBy(mode, mask fs.FileMode) bool {
	return runtime.GOOS != "windows" && mode&mask&0o444 != 0
}

// reason is what the system said, without Go's "open" before it.
func reason(err error) string {
	var p *fs.PathError
	if errors.As(err, &p) {
		return p.Path + ": " + p.Err.Error()
	}
	return err.Error()
}
