// Package rooms holds the code to the import rules: what each room is for
// decides what it may know.
package rooms

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"path"
	"slices"
	"strings"
	"testing"
)

const module = "mailroam"

// may says which of our packages each of our packages may import. A package
// that is not listed has no room yet: give it one here first.
var may = map[string][]string{
	"cmd/mailroam":     {"gateway", "gateway/admin", "gateway/sink", "queue"},
	"gateway":          {"gateway/msa", "gateway/dispatch", "gateway/relay", "gateway/dsn", "gateway/admin", "queue", "queue/bolt", "health", "health/netmon", "gateway/alert"},
	"gateway/msa":      {"gateway/header", "queue"},
	"gateway/dispatch": {"gateway/relay", "gateway/dsn", "gateway/header", "queue", "health"},
	"gateway/relay":    {},
	"gateway/sink":     {},
	"gateway/header":   {},
	"gateway/dsn":      {"queue"},
	"gateway/admin":    {"queue", "health", "gateway/alert"},
	"gateway/alert":    {"queue", "health"},
	"queue":            {},
	"queue/bolt":       {"queue"},
	"queue/queuetest":  {"queue"},
	"health":           {"health/netmon"},
	"health/netmon":    {},
}

// outside is for the packages under gateway/e2e, which drive the built binary:
// they may know the practice upstream and one another, and nothing else.
const outside = "gateway/e2e"

// forbidden are names that say nothing about what is inside.
var forbidden = []string{"internal", "util", "utils", "common", "types", "helpers", "misc"}

// pkg is what `go list` tells of a package.
type pkg struct {
	ImportPath string
	Imports    []string
}

// wrong says what is wrong with a package, one line each.
func wrong(p pkg) (all []string) {
	name, ours := strings.CutPrefix(p.ImportPath, module+"/")
	if !ours {
		return []string{p.ImportPath + " is not below " + module}
	}
	for part := range strings.SplitSeq(name, "/") {
		if slices.Contains(forbidden, part) {
			all = append(all, fmt.Sprintf("%s: %q names no idea", name, part))
		}
	}
	allowed, known := may[name]
	isOutside := strings.HasPrefix(name, outside+"/")
	if !known && !isOutside {
		all = append(all, name+" has no room: list it in this test with what it may import")
	}
	for _, imported := range p.Imports {
		imported, ours := strings.CutPrefix(imported, module+"/")
		switch {
		case !ours || slices.Contains(allowed, imported):
		case isOutside && (imported == "gateway/sink" || strings.HasPrefix(imported, outside+"/")):
		default:
			all = append(all, name+" must not import "+imported)
		}
	}
	return all
}

func TestImports(t *testing.T) {
	out, err := exec.Command("go", "list", "-json=ImportPath,Imports", module+"/...").Output()
	if err != nil {
		if exit, ok := errors.AsType[*exec.ExitError](err); ok {
			t.Fatalf("go list: %s", exit.Stderr)
		}
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for list := json.NewDecoder(bytes.NewReader(out)); ; {
		var p pkg
		if err := list.Decode(&p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		seen[strings.TrimPrefix(p.ImportPath, module+"/")] = true
		for _, w := range wrong(p) {
			t.Error(w)
		}
	}
	for name := range may {
		if !seen[name] {
			t.Errorf("%s is in the rules but not in the code", name)
		}
	}
}

// TestRulesCanFail: the rules above would notice.
func TestRulesCanFail(t *testing.T) {
	for _, p := range []pkg{
		{"mailroam/queue", []string{"mailroam/queue/bolt"}},
		{"mailroam/gateway/relay", []string{"mailroam/queue"}},
		{"mailroam/cmd/mailroam", []string{"mailroam/gateway/relay"}},
		{"mailroam/gateway/e2e/torture", []string{"mailroam/gateway"}},
		{path.Join(module, "attic"), nil},
		{"mailroam/gateway/e2e/util", nil},
		{"elsewhere", nil},
	} {
		if len(wrong(p)) == 0 {
			t.Errorf("%+v passed", p)
		}
	}
	if w := wrong(pkg{"mailroam/gateway/admin", []string{"context", "mailroam/queue", "mailroam/health"}}); len(w) > 0 {
		t.Error(w)
	}
}
