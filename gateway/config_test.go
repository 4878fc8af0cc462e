package gateway

import (
	"errors"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write what the golden tests see")

// example is the file that users copy.
const example = "../config.toml.example"

func TestExampleIsValid(t *testing.T) {
	c, err := Load(example)
	if err != nil {
		t.Fatal(err)
	}
	if len(c.Upstreams) != 2 || c.Upstreams[0].Name != "work" || c.Upstreams[0].Limits.Connections != 4 || c.Upstreams[1].Limits.Connections != 16 {
		t.Errorf("upstreams are %+v", c.Upstreams)
	}
}

// Every key must stand in the example, set or in a comment that shows how, and
// a paragraph of words must come before it.
func TestExampleExplainsEveryKey(t *testing.T) {
	text, err := os.ReadFile(example)
	if err != nil {
		t.Fatal(err)
	}
	keys := knownKeys()
	if len(keys) < 25 {
		t.Fatalf("the table of keys is hardly all there is: %v", keys)
	}
	shown := explained(string(text))
	for _, key := range keys {
		if !shown[key] {
			t.Errorf("%s is not explained in config.toml.example", key)
		}
		delete(shown, key)
	}
	for key := range shown {
		t.Errorf("config.toml.example explains %s, which is no key", key)
	}
}

// explained reads keys and tables off the lines of an example, and counts
// those that have a comment above them or are shown in one.
func explained(text string) map[string]bool {
	shown := map[string]bool{}
	table, comment := "", false
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		inComment := strings.HasPrefix(line, "#")
		comment = comment && line != "" || inComment
		if name := strings.Trim(line, "[]"); strings.HasPrefix(line, "[") {
			table = name + "."
			continue
		}
		left, right, ok := strings.Cut(strings.TrimLeft(line, "# "), " = ")
		left = strings.TrimSpace(left)
		if !ok || strings.Contains(left, " ") || !comment {
			continue
		}
		inner, isTable := strings.CutPrefix(right, "{")
		if !isTable || strings.HasPrefix(inner, ` "`) { // its fields are the reader's own words
			shown[table+left] = true
			continue
		}
		for field := range strings.SplitSeq(strings.Trim(inner, " }"), ",") {
			name, _, _ := strings.Cut(field, "=")
			shown[table+left+"."+strings.TrimSpace(name)] = true
		}
	}
	return shown
}

// Each file in testdata/config-bad has the exact complaint beside it.
func TestBadConfigs(t *testing.T) {
	files, err := filepath.Glob("testdata/config-bad/*.toml")
	if err != nil || len(files) < 25 {
		t.Fatalf("%d files, %v", len(files), err)
	}
	t.Setenv("HOME", "/home/ann")
	t.Setenv("XDG_STATE_HOME", "")
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".toml")
		t.Run(name, func(t *testing.T) {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			// The path is made up so that no complaint depends on where the
			// checkout is; what the files name must be missing there anyway.
			_, err = Parse("/etc/mailroam/config.toml", text)
			var problems Problems
			if !errors.As(err, &problems) {
				t.Fatalf("Parse gives %v", err)
			}
			got := err.Error() + "\n"
			// Every password in these files holds this word.
			if strings.Contains(got, "hunter") {
				t.Error("the complaint shows the password")
			}
			golden := strings.TrimSuffix(file, ".toml") + ".want"
			if *update {
				if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if got != string(want) {
				t.Errorf("got:\n%swant:\n%s", got, want)
			}
		})
	}
}
