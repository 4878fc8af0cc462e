package relay

import (
	"bytes"
	"errors"
	"strings"
	"testing"
)

func stuffed(body string, chunk int) (string, error) {
	var l lines
	var out []byte
	var err error
	for b := []byte(body); len(b) > 0; {
		n := min(chunk, len(b))
		if out, err = l.stuff(out, b[:n]); err != nil {
			return "", err
		}
		b = b[n:]
	}
	out, err = l.end(out)
	return string(out), err
}

func TestStuff(t *testing.T) {
	for in, want := range map[string]string{
		"":                     ".\r\n",
		"a\r\n":                "a\r\n.\r\n",
		"a":                    "a\r\n.\r\n",
		".":                    "..\r\n.\r\n",
		".\r\n":                "..\r\n.\r\n",
		"..\r\n":               "...\r\n.\r\n",
		"a\r\n.\r\nb.\r\n":     "a\r\n..\r\nb.\r\n.\r\n",
		"\r\n\r\n.x\r\n\r\n":   "\r\n\r\n..x\r\n\r\n.\r\n",
		"a.b\r\n.c.\r\nd\xff.": "a.b\r\n..c.\r\nd\xff.\r\n.\r\n",
	} {
		for chunk := 1; chunk < 9; chunk++ {
			if got, err := stuffed(in, chunk); err != nil || got != want {
				t.Errorf("%q by %d: got %q, %v; want %q", in, chunk, got, err, want)
			}
		}
	}
}

// TestStuffRefuses tries what could end a message early at an upstream that is
// generous about line ends.
func TestStuffRefuses(t *testing.T) {
	for _, odd := range []string{
		"\n.\n", "\n.\r\n", "\r\n.\n", "\r.\r", "\r.\r\n", "\r\n.\r", "\r\r\n", "\r\n.\r\r\n", "\n", "\r", "\x00", "\r\n\x00.\r\n", "\r\n.\x00\r\n", "\n\r", "\n\r.\r\n",
	} {
		for _, around := range [][2]string{{"", ""}, {"a", "b\r\n"}, {"a\r\n", "\r\nb\r\n"}} {
			in := around[0] + odd + around[1]
			for chunk := 1; chunk < 9; chunk++ {
				if got, err := stuffed(in, chunk); !errors.Is(err, errForm) && !(odd == "\r\n.\r" && around[1] == "\r\nb\r\n") {
					t.Errorf("%q by %d went out as %q", in, chunk, got)
				}
			}
		}
	}
}

func FuzzStuff(f *testing.F) {
	f.Add("Subject: x\r\n\r\n.a\r\n..\r\n", 3)
	f.Add("a\r", 1)
	f.Fuzz(func(t *testing.T, in string, chunk int) {
		chunk = 1 + int(uint(chunk)%64)
		out, err := stuffed(in, chunk)
		lone := strings.ContainsRune(in, 0) || strings.ContainsAny(strings.ReplaceAll(in, "\r\n", ""), "\r\n")
		if (err != nil) != lone {
			t.Fatalf("%q: err %v", in, err)
		}
		if err != nil {
			return
		}
		// Any reader of data, even one that takes CR or LF for a line end, sees
		// the same message and one end.
		body, ended := strings.CutSuffix(out, ".\r\n")
		if !ended {
			t.Fatalf("no end: %q", out)
		}
		var back bytes.Buffer
		for line := range strings.Lines(body) {
			if strings.HasPrefix(line, ".") && !strings.HasPrefix(line, "..") {
				t.Fatalf("a line with one dot: %q", line)
			}
			back.WriteString(strings.TrimPrefix(line, "."))
		}
		want := in
		if in != "" && !strings.HasSuffix(in, "\r\n") {
			want += "\r\n"
		}
		if back.String() != want {
			t.Errorf("%q came back as %q", in, back.String())
		}
	})
}

func TestCheckPath(t *testing.T) {
	for _, good := range []string{"", "a@b", "a+b@c.d", `"a b"@c`, `"a\"b>"@c`, `"<>"@c`, "a@[192.0.2.1]", "!#$%&'*+-/=?^_`{|}~@x", "ä@b", `"用 户"@例え.jp`} {
		if err := checkPath(good); err != nil {
			t.Errorf("%q: %v", good, err)
		}
	}
	for _, bad := range []string{"a\r\nRCPT TO:<b@c>", "a\rb@c", "a\nb@c", "a\x00@b", "a\x1b@b", "\xe4@b", "a\u0085@b", "a\xc2", "\xed\xa0\x80@b", "a@b\x7f", "a@b> SIZE=1", "a b@c", "<a@b", `"a@b`, `"a\`, "\"a\\\r\"@b", "\"a\rb\"@c"} {
		if err := checkPath(bad); err == nil {
			t.Errorf("%q was let out", bad)
		}
	}
}
