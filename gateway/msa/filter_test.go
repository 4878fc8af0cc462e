package msa

import (
	"bytes"
	"strings"
	"testing"

	"mailroam/gateway/header"
)

// clean runs b through a filter in pieces that end at the given places.
func clean(b []byte, step int) (out []byte, eightBit bool, err error) {
	var buf bytes.Buffer
	f := filter{w: &buf}
	for len(b) > 0 {
		n := min(step, len(b))
		if _, err := f.Write(b[:n]); err != nil {
			return nil, false, err
		}
		b = b[n:]
	}
	err = f.Close()
	return buf.Bytes(), f.eightBit, err
}

// slowClean says octet by octet what the filter is to do.
func slowClean(b []byte) (out []byte, eightBit, ok bool) {
	for i, c := range b {
		eightBit = eightBit || c > 127
		switch {
		case c == 0, c == '\r' && (i+1 == len(b) || b[i+1] != '\n'):
			return nil, false, false
		case c == '\n' && (i == 0 || b[i-1] != '\r'):
			out = append(out, '\r')
		}
		out = append(out, c)
	}
	if n := len(out); n > 0 && out[n-1] != '\n' {
		out = append(out, "\r\n"...)
	}
	return out, eightBit, true
}

func FuzzFilter(f *testing.F) {
	for _, s := range append(smuggling, "", "a", "a\r\nb\r\n", "a\nb", "\r", "\n", "\xff", "12345678\x80", strings.Repeat("x", 100)+"\n") {
		f.Add([]byte(s), 3)
	}
	f.Fuzz(func(t *testing.T, b []byte, step int) {
		step = 1 + (step%64+64)%64
		want, bits, ok := slowClean(b)
		for _, n := range []int{step, len(b) + 1} {
			got, gotBits, err := clean(b, n)
			if (err == nil) != ok {
				t.Fatalf("%q by %d: %v, want ok = %v", b, n, err, ok)
			}
			if err == nil && (!bytes.Equal(got, want) || gotBits != bits) {
				t.Fatalf("%q by %d: %q %v, want %q %v", b, n, got, gotBits, want, bits)
			}
		}
		if again, _, err := clean(want, step); ok && (err != nil || !bytes.Equal(again, want)) {
			t.Fatalf("%q is not left alone: %q, %v", want, again, err)
		}
	})
}

// A failing queue stops the filter wherever it is.
func TestFilterPassesErrors(t *testing.T) {
	for _, s := range []string{"a\r\n", "a\nb", "a\r", "\n"} {
		f := filter{w: failingWriter{}}
		_, err := f.Write([]byte(s))
		if err == nil {
			err = f.Close()
		}
		if err == nil {
			t.Errorf("%q: no error", s)
		}
	}
}

type failingWriter struct{}

func (failingWriter) Write([]byte) (int, error) { return 0, errTrouble }

// FuzzHeading holds that what comes out is the block and then the very octets
// that went in, however they came.
func FuzzHeading(f *testing.F) {
	for _, s := range []string{
		"", "\r\n", "x\r\n", "Subject: x\r\n\r\nbody\r\n", "Date: y\r\nReceived: z\r\n w\r\n\r\n", "From x\r\nA: b\r\n\r\n",
		"Message-ID:\r\n\r\n\r\n", " folded\r\n", ":\r\n\r\n", "a\r\nb: c\r\n\r\n",
	} {
		f.Add([]byte(s), 5)
	}
	f.Fuzz(func(t *testing.T, b []byte, step int) {
		text, _, ok := slowClean(b)
		if !ok {
			return
		}
		step = 1 + (step%64+64)%64
		in := func(n int) (string, error) {
			var out bytes.Buffer
			h := heading{w: &out, trace: &trace{hostname: "gw.example.org"}, maxHops: 50}
			for rest := text; len(rest) > 0; {
				m := min(n, len(rest))
				if _, err := h.Write(rest[:m]); err != nil {
					return "", err
				}
				rest = rest[m:]
			}
			if err := h.Close(); err != nil {
				return "", err
			}
			return out.String(), nil
		}
		whole, err := in(len(text) + 1)
		pieces, err2 := in(step)
		if whole != pieces || (err == nil) != (err2 == nil) {
			t.Fatalf("%q by %d: %q %v, whole %q %v", text, step, pieces, err2, whole, err)
		}
		if err != nil {
			return
		}
		if !strings.HasPrefix(whole, "Received: ") || !strings.HasSuffix(whole, string(text)) {
			t.Fatalf("%q became %q", text, whole)
		}
		section, _, _ := strings.Cut(whole+"\r\n", "\r\n\r\n")
		for rest := []byte(section); len(rest) > 0; {
			var field []byte
			field, rest = header.Next(rest)
			if strings.Contains(strings.ReplaceAll(string(field), "\r\n", ""), "\n") {
				t.Fatalf("field %q", field)
			}
		}
	})
}

func TestAddresses(t *testing.T) {
	for s, want := range map[string]bool{
		"a@b":                                    true,
		"a.b+c=d!#$%&'*/?^_`{|}~-@x-y.example":   true,
		`"a b"@example.com`:                      true,
		`"@"@example.com`:                        true,
		`"\""@example.com`:                       true,
		`""@example.com`:                         true,
		"a@[192.0.2.1]":                          true,
		"a@[IPv6:::1]":                           true,
		"a@my_host":                              true,
		"ü@用户.example":                           true,
		`"ü"@b`:                                  true,
		"a@" + strings.Repeat("ü", 63):           true,
		strings.Repeat("l", 100) + "@x":          true,
		"a@" + strings.Repeat("d.", 126) + "com": true,

		"":                                     false,
		"a":                                    false,
		"@b":                                   false,
		"a@":                                   false,
		"a@b@c":                                false,
		".a@b":                                 false,
		"a.@b":                                 false,
		"a..b@c":                               false,
		"a b@c":                                false,
		"a@b c":                                false,
		"a@b..c":                               false,
		"a@.b":                                 false,
		"a@b.":                                 false,
		"a@-b":                                 false,
		"a@b-":                                 false,
		"a@b>c":                                false,
		"(a)@b":                                false,
		`"a"b@c`:                               false,
		`"a@c`:                                 false,
		`a"b"@c`:                               false,
		`"a\"@c`:                               false,
		"\"a\tb\"@c":                           false,
		"\"a\x00b\"@c":                         false,
		"a@[192.0.2.1":                         false,
		"a@[192.0.2]":                          false,
		"a@[::1]":                              false,
		"a@[IPv6:192.0.2.1]":                   false,
		"a@[IPv6:fe80::1%eth0]":                false,
		"a@" + strings.Repeat("d", 64):         false,
		"a@" + strings.Repeat("ü", 64):         false,
		`"\ü"@b`:                               false,
		"a@" + strings.Repeat("d.", 128) + "c": false,
		strings.Repeat("l", 511) + "@b":        false,
	} {
		if got := isMailbox(s); got != want {
			t.Errorf("isMailbox(%.60q) = %v", s, got)
		}
	}
}

func TestCutPath(t *testing.T) {
	for s, want := range map[string]string{
		"<a@b>":         "a@b|",
		"<a@b> X=Y":     "a@b| X=Y",
		"  <a@b>  X":    "a@b|  X",
		"a@b X":         "a@b| X",
		"<>":            "|",
		"<> X":          "| X",
		"<@x,@y:a@b>":   "a@b|",
		`<"a>b"@c> X`:   `"a>b"@c| X`,
		`<"a\">b"@c> X`: `"a\">b"@c| X`,
		`"a b"@c X`:     `"a b"@c| X`,
		"":              "",
		" ":             "",
		"<a@b":          "",
		"<a@b>X":        "",
		"<@x>":          "",
		`<"a@b> X`:      "",
	} {
		path, params, ok := cutPath(s)
		if got := path + "|" + params; ok && got != want || !ok && want != "" {
			t.Errorf("cutPath(%q) = %q, %v, want %q", s, got, ok, want)
		}
	}
}

// FuzzParse holds what the gate promises to go-smtp: one line, of known octets.
func FuzzParse(f *testing.F) {
	for _, s := range []string{
		"EHLO x", "helo [1.2.3.4]", "MAIL FROM:<a@b> SIZE=1 BODY=8BITMIME", "RCPT TO:<\"a b\"@c>", "BDAT 1 LAST", "DATA", "QUIT",
		"MAIL FROM:<root>", "RCPT TO:<postmaster>", "GET / HTTP/1.1", "MAIL FROM:<@a:b@c>", "NOOP x",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, line string) {
		line, _, _ = strings.Cut(line, "\n")
		cmd, refusal, _ := parse(line+"\r\n", 1<<20)
		if refusal != nil {
			if refusal.Code < 500 || refusal.EnhancedCode[0] != 5 {
				t.Fatalf("%q: %v", line, refusal)
			}
			return
		}
		for _, c := range []byte(cmd.line + cmd.name + cmd.path) {
			if c < ' ' || c > '~' {
				t.Fatalf("%q: lets %#x pass in %+v", line, c, cmd)
			}
		}
		if strings.ContainsAny(cmd.name, " ") || cmd.chunk < 0 {
			t.Fatalf("%q: %+v", line, cmd)
		}
		if cmd.path != "" && !isMailbox(cmd.path) && !isLocalPart(cmd.path) {
			t.Fatalf("%q: path %q", line, cmd.path)
		}
		// What is checked once is not read in another way the second time.
		again, refusal, _ := parse(cmd.line+"\r\n", 1<<20)
		if refusal != nil || again.verb != cmd.verb || again.chunk != cmd.chunk {
			t.Fatalf("%q: %q is read as %+v, %v", line, cmd.line, again, refusal)
		}
	})
}
